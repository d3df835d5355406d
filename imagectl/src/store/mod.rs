//! The store: an OCI image layout that skopeo and umoci read too, and beside it the unpacked layers.
//!
//! ```text
//! oci-layout, index.json, blobs/sha256/<hex>   the layout; a blob is there when it is whole and right
//! layers/<hex of the diff ID>/fs, layer.json   unpacked layers, likewise
//! bundles/<hash of the path>                   which layers a bundle's rootfs stands on
//! mounts/<number>/                             an image's tree mounted somewhere, and what changed there
//! ingest/<session>/                            what running commands are still making
//! partial/<hex>                                the first bytes of a blob, for a later pull to go on
//! index.lock, lock                             held for a change of the index; shared by users of
//!                                              blobs and layers, exclusive for their removal
//! ```

mod blobs;
mod bundles;
mod contents;
mod garbage;
mod index;
mod journal;
mod layers;
mod lock;
mod partial;
mod session;
mod stack;
mod turn;
mod usage;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::image::Bounds;

pub(crate) use blobs::check;
pub use bundles::{BundleRecord, MARK};
pub use contents::Contents;
pub use garbage::{Collected, Collection};
pub use index::{StoredImage, annotation};
use journal::Journal;
pub use layers::LayerDraft;
pub use lock::Lock;
pub use partial::{Partial, Receiving};
pub use session::Session;
pub use stack::Stack;
pub(crate) use stack::is_opaque;
pub use turn::Turn;
pub use usage::occupied;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

const DIRECTORIES: [&str; 7] =
    ["blobs", "blobs/sha256", "layers", "bundles", "ingest", "mounts", "partial"];

/// A store on disk.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Where what is made is noted, if the command may have to take it back.
    journal: Option<Journal>,
    bounds: Bounds,
}

impl Store {
    /// Where the store is if nobody says: `/var/lib/imagectl` for root, else below `$XDG_DATA_HOME`.
    ///
    /// # Errors
    /// [`Error::Argument`] if neither `XDG_DATA_HOME` nor `HOME` is set.
    pub fn default_path() -> Result<PathBuf> {
        // Root of a namespace that imagectl made is the user still.
        if rustix::process::geteuid().is_root() && crate::user_namespace::maps().is_none() {
            return Ok(PathBuf::from("/var/lib/imagectl"));
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("imagectl"))
            .ok_or_else(|| Error::Argument {
                option: "--store",
                reason: "neither XDG_DATA_HOME nor HOME says where the store is".into(),
            })
    }

    /// Opens the store, making it if it isn't there, and clears away what killed commands left.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Document`] if the directory is a layout of another version.
    pub fn open(root: &Path) -> Result<Self> {
        make_directory(root)?;
        // A bundle's record and an overlay mount name the store's files: the path must hold anywhere.
        let root = fs::canonicalize(root).map_err(Error::io("open", root))?;
        let store = Self { root, journal: None, bounds: Bounds::default() };
        for directory in DIRECTORIES {
            make_directory(&store.root.join(directory))?;
        }
        let layout = store.root.join("oci-layout");
        match fs::read_to_string(&layout) {
            Ok(text) if text.contains("\"1.0.0\"") => {}
            Ok(_) => {
                return Err(Error::Document {
                    what: layout.display().to_string(),
                    reason: "not an OCI image layout of version 1.0.0".into(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_atomically(&layout, LAYOUT.as_bytes())?;
            }
            Err(error) => return Err(Error::io("read", layout)(error)),
        }
        store.check_owner()?;
        store.sweep_sessions()?;
        Ok(store)
    }

    /// A store that is there already, to let go of something in it: nothing is made or cleared away.
    ///
    /// # Errors
    /// [`Error::Document`] if its directories are not this user's own.
    pub fn existing(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned(), journal: None, bounds: Bounds::default() };
        own_directory(&store.root)?;
        // One made by an earlier imagectl may lack some.
        let there = |name: &&&str| fs::symlink_metadata(store.root.join(name)).is_ok();
        DIRECTORIES
            .iter()
            .filter(there)
            .try_for_each(|name| own_directory(&store.root.join(name)))?;
        Ok(store)
    }

    /// Somebody else's store, or a link in the place of a directory, could have us remove what is not
    /// the store's.
    fn check_owner(&self) -> Result<()> {
        own_directory(&self.root)?;
        DIRECTORIES.iter().try_for_each(|name| own_directory(&self.root.join(name)))
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store with other bounds for the documents that are read from it and on the way to it.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// What its documents are held to.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Keeps blobs and layers from being removed while the lock lives. Waits for a removal to end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hold(&self) -> Result<Lock> {
        Lock::shared(&self.root.join("lock"))
    }
}

/// Refuses what is no directory, or not this user's.
pub(crate) fn own_directory(path: &Path) -> Result<()> {
    let stat = fs::symlink_metadata(path).map_err(Error::io("stat", path))?;
    let refuse = |reason: String| Err(Error::Document { what: path.display().to_string(), reason });
    if !stat.is_dir() {
        return refuse("is no directory".to_owned());
    }
    match stat.uid() {
        uid if uid == rustix::process::geteuid().as_raw() => Ok(()),
        uid => refuse(format!("belongs to user {uid}")),
    }
}

/// Makes a directory that only its owner may enter, for stores hold setuid files of strangers.
fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io("make the directory", path))
}

/// Writes a small file so that it is there whole or not at all, even after a power cut.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes, fs::File::sync_all)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// The same, but for power cuts: for what means nothing any more after one, as overlays that are no
/// longer mounted.
pub(crate) fn write_until_reboot(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes, |_| Ok(()))
}

fn write_whole(
    path: &Path,
    bytes: &[u8],
    sync: impl FnOnce(&fs::File) -> io::Result<()>,
) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let write = || -> io::Result<()> {
        // Left by a killed process of this number, or put there by somebody to be written through.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        sync(&file)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        // The error at hand says more than a second one about the leftover would.
        let _ = fs::remove_file(&temporary);
        Error::io("write", path)(source)
    })
}

/// Makes a rename in the directory last.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", path))
}
