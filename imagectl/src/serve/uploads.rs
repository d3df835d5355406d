//! Blobs that clients are sending, and those that came but that no manifest names yet.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::body::Incoming;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::store::{Lock, Session, Store};

/// How long an upload waits for its next bytes, and a blob for its manifest.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How many uploads may be begun at once.
const LIMIT: usize = 1000;

/// All uploads.
pub struct Uploads {
    store: Store,
    session: Session,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<String, Upload>,
    /// Blobs that wait for a manifest.
    waiting: HashMap<Digest, Instant>,
    /// Keeps them from being removed.
    held: Option<Lock>,
}

/// A blob on its way. Its file goes with it.
pub struct Upload {
    file: File,
    path: PathBuf,
    size: u64,
    hasher: Hasher,
    used: Instant,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The session takes along what stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Upload {
    /// How many bytes came.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes what comes. What came before a failure stays.
    pub fn append(&mut self, incoming: &mut Incoming<'_>) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            let length = incoming.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            self.file.write_all(&buffer[..length])?;
            self.hasher.update(&buffer[..length]);
            self.size += length as u64;
            self.used = Instant::now();
        }
    }
}

impl Uploads {
    /// # Errors
    /// [`Error::Io`].
    pub fn new(store: &Store) -> Result<Self> {
        let session = store.begin()?;
        Ok(Self { store: store.clone(), session, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned one is still right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an upload that is not known yet under any name; `None` if there are too many.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&self) -> Result<Option<Upload>> {
        if self.state().open.len() >= LIMIT {
            return Ok(None);
        }
        let path = self.session.fresh("upload");
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        Ok(Some(Upload { file, path, size: 0, hasher: Hasher::default(), used: Instant::now() }))
    }

    /// Leaves an upload for the requests to come, under a name that nobody guesses.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub fn name(&self, upload: Upload) -> Result<String> {
        let mut bytes = [0; 16];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| Error::step("draw a random name")(io::Error::other("no randomness")))?;
        let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.put_back(&name, upload);
        Ok(name)
    }

    /// Takes an upload; until it is put back, nobody else has it.
    pub fn take(&self, name: &str) -> Option<Upload> {
        self.state().open.remove(name)
    }

    /// Leaves an upload under its name.
    pub fn put_back(&self, name: &str, upload: Upload) {
        self.state().open.insert(name.to_owned(), upload);
    }

    /// Makes a blob of an upload; `false` if its digest is another.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, mut upload: Upload, digest: &Digest) -> Result<bool> {
        if std::mem::take(&mut upload.hasher).finish() != *digest {
            return Ok(false);
        }
        self.keep(digest)?;
        self.store.adopt(&upload.path, digest)?;
        Ok(true)
    }

    /// Keeps a blob until a manifest names it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep(&self, digest: &Digest) -> Result<()> {
        // Who removes garbage is waited for, and meanwhile nobody else must be.
        let held = self.store.hold()?;
        let mut state = self.state();
        state.held.get_or_insert(held);
        state.waiting.insert(*digest, Instant::now());
        Ok(())
    }

    /// Manifests name these blobs now.
    pub fn named<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) {
        let mut state = self.state();
        for digest in digests {
            state.waiting.remove(digest);
        }
        drop(state);
        self.tidy();
    }

    /// Gives up what nobody goes on with.
    pub fn tidy(&self) {
        let mut state = self.state();
        state.open.retain(|_, upload| upload.used.elapsed() < PATIENCE);
        state.waiting.retain(|_, since| since.elapsed() < PATIENCE);
        if state.waiting.is_empty() {
            state.held = None;
        }
    }
}
