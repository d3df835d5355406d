//! Making a bundle: rootfs first, for the user is looked up in it, then config.json.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::id_map::IdMaps;
use super::overlay::{Changes, Overlay};
use super::settings::Settings;
use super::spec::{Conversion, convert};
use super::{MARK, Mark, overlay, rootfs, rootless, user, working_dir};
use crate::error::{Error, Result};
use crate::image::{ImageConfig, Manifest};
use crate::layer::{Limits, Ownership, remove_tree};
use crate::reference::Reference;
use crate::store::{Store, StoredImage, write_atomically, write_until_reboot};
use crate::user_namespace;

/// What the bundle is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// A tree of its own instead of an overlay over the store.
    pub copy: bool,
    /// What is to be otherwise than the image has it.
    pub settings: Settings,
    /// What the image may become.
    pub limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The bundle's absolute path.
    pub path: PathBuf,
    /// The image's full name.
    pub image: String,
}

/// Makes a bundle of a stored image in the new or empty directory `path`. If that fails, the
/// directory is as it was before.
///
/// # Errors
/// [`Error::Argument`] if the directory holds anything; those of store, layers and conversion.
pub fn create(
    store: &Store,
    image: &StoredImage,
    path: &Path,
    options: &Options,
) -> Result<Created> {
    let _held = store.hold()?;
    let manifest = store.manifest(image)?;
    let config = store.config(&manifest)?;
    let made = make_directory(path)?;
    let path = std::fs::canonicalize(path).map_err(Error::io("open", path))?;
    let _lock = lock_empty(&path)?;
    let bundle = Bundle { store, image, manifest, config, path: &path, options };
    bundle.fill().inspect_err(|_| {
        // The error at hand is the one to tell; what can't be removed is plain to see.
        let _ = super::remove::clear(&path, Some(store));
        if made {
            let _ = std::fs::remove_dir(&path);
        }
    })?;
    Ok(Created { path, image: image.name().to_owned() })
}

/// Says whether the directory had to be made.
fn make_directory(path: &Path) -> Result<bool> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("make the directory", path)(error)),
    }
    let mut entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
    match entries.next() {
        None => {
            // Nobody else may reach a stranger's setuid files, whoever made the directory.
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o700))
                .map_err(Error::io("set the mode of", path))?;
            Ok(false)
        }
        Some(_) => Err(Error::Argument {
            option: "DIR",
            reason: format!("{} is not empty", path.display()),
        }),
    }
}

/// Two commands may have found the directory empty: the first one makes the bundle, and the other must
/// not clear it away.
fn lock_empty(path: &Path) -> Result<File> {
    let directory = File::open(path).map_err(Error::io("open", path))?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive)
        .map_err(Error::io("lock", path))?;
    match std::fs::read_dir(path).map_err(Error::io("read", path))?.next() {
        None => Ok(directory),
        Some(_) => Err(Error::Argument {
            option: "DIR",
            reason: format!("{} is not empty", path.display()),
        }),
    }
}

/// A bundle being made.
struct Bundle<'a> {
    store: &'a Store,
    image: &'a StoredImage,
    manifest: Manifest,
    config: ImageConfig,
    path: &'a Path,
    options: &'a Options,
}

