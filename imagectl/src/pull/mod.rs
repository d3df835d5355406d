//! Pulling: from a name to an image in the store, its layers unpacked beside it.

mod fetch;
mod resolve;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, ImageConfig, Platform};
use crate::layer::{Budget, Limits};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Config, Registry};
use crate::store::Store;

use fetch::{Job, fetch};
pub(crate) use resolve::choose;
use resolve::{Resolved, resolve};

/// What to pull, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image.
    pub reference: Reference,
    /// The platform that the image must be for. Without one, this machine's is taken from an index,
    /// and a name that has but one image is taken as it is.
    pub platform: Option<Platform>,
    /// How to talk to the registry.
    pub registry: Config,
    /// Unpack the layers too; needs root.
    pub unpack: bool,
    /// How many layers are on their way at once.
    pub parallel: usize,
    /// What the image may become.
    pub limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The full name.
    pub name: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// Nothing had to be fetched but the manifest.
    pub present: bool,
}

/// Pulls an image. On an error, or on Ctrl-C, whole blobs and layers stay, and of others
/// what a later pull goes on from.
///
/// # Errors
/// Those of registry, store and layers; [`Error::Interrupted`] on Ctrl-C.
pub fn pull(store: &Store, request: &Request, progress: Progress) -> Result<Pulled> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("start", PathBuf::from("the async runtime")))?;
    let _held = store.hold()?;
    // Declared before the runtime ends: the session's directory must outlive its threads.
    let session = Arc::new(store.begin()?);
    let cancelled = Arc::new(AtomicBool::new(false));
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            result = run(store, request, progress, &session, &cancelled) => result,
        }
    });
    // Threads that still unpack see the flag and end; the runtime waits for them.
    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(runtime);
    drop(session);
    result
}

async fn run(
    store: &Store,
    request: &Request,
    progress: Progress,
    session: &Arc<crate::store::Session>,
    cancelled: &Arc<AtomicBool>,
) -> Result<Pulled> {
    let registry = Arc::new(Registry::new(&request.reference, &request.registry)?);
    let name = request.reference.to_string();
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let resolved = resolve(&registry, store, &request.reference, &platform).await?;
    let Resolved { source, descriptor, bytes, manifest } = resolved;
    // A stored one that is missing or went bad is fetched.
    let config_bytes = match store.read_document(&manifest.config) {
        Ok(bytes) => bytes,
        Err(_) => registry.config(&manifest.config).await?,
    };
    let what = format!("config {}", manifest.config.digest);
    let config = ImageConfig::parse(&what, &config_bytes, manifest.layers.len())?;
    let single = source == descriptor.digest;
    if single
        && request.platform.as_ref().is_some_and(|wanted| !wanted.runs(&Platform::of(&config)))
    {
        let reason = format!("is for {}, not for {platform}", Platform::of(&config));
        return Err(Error::Document { what: name, reason });
    }

    let mut seen = HashSet::new();
    let mut jobs = JoinSet::new();
    let mut wanted = Vec::new();
    let slots = Arc::new(Semaphore::new(request.parallel.max(1)));
    let progress = Arc::new(progress);
    let budget = Arc::new(Budget::new(request.limits));
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        // The same layer may stand in an image twice.
        if !seen.insert((layer.digest, *diff_id)) {
            continue;
        }
        let unpack = request.unpack && !store.has_layer(diff_id);
        if store.has_blob(layer) && !unpack {
            continue;
        }
        wanted.push(Job {
            store: store.clone(),
            session: Arc::clone(session),
            registry: Arc::clone(&registry),
            layer: layer.clone(),
            diff_id: *diff_id,
            unpack,
            budget: Arc::clone(&budget),
            cancelled: Arc::clone(cancelled),
            progress: Arc::clone(&progress),
        });
    }
    // The largest first: one that came last would have the machine to itself, and use half of it.
    wanted.sort_by_key(|job| std::cmp::Reverse(job.layer.size));
    for job in wanted {
        let slots = Arc::clone(&slots);
        jobs.spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire_owned().await;
            fetch(job).await
        });
    }
    let present = jobs.is_empty();
    while let Some(result) = jobs.join_next().await {
        match result {
            Ok((_, Ok(()))) => {}
            Ok((layer, Err(error))) => {
                return Err(Error::Layer { image: name, layer, source: Box::new(error) });
            }
            Err(_) => return Err(Error::Interrupted),
        }
    }
    if request.unpack {
        // Each layer is harmless alone; that one would write through another's link shows only now.
        store.stack(&name, &config.rootfs.diff_ids)?.resolve_implied(None)?;
    }
    store.write_document(&manifest.config.digest, &config_bytes)?;
    store.write_document(&descriptor.digest, &bytes)?;
    let digest = descriptor.digest;
    let descriptor = Descriptor { platform: Some(Platform::of(&config)), ..descriptor };
    store.add_image(&name, &source, descriptor)?;
    Ok(Pulled { name, digest, present })
}
