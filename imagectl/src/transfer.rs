//! What fetching and sending images have in common: the async runtime, Ctrl-C, and blobs that are on
//! their way side by side.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Runs `work` to its end, or to Ctrl-C. `over` is set when it ends: blocking threads look at it, and
/// are waited for.
///
/// # Errors
/// Those of `work`; [`Error::Interrupted`] on Ctrl-C.
pub fn run<T>(over: &AtomicBool, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("start", PathBuf::from("the async runtime")))?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            result = work => result,
        }
    });
    over.store(true, Ordering::Relaxed);
    drop(runtime);
    result
}

/// Does all jobs, as many at once as there are slots. A job says which blob its result is about.
///
/// # Errors
/// [`Error::Layer`] for the first job that fails; the others are dropped.
pub async fn all<J>(
    image: &str,
    slots: &Arc<Semaphore>,
    jobs: impl IntoIterator<Item = J>,
) -> Result<()>
where
    J: Future<Output = (Digest, Result<()>)> + Send + 'static,
{
    let mut running = JoinSet::new();
    for job in jobs {
        let slots = Arc::clone(slots);
        running.spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire_owned().await;
            job.await
        });
    }
    while let Some(result) = running.join_next().await {
        match result {
            Ok((_, Ok(()))) => {}
            Ok((layer, Err(error))) => {
                let image = image.to_owned();
                return Err(Error::Layer { image, layer, source: Box::new(error) });
            }
            Err(_) => return Err(Error::Interrupted),
        }
    }
    Ok(())
}
