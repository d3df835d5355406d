//! Sessions: a command's own directory for what it is still making. It goes when the command ends,
//! or when a later command finds that nobody holds its lock any more.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::Store;
use crate::error::{Error, Result};
use crate::layer::remove_tree;

/// A directory under `ingest`, removed on drop.
#[derive(Debug)]
pub struct Session {
    path: PathBuf,
    next: AtomicU64,
    _lock: fs::File,
}

impl Store {
    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&self) -> Result<Session> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join(format!("ingest/{}-{count}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                result => result.map_err(Error::io("make the directory", &path))?,
            }
            let Ok(lock) = fs::File::open(&path) else { continue };
            rustix::fs::flock(&lock, FlockOperation::LockShared)
                .map_err(Error::io("lock", &path))?;
            // A sweep may have come between making and locking; then the name is gone.
            let held = lock.metadata().map_err(Error::io("stat", &path))?;
            if fs::metadata(&path).is_ok_and(|found| found.ino() == held.ino()) {
                return Ok(Session { path, next: AtomicU64::new(0), _lock: lock });
            }
        }
    }

    /// Removes the sessions whose commands are dead.
    pub(super) fn sweep_sessions(&self) -> Result<()> {
        let ingest = self.root.join("ingest");
        let parent = fs::File::open(&ingest).map_err(Error::io("open", &ingest))?;
        for entry in fs::read_dir(&ingest).map_err(Error::io("read", &ingest))? {
            let entry = entry.map_err(Error::io("read", &ingest))?;
            // Gone meanwhile: somebody else sweeps too.
            let Ok(session) = fs::File::open(entry.path()) else { continue };
            if rustix::fs::flock(&session, FlockOperation::NonBlockingLockExclusive).is_ok() {
                match remove_tree(parent.as_fd(), entry.file_name().as_bytes()) {
                    // Of a user namespace's other IDs: left to a command that enters one.
                    Err(Errno::ACCESS | Errno::PERM) if !rustix::process::geteuid().is_root() => {}
                    result => result.map_err(Error::io("remove", entry.path()))?,
                }
            }
        }
        Ok(())
    }
}

impl Session {
    /// A name in the session's directory that nothing has yet.
    pub fn fresh(&self, kind: &str) -> PathBuf {
        self.path.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Moves what is at `path` into the session, so that it goes with it.
    pub(super) fn take(&self, path: &Path) -> Result<()> {
        match fs::rename(path, self.fresh("gone")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(Error::io("remove", path)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        // What can't be removed now is removed by the next command's sweep.
        if let Ok(parent) = fs::File::open(parent) {
            let _ = remove_tree(parent.as_fd(), name.as_bytes());
        }
    }
}
