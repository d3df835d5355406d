//! One layer's way in a single pass: download, hash, blob file, decompress, hash, files.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, media_type};
use crate::layer::{self, Budget, Expected, Form, Ownership, Target};
use crate::progress::{LayerProgress, Progress};
use crate::registry::{Registry, pieces};
use crate::store::{Partial, Session, Store};

/// A stored blob is read in pieces of this size.
const READ_BUFFER: usize = 128 << 10;
/// How often a blob is looked at that another command brings.
const POLL: Duration = Duration::from_millis(20);

/// One blob to bring into the store.
pub struct Job {
    pub store: Store,
    pub session: Arc<Session>,
    pub registry: Arc<Registry>,
    /// Connections that nobody uses: a large blob may have those.
    pub slots: Arc<Semaphore>,
    pub blob: Descriptor,
    /// Digest of the uncompressed bytes; none for what is no layer.
    pub diff_id: Option<Digest>,
    pub unpack: bool,
    pub budget: Arc<Budget>,
    /// How long another command that brings the blob may not get on.
    pub patience: Duration,
    /// Set when the command ends.
    pub over: Arc<AtomicBool>,
    pub progress: Arc<Progress>,
}

impl Job {
    /// Is there nothing to do for a blob that is there?
    fn is_done(&self) -> bool {
        let unpacked = |diff_id| !self.unpack || self.store.has_layer(diff_id);
        self.diff_id.as_ref().is_none_or(unpacked)
    }
}

/// Does the job; the digest says whose result it is.
pub async fn fetch(job: Job) -> (Digest, Result<()>) {
    let digest = job.blob.digest;
    let progress = job.progress.layer(&job.blob);
    let result = match bring(Arc::new(job), &progress).await {
        Ok(outcome) => {
            progress.end(outcome);
            Ok(())
        }
        Err(error) => Err(error),
    };
    (digest, result)
}

async fn bring(job: Arc<Job>, progress: &LayerProgress) -> Result<&'static str> {
    let mut corrupt = false;
    loop {
        if !corrupt && job.store.has_blob(&job.blob) {
            let mut patience = Patience::new(&job);
            let mut turn = job.store.try_turn(&job.blob.digest)?;
            while turn.is_none() && patience.wait().await {
                turn = job.store.try_turn(&job.blob.digest)?;
            }
            if job.is_done() {
                return Ok("is there");
            }
            let stored = Arc::clone(&job);
            let unpacked = blocking(move || unpack_stored(&stored)).await;
            drop(turn);
            match unpacked {
                // The store's copy went bad: fetch another.
                Err(error) if may_come_of_wrong_bytes(&error) => {
                    let stored = Arc::clone(&job);
                    if blocking(move || stored.store.verify_blob(&stored.blob)).await.is_ok() {
                        return Err(error);
                    }
                    corrupt = true;
                }
                result => return result.map(|()| "unpacked"),
            }
        }
        let Some(partial) = claim(&job, corrupt).await? else { continue };
        let resumed = partial.length() > 0;
        match download(&job, partial, progress).await {
            // What an earlier command left was wrong, and is gone.
            Err(Error::WrongDigest { .. }) if resumed => {}
            result => return result.map(|()| "pulled"),
        }
    }
}

/// Waits while another command brings the blob; `None` if that succeeds. If it doesn't get on, the blob is
/// begun beside it.
async fn claim(job: &Job, corrupt: bool) -> Result<Option<Partial>> {
    let mut patience = Patience::new(job);
    loop {
        match job.store.resume(&job.blob)? {
            Some(partial) if !corrupt && job.store.has_blob(&job.blob) => {
                partial.discard();
                return Ok(None);
            }
            Some(partial) => return Ok(Some(partial)),
            None if patience.wait().await => {}
            None => return job.store.resume_fresh(&job.session, &job.blob).map(Some),
        }
    }
}

/// Waits for another command that is busy with a blob.
struct Patience<'a> {
    job: &'a Job,
    length: u64,
    since: Instant,
}

impl<'a> Patience<'a> {
    fn new(job: &'a Job) -> Self {
        Self { job, length: 0, since: Instant::now() }
    }

    /// Waits a little; `false` if the other doesn't get on.
    async fn wait(&mut self) -> bool {
        tokio::time::sleep(POLL).await;
        let length = self.job.store.partial_length(&self.job.blob.digest);
        if length != self.length {
            (self.length, self.since) = (length, Instant::now());
        }
        self.since.elapsed() < self.job.patience
    }
}

async fn download(job: &Arc<Job>, partial: Partial, progress: &LayerProgress) -> Result<()> {
    let (sender, pieces) = pieces();
    let from = partial.length();
    progress.begin(from);
    let missing = partial.incomplete();
    let receiving = Arc::clone(job);
    let receiver = tokio::task::spawn_blocking(move || receive(&receiving, partial, pieces));
    let download = match missing {
        true => {
            let add = |bytes| progress.add(bytes);
            let sent = job.registry.blob(&job.blob, from, &job.slots, sender, add).await;
            sent.map_err(|error| explained(error, &job.blob))
        }
        false => {
            drop(sender);
            Ok(())
        }
    };
    let received = receiver.await.unwrap_or(Err(Error::Interrupted));
    // A download that broke off is why the receiver found too little.
    match (download, received) {
        (_, Ok(())) => Ok(()),
        (Err(error), Err(Error::WrongSize { more: false, .. })) => Err(error),
        (_, Err(error)) => Err(error),
    }
}

/// Says more of a layer that many registries may not have.
fn explained(error: Error, blob: &Descriptor) -> Error {
    match error {
        Error::Status { status, .. }
            if status.as_u16() == 404 && media_type::is_foreign(&blob.media_type) =>
        {
            Error::Foreign { source: Box::new(error) }
        }
        error => error,
    }
}

async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Interrupted))
}

/// Takes a blob from the network.
fn receive(job: &Job, partial: Partial, source: impl BufRead + Send) -> Result<()> {
    let source = Stoppable { source, cancelled: &job.over };
    let mut blob = partial.receive(source)?;
    match process(job, &mut blob) {
        Ok(commit) => {
            // Blob before layer: a layer without its blob could not be verified or saved again.
            let _turn = blob.finish()?;
            commit()
        }
        // Bytes that are not the right ones explain any error of decoder or archive.
        Err(error) if may_come_of_wrong_bytes(&error) => {
            let error = blob.verify().err().unwrap_or(error);
            Err(blob.leave(error))
        }
        Err(error) => Err(blob.leave(error)),
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
    let file = job.store.open_blob(&job.blob.digest)?;
    let source =
        Stoppable { source: BufReader::with_capacity(READ_BUFFER, file), cancelled: &job.over };
    process(job, source)?()
}

/// Decompresses, verifies and, if asked to, unpacks. What is given back makes the layer visible.
fn process<'a>(
    job: &'a Job,
    source: impl BufRead + Send,
) -> Result<Box<dyn FnOnce() -> Result<()> + 'a>> {
    // Bytes and nothing more: size and digest are checked as they come.
    let Some(diff_id) = &job.diff_id else { return Ok(Box::new(|| Ok(()))) };
    let expected = Expected { blob: &job.blob, diff_id, budget: &job.budget };
    if !job.unpack {
        layer::verify(source, expected)?;
        return Ok(Box::new(|| Ok(())));
    }
    let draft = job.store.draft_layer(&job.session, diff_id)?;
    let how = Target { form: Form::Overlay, ownership: Ownership::of_caller() };
    let record = layer::unpack(source, expected, draft.tree(), how)?;
    Ok(Box::new(move || draft.commit(&job.session, &record)))
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
