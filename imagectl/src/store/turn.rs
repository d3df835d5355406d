//! Turns at unpacking a stored blob: the first unpacks it, the others wait and find the layer there. The
//! kernel passes the turn on when a process dies, and the next one does the work.

use std::fs::File;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::Store;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// A lock on the blob's file, which keeps others waiting until what is made of the blob is visible.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Of a blob that just got its place, and whose file is locked since it had none.
    pub(super) fn of_locked(file: File) -> Self {
        Self { _file: file }
    }
}

impl Store {
    /// Waits until nobody else unpacks the blob.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn turn(&self, digest: &Digest) -> Result<Turn> {
        self.lock_blob(digest, FlockOperation::LockExclusive)?.ok_or(Error::Interrupted)
    }

    /// `None` while somebody else unpacks the blob.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn try_turn(&self, digest: &Digest) -> Result<Option<Turn>> {
        self.lock_blob(digest, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_blob(&self, digest: &Digest, operation: FlockOperation) -> Result<Option<Turn>> {
        let file = self.open_blob(digest)?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(Turn { _file: file })),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("lock", self.blob_path(digest))(errno)),
            }
        }
    }
}
