//! Images' trees mounted without a bundle. Each has a directory in the store, with a mark like a bundle's:
//! so its layers are in use until it is unmounted.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};

use super::create::remove_entry;
use super::overlay::{self, Changes};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::Limits;
use crate::store::{MARK, Store, StoredImage, write_until_reboot};

/// The mark of a mounted tree: a bundle's, and where it is mounted. The path is bytes, so it stands in base64.
#[derive(Debug, Serialize, Deserialize)]
struct MountMark {
    image: String,
    digest: Digest,
    place: String,
    /// The directory was made for it.
    made: bool,
    writable: bool,
}

/// A mounted tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub path: PathBuf,
    /// The image's full name.
    pub image: String,
    /// Its manifest's digest.
    pub digest: Digest,
    /// May it be written to? What is written goes with the mount.
    pub writable: bool,
    /// Is it there still? Not after the machine was started anew.
    pub mounted: bool,
    /// Its directory in the store.
    pub state: PathBuf,
    made: bool,
}

/// Mounts an image's tree at `place`, a new or empty directory, or at one in the store.
///
/// # Errors
/// [`Error::Argument`] without root, or if the directory holds anything; those of store and layers.
pub fn mount(
    store: &Store,
    image: &StoredImage,
    place: Option<&Path>,
    writable: bool,
    limits: Limits,
) -> Result<Mounted> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Argument {
            option: "mount",
            reason: "only root can mount an overlay, or who is root in a user namespace: \
                     'imagectl unshare' runs a command or shell in one"
                .into(),
        });
    }
    let _held = store.hold()?;
    let manifest = store.manifest(image)?;
    let config = store.config(&manifest)?;
    let state = new_state(store)?;
    let fill = || -> Result<Mounted> {
        let (path, made) = match place {
            None => (state.join("rootfs"), fs::create_dir(state.join("rootfs")).is_ok()),
            Some(place) => prepare(place)?,
        };
        let path = fs::canonicalize(&path).map_err(Error::io("open", path))?;
        let mounted = Mounted {
            path,
            image: image.name().to_owned(),
            digest: image.descriptor.digest,
            writable,
            mounted: true,
            state: state.clone(),
            made,
        };
        write_mark(&mounted)?;
        super::unpack_missing(store, image.name(), &manifest, &config, limits)?;
        let stack = store.stack(image.name(), &config.rootfs.diff_ids)?;
        store.use_layers(&state, &stack.diff_ids())?;
        // What is written goes with the mount: nothing of it is worth a sync.
        overlay::mount(&state, &mounted.path, &stack, Changes::Volatile)?;
        if !writable {
            // Not before: directories' metadata may have to be set in it.
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            rustix::mount::mount_remount(&mounted.path, flags, c"")
                .map_err(Error::io("make read-only", &mounted.path))?;
        }
        Ok(mounted)
    };
    fill().inspect_err(|_| {
        // The error at hand is the one to tell; what is left shows in the list.
        match read_mark(&state) {
            Ok(mounted) => drop(clear(store, &mounted)),
            Err(_) => drop(fs::remove_dir(&state)),
        }
    })
}

fn new_state(store: &Store) -> Result<PathBuf> {
    let mounts = store.root().join("mounts");
    for number in 1_u64.. {
        let state = mounts.join(number.to_string());
        match fs::DirBuilder::new().mode(0o700).create(&state) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| state.clone()).map_err(Error::io("make", state)),
        }
    }
    Err(Error::Interrupted)
}

/// Says whether the directory had to be made.
fn prepare(place: &Path) -> Result<(PathBuf, bool)> {
    match fs::DirBuilder::new().mode(0o700).create(place) {
        Ok(()) => return Ok((place.to_owned(), true)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("make the directory", place)(error)),
    }
    match fs::read_dir(place).map_err(Error::io("read", place))?.next() {
        None => Ok((place.to_owned(), false)),
        Some(_) => Err(Error::Argument {
            option: "DIR",
            reason: format!("{} is not empty", place.display()),
        }),
    }
}

fn write_mark(mounted: &Mounted) -> Result<()> {
    let mark = MountMark {
        image: mounted.image.clone(),
        digest: mounted.digest,
        place: BASE64_STANDARD.encode(mounted.path.as_os_str().as_bytes()),
        made: mounted.made,
        writable: mounted.writable,
    };
    let path = mounted.state.join(MARK);
    let bytes = serde_json::to_vec(&mark)
        .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
    write_until_reboot(&path, &bytes)
}

fn read_mark(state: &Path) -> Result<Mounted> {
    let path = state.join(MARK);
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let mark: MountMark = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
    let place = BASE64_STANDARD.decode(&mark.place).map_err(|_| Error::Document {
        what: path.display().to_string(),
        reason: "the place is not base64".into(),
    })?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(place));
    let device = |path: &Path| fs::symlink_metadata(path).ok().map(|metadata| metadata.dev());
    let mounted = device(&path).is_some() && device(&path) != path.parent().and_then(device);
    Ok(Mounted {
        path,
        image: mark.image,
        digest: mark.digest,
        writable: mark.writable,
        mounted,
        state: state.to_owned(),
        made: mark.made,
    })
}

/// What is mounted from the store, in the order of mounting.
///
/// # Errors
/// [`Error::Io`], [`Error::Json`] or [`Error::Document`].
pub fn mounts(store: &Store) -> Result<Vec<Mounted>> {
    let directory = store.root().join("mounts");
    let mut states = Vec::new();
    for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
        let name = entry.map_err(Error::io("read", &directory))?.file_name();
        // Without a mark, somebody is still making it.
        if let Some(number) = name.to_str().and_then(|name| name.parse::<u64>().ok())
            && directory.join(&name).join(MARK).exists()
        {
            states.push((number, directory.join(name)));
        }
    }
    states.sort();
    states.iter().map(|(_, state)| read_mark(state)).collect()
}

/// Unmounts a tree and removes what was written to it.
///
/// # Errors
/// [`Error::Document`] if nothing of the store's is mounted there; [`Error::Io`], with `EBUSY` while
/// somebody uses it.
pub fn unmount(store: &Store, path: &Path) -> Result<()> {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let found = mounts(store)?.into_iter().rev().find(|mounted| mounted.path == whole);
    let mounted = found.ok_or_else(|| Error::Document {
        what: path.display().to_string(),
        reason: "nothing of this store is mounted there".into(),
    })?;
    clear(store, &mounted)
}

fn clear(store: &Store, mounted: &Mounted) -> Result<()> {
    if mounted.mounted {
        rustix::mount::unmount(&mounted.path, rustix::mount::UnmountFlags::NOFOLLOW)
            .map_err(Error::io("unmount", &mounted.path))?;
    }
    let state = &mounted.state;
    store.release_layers(state)?;
    let directory = fs::File::open(state).map_err(Error::io("open", state))?;
    for name in ["rootfs", "overlay", MARK] {
        remove_entry(&directory, state, name)?;
    }
    fs::remove_dir(state).map_err(Error::io("remove", state))?;
    if mounted.made && !mounted.path.starts_with(state) {
        // Somebody may have put something there in the meantime; that stays.
        let _ = fs::remove_dir(&mounted.path);
    }
    Ok(())
}
