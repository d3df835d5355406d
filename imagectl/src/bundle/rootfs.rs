//! A rootfs as a tree of its own: all layers applied, one over the other.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::image::{ImageConfig, Manifest};
use crate::layer::{self, Budget, Expected, Form, Limits, Ownership, Target};
use crate::store::Store;

const READ_BUFFER: usize = 128 << 10;

/// Unpacks an image's layers into the new or empty directory `path`. If that fails, the directory is
/// as it was before.
///
/// # Errors
/// [`Error::Argument`] if the directory holds anything, [`Error::Layer`] naming image, layer and
/// entry, or [`Error::Io`].
pub fn unpack(
    store: &Store,
    name: &str,
    manifest: &Manifest,
    config: &ImageConfig,
    limits: Limits,
    path: &Path,
) -> Result<()> {
    let made = match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io("make the directory", path)(error)),
    };
    let mut entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
    if entries.next().is_some() {
        return Err(Error::Argument {
            option: "DIR",
            reason: format!("{} is not empty", path.display()),
        });
    }
    let directory = File::open(path).map_err(Error::io("open", path))?;
    unpack_into(store, name, manifest, config, limits, directory.as_fd()).inspect_err(|_| {
        // The error at hand is the one to tell; what can't be removed is plain to see.
        let _ = empty(directory.as_fd());
        if made {
            let _ = std::fs::remove_dir(path);
        }
    })
}

/// Unpacks an image's layers into an open, empty directory.
///
/// # Errors
/// [`Error::Layer`] naming image, layer and entry.
pub fn unpack_into(
    store: &Store,
    name: &str,
    manifest: &Manifest,
    config: &ImageConfig,
    limits: Limits,
    directory: BorrowedFd<'_>,
) -> Result<()> {
    let how = Target { form: Form::Tree, ownership: Ownership::of_caller() };
    let budget = Budget::new(limits);
    for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let apply = || -> Result<()> {
            let blob = store.open_blob(&descriptor.digest)?;
            let source = BufReader::with_capacity(READ_BUFFER, blob);
            let expected = Expected { blob: descriptor, diff_id, budget: &budget };
            layer::unpack(source, expected, directory, how).map(drop)
        };
        apply().map_err(|source| Error::Layer {
            image: name.to_owned(),
            layer: descriptor.digest,
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Removes all that the directory holds.
fn empty(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.iter().try_for_each(|name| layer::remove_tree(directory, name))
}