impl Bundle<'_> {
    fn fill(&self) -> Result<()> {
        // The mark comes first: a bundle half made can be removed like any other.
        self.write_json(MARK, &self.mark())?;
        let rootfs = self.path.join("rootfs");
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&rootfs)
            .map_err(Error::io("make the directory", &rootfs))?;
        let mut overlay = None;
        match self.options.copy {
            true => self.copy(&rootfs)?,
            false => overlay = Some(self.overlay()?),
        }
        let directory = File::open(&rootfs).map_err(Error::io("open", &rootfs))?;
        let mut spec = self.spec(directory.as_fd())?;
        drop(directory);
        if let Some(overlay) = overlay.filter(|_| user_namespace::is_own()) {
            // Nobody sees this mount, and it goes with this command: the runtime makes it once more.
            overlay::unmount(&rootfs)?;
            rootless::mount_root(&mut spec, &overlay.as_text()?);
        }
        self.write_json("config.json", &spec)
    }

    /// The config: the image's, the caller's, and what the rootfs knows.
    fn spec(&self, rootfs: BorrowedFd<'_>) -> Result<serde_json::Value> {
        let settings = &self.options.settings;
        let user = settings.user.as_ref().unwrap_or(&self.config.config.user);
        let conversion = Conversion {
            user: user::resolve(user, rootfs)?,
            args: settings.args.clone(),
            tty: settings.tty,
            hostname: settings.hostname.clone().unwrap_or_else(|| self.hostname()),
        };
        let mut spec = convert(&self.config, &conversion)?;
        settings.apply(&mut spec)?;
        if settings.rootless {
            let maps = match user_namespace::maps() {
                // Where others run in the namespace, so does the runtime.
                Some(maps) if !user_namespace::is_own() => Some(maps.inside()),
                Some(maps) => Some(maps),
                None => IdMaps::ranges(),
            };
            let maps = maps.unwrap_or_else(IdMaps::single);
            rootless::adapt(&mut spec, &maps, &conversion.user)?;
        }
        if let Some(cwd) = spec["process"]["cwd"].as_str() {
            working_dir::make(rootfs, cwd, &conversion.user)?;
        }
        Ok(spec)
    }

    fn copy(&self, rootfs: &Path) -> Result<()> {
        let directory = File::open(rootfs).map_err(Error::io("open", rootfs))?;
        let name = self.image.name();
        let limits = self.options.limits;
        let diff_ids = &self.config.rootfs.diff_ids;
        // Layers that are unpacked already need not be once more.
        if diff_ids.iter().all(|diff_id| self.store.has_layer(diff_id))
            && rustix::process::geteuid().is_root()
        {
            return self.store.stack(name, diff_ids)?.copy_into(directory.as_fd());
        }
        rootfs::unpack_into(
            self.store,
            name,
            &self.manifest,
            &self.config,
            limits,
            directory.as_fd(),
        )
    }

    fn overlay(&self) -> Result<Overlay> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Argument {
                option: "--copy",
                reason: "needed, for this machine lets this user have no user namespace, and only \
                         root can mount an overlay"
                    .into(),
            });
        }
        let (name, limits) = (self.image.name(), self.options.limits);
        super::unpack_missing(self.store, name, &self.manifest, &self.config, limits)?;
        let stack = self.store.stack(name, &self.config.rootfs.diff_ids)?;
        self.store.use_layers(self.path, &stack.diff_ids())?;
        overlay::mount(self.path, &self.path.join("rootfs"), &stack, Changes::Last)
    }

    fn mark(&self) -> Mark {
        Mark {
            image: self.image.name().to_owned(),
            digest: self.image.descriptor.digest,
            store: (!self.options.copy).then(|| self.store.root().to_owned()),
            ids: match Ownership::of_caller() {
                Ownership::Stored => None,
                Ownership::Namespace | Ownership::Caller => {
                    Some(user_namespace::maps().unwrap_or_else(IdMaps::single))
                }
            },
        }
    }

    /// The image's short name, as far as a host name may hold it.
    fn hostname(&self) -> String {
        let name = Reference::parse(self.image.name())
            .map(|reference| reference.short_name().to_owned())
            .unwrap_or_default();
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(63)
            .collect();
        if name.is_empty() { "container".to_owned() } else { name }
    }

    fn write_json(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let path = self.path.join(name);
        let bytes = serde_json::to_vec_pretty(value)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        match self.options.copy {
            true => write_atomically(&path, &bytes),
            // The overlay doesn't outlive the machine's running, and its bundle means nothing without.
            false => write_until_reboot(&path, &bytes),
        }
    }
}

/// Removes an entry of an open bundle directory.
pub(super) fn remove_entry(bundle: &File, path: &Path, name: &str) -> Result<()> {
    remove_tree(bundle.as_fd(), name.as_bytes()).map_err(Error::io("remove", path.join(name)))
}
