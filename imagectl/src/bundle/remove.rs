//! Removing a bundle: unmount, then delete.

use std::fs::File;
use std::path::Path;

use super::create::remove_entry;
use super::{MARK, Mark, overlay};
use crate::error::{Error, Result};
use crate::store::{Store, own_directory};

/// Unmounts and removes a bundle that imagectl made, and lets go of its layers.
///
/// # Errors
/// [`Error::Document`] if imagectl did not make it, or another user; [`Error::Io`], with `EBUSY` while
/// something in this mount namespace uses it. A container with a mount namespace of its own is not
/// noticed: delete it first.
pub fn remove(path: &Path) -> Result<()> {
    let path = std::fs::canonicalize(path).map_err(Error::io("open", path))?;
    let file = path.join(MARK);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Document {
                what: path.display().to_string(),
                reason: format!("is no bundle of imagectl: it has no {MARK}"),
            });
        }
        Err(error) => return Err(Error::io("read", file)(error)),
    };
    // What the mark says is done with this user's rights.
    own_directory(&path)?;
    let mark: Mark = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Json { what: file.display().to_string(), source })?;
    let store = match mark.store {
        // A store that is gone has nothing to let go of.
        Some(store) if store.is_dir() => Some(Store::existing(&store)?),
        _ => None,
    };
    clear(&path, store.as_ref())?;
    std::fs::remove_dir(&path).map_err(Error::io("remove", &path))
}

/// Unmounts and removes what a bundle directory holds, the mark last: the store knows it by that.
pub(super) fn clear(path: &Path, store: Option<&Store>) -> Result<()> {
    overlay::unmount(&path.join("rootfs"))?;
    if let Some(store) = store {
        store.release_layers(path)?;
    }
    let bundle = File::open(path).map_err(Error::io("open", path))?;
    for name in ["rootfs", "overlay", "config.json", MARK] {
        remove_entry(&bundle, path, name)?;
    }
    Ok(())
}
