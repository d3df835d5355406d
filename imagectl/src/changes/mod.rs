//! What changed in a tree since its image: added, changed and deleted paths.

mod overlay;
mod tree;

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundle::mounts;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{ImageConfig, Manifest};
use crate::layer::{Budget, Expected, Limits, Listing};
use crate::store::{MARK, Store, StoredImage};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The image has nothing there.
    Added,
    /// Another content or other metadata, or a directory with a change in it.
    Changed,
    /// The image had something there; what was below it goes without saying.
    Deleted,
}

impl Kind {
    /// The letter that lists show.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// One path's change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The path in the rootfs, without a slash at its beginning.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: Kind,
}

/// Lists the changes of the bundle in `path`, or of the tree mounted there, in the order of paths.
///
/// # Errors
/// [`Error::Document`] if imagectl made neither, or its image is not in the store any more; those of the
/// store and of layers.
pub fn changes(store: &Store, path: &Path, limits: Limits) -> Result<Vec<Change>> {
    let _held = store.hold()?;
    let base = base(store, path)?;
    let mark = base.join(MARK);
    let bytes = std::fs::read(&mark).map_err(Error::io("read", &mark))?;
    let mark: Value = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Json { what: mark.display().to_string(), source })?;
    let digest = mark["digest"].as_str().map(Digest::parse).transpose()?;
    let image: StoredImage = store
        .images()?
        .into_iter()
        .find(|image| Some(image.descriptor.digest) == digest)
        .ok_or_else(|| Error::Document {
            what: path.display().to_string(),
            reason: "its image is not in the store any more".into(),
        })?;
    let manifest = store.manifest(&image)?;
    let config = store.config(&manifest)?;
    let upper = base.join("overlay/upper");
    let mut changes = match File::open(&upper) {
        Ok(upper) => {
            let stack = store.stack(image.name(), &config.rootfs.diff_ids)?;
            overlay::compare(&upper, &stack)?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let rootfs = base.join("rootfs");
            let directory = File::open(&rootfs).map_err(Error::io("open", &rootfs))?;
            let listing = listing(store, image.name(), &manifest, &config, limits)?;
            tree::compare(directory.as_fd(), &listing)?
        }
        Err(error) => return Err(Error::io("open", upper)(error)),
    };
    changes.sort();
    Ok(changes)
}

/// The directory that the mark is in.
fn base(store: &Store, path: &Path) -> Result<PathBuf> {
    if path.join(MARK).exists() {
        return Ok(path.to_owned());
    }
    let whole = std::fs::canonicalize(path).map_err(Error::io("open", path))?;
    let found = mounts(store)?.into_iter().rev().find(|mounted| mounted.path == whole);
    found.map(|mounted| mounted.state).ok_or_else(|| Error::Document {
        what: path.display().to_string(),
        reason: format!("is no bundle of imagectl, it has no {MARK}, and nothing is mounted there"),
    })
}

fn listing(
    store: &Store,
    name: &str,
    manifest: &Manifest,
    config: &ImageConfig,
    limits: Limits,
) -> Result<Listing> {
    let mut listing = Listing::default();
    let budget = Budget::new(limits);
    for (blob, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let mut add = || -> Result<()> {
            let source = BufReader::with_capacity(128 << 10, store.open_blob(&blob.digest)?);
            listing.add(source, Expected { blob, diff_id, budget: &budget })
        };
        add().map_err(|source| Error::Layer {
            image: name.to_owned(),
            layer: blob.digest,
            source: Box::new(source),
        })?;
    }
    Ok(listing)
}
