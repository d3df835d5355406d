//! One layer's way in a single pass: download, hash, blob file, decompress, hash, files.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Descriptor;
use crate::layer::{self, Form, Ownership, Target};
use crate::progress::Progress;
use crate::registry::{Registry, pieces};
use crate::store::{Session, Store};

/// A stored blob is read in pieces of this size.
const READ_BUFFER: usize = 128 << 10;

/// One layer to bring into the store.
pub struct Job {
    pub store: Store,
    pub session: Arc<Session>,
    pub registry: Arc<Registry>,
    pub layer: Descriptor,
    pub diff_id: Digest,
    pub unpack: bool,
    pub cancelled: Arc<AtomicBool>,
    pub progress: Arc<Progress>,
}

/// Does the job; the digest says whose result it is.
pub async fn fetch(job: Job) -> (Digest, Result<()>) {
    let digest = job.layer.digest;
    let progress = job.progress.layer(&job.layer);
    let result = match job.store.has_blob(&job.layer) {
        true => {
            let outcome = blocking(move || unpack_stored(&job)).await;
            outcome.map(|()| "unpacked")
        }
        false => {
            let (sender, pieces) = pieces();
            let registry = Arc::clone(&job.registry);
            let layer = job.layer.clone();
            let receiver = tokio::task::spawn_blocking(move || receive(&job, pieces));
            let download = registry.blob(&layer, sender, |bytes| progress.add(bytes)).await;
            let received = receiver.await.unwrap_or(Err(Error::Interrupted));
            // A download that broke off is why the receiver found too little.
            match (download, received) {
                (_, Ok(())) => Ok("pulled"),
                (Err(error), Err(Error::WrongSize { more: false, .. })) => Err(error),
                (_, Err(error)) => Err(error),
            }
        }
    };
    if let Ok(outcome) = result {
        progress.end(outcome);
    }
    (digest, result.map(drop))
}

async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Interrupted))
}

/// Takes a blob from the network.
fn receive(job: &Job, source: impl BufRead) -> Result<()> {
    let source = Stoppable { source, cancelled: &job.cancelled };
    let mut blob = job.store.receive(&job.session, &job.layer, source)?;
    match process(job, &mut blob) {
        Ok(commit) => {
            // Blob before layer: a layer without its blob could not be verified or saved again.
            blob.finish()?;
            commit()
        }
        // Bytes that are not the right ones explain any error of decoder or archive.
        Err(error) if may_come_of_wrong_bytes(&error) => Err(blob.verify().err().unwrap_or(error)),
        Err(error) => Err(error),
    }
}

fn may_come_of_wrong_bytes(error: &Error) -> bool {
    match error {
        Error::Entry { source, .. } => may_come_of_wrong_bytes(source),
        Error::Step { .. } | Error::Tar { .. } | Error::WrongDigest { .. } => true,
        _ => false,
    }
}

/// Unpacks a blob that the store has already.
fn unpack_stored(job: &Job) -> Result<()> {
    let file = job.store.open_blob(&job.layer.digest)?;
    let source = Stoppable {
        source: BufReader::with_capacity(READ_BUFFER, file),
        cancelled: &job.cancelled,
    };
    process(job, source)?()
}

/// Decompresses, verifies and, if asked to, unpacks. What is given back makes the layer visible.
fn process<'a>(job: &'a Job, source: impl BufRead) -> Result<Box<dyn FnOnce() -> Result<()> + 'a>> {
    if !job.unpack {
        layer::verify(source, &job.diff_id)?;
        return Ok(Box::new(|| Ok(())));
    }
    let draft = job.store.draft_layer(&job.session, &job.diff_id)?;
    let how = Target { form: Form::Overlay, ownership: Ownership::Stored };
    let record = layer::unpack(source, &job.diff_id, draft.tree(), how)?;
    Ok(Box::new(move || draft.commit(&record)))
}

/// Ends a stream when the command is over.
struct Stoppable<'a, R> {
    source: R,
    cancelled: &'a AtomicBool,
}

impl<R: BufRead> BufRead for Stoppable<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(io::Error::other(Error::Interrupted)),
            false => self.source.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
    }
}

impl<R: BufRead> Read for Stoppable<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
