//! What a command makes visible before it knows that all will be well, to be taken back if it is not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Collection, Lock, Store};
use crate::digest::Digest;
use crate::error::Result;

/// Blobs and layers that were not there before.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<PathBuf>>>);

impl Journal {
    pub(super) fn note(&self, path: &Path) {
        // Nothing panics while the lock is held, so a poisoned one is still right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }
}

impl Store {
    /// Does `work`, which must leave no lock on the store behind. If it fails, the blobs and layers go that
    /// it made and that nothing else refers to; while somebody else works in the store, they are left
    /// to the next removal of garbage.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn all_or_nothing<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let journal = Journal::default();
        let store = Self { journal: Some(journal.clone()), ..self.clone() };
        work(&store).inspect_err(|_| {
            // The error at hand is the one to tell; garbage is removed at the latest by gc.
            let _ = self.take_back(&journal);
        })
    }

    fn take_back(&self, journal: &Journal) -> Result<()> {
        let Some(_lock) = Lock::try_exclusive(&self.root.join("lock"))? else { return Ok(()) };
        let needed = self.needed(Collection::default())?;
        let session = self.begin()?;
        let made = std::mem::take(&mut *journal.0.lock().unwrap_or_else(PoisonError::into_inner));
        for path in made {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let known = Digest::parse(&format!("sha256:{name}")).is_ok_and(|digest| {
                needed.blobs.contains(&digest) || needed.layers.contains(&digest)
            });
            if !known {
                session.take(&path)?;
            }
        }
        Ok(())
    }

    /// Notes what was not there before, if somebody wants to know.
    pub(super) fn made(&self, path: &Path) {
        if let Some(journal) = &self.journal {
            journal.note(path);
        }
    }
}
