//! Locks between processes: `flock` on a file that is never removed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Held until dropped; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody holds it exclusively.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        Ok(Self { _file: lock(path, FlockOperation::LockShared)? })
    }

    /// Waits until nobody holds it.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        Ok(Self { _file: lock(path, FlockOperation::LockExclusive)? })
    }

    /// `None` if somebody holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        match lock(path, FlockOperation::NonBlockingLockExclusive) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn lock(path: &Path, operation: FlockOperation) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("open", path))?;
    loop {
        match rustix::fs::flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("lock", path)(errno)),
        }
    }
}
