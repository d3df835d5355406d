//! An image's unpacked layers as overlayfs stacks them, and what a plain stack gets wrong.

mod copy;

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Store;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::{LayerRecord, Ownership, copy_metadata};

/// The layers that count, the topmost first.
pub struct Stack {
    image: String,
    layers: Vec<Layer>,
}

struct Layer {
    diff_id: Digest,
    path: PathBuf,
    tree: OwnedFd,
    record: LayerRecord,
    /// The record's implied directories, to be asked for one by one.
    implied: HashSet<Vec<u8>>,
}

/// What one layer holds at a path.
enum Held {
    /// Nothing: ask the next layer below.
    Nothing,
    /// A directory that the layers below go on in.
    Directory(OwnedFd),
    /// A directory that hides what the layers below have in it; what they say of it itself counts yet.
    EmptiedDirectory(OwnedFd),
    /// A directory in one that hides the layers below.
    OpaqueDirectory(OwnedFd),
    /// A whiteout, or an opaque directory above it: the layers below are hidden.
    Hidden,
    /// Something that is no directory, there or on the way.
    Other,
}

impl Store {
    /// Opens the unpacked layers of `image`, given the lowest first.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`]; a layer that is not unpacked is an [`Error::Document`].
    pub fn stack(&self, image: &str, diff_ids: &[Digest]) -> Result<Stack> {
        let mut layers: Vec<Layer> = Vec::new();
        for diff_id in diff_ids.iter().rev() {
            // A layer that stands in an image twice counts where it stands higher: it hides itself.
            if layers.iter().any(|layer| layer.diff_id == *diff_id) {
                continue;
            }
            if !self.has_layer(diff_id) {
                return Err(Error::Document {
                    what: format!("layer {diff_id}"),
                    reason: "is not unpacked; pull the image again as root, or use --copy".into(),
                });
            }
            let path = self.layer_tree(diff_id);
            let tree = File::open(&path).map_err(Error::io("open", &path))?.into();
            let record = self.layer_record(diff_id)?;
            let opaque = record.opaque;
            let implied = record.implied.iter().cloned().collect();
            layers.push(Layer { diff_id: *diff_id, path, tree, record, implied });
            if opaque {
                break;
            }
        }
        Ok(Stack { image: image.to_owned(), layers })
    }
}

impl Stack {
    /// The directories for overlayfs, the topmost first.
    #[must_use]
    pub fn lower_directories(&self) -> Vec<&PathBuf> {
        self.layers.iter().map(|layer| &layer.path).collect()
    }

    /// Diff IDs of the layers that count.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// Gives an empty upper directory the rootfs' own metadata: the topmost layer's that has any.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub fn describe_root(&self, upper: impl AsFd) -> Result<()> {
        match self.layers.iter().find(|layer| layer.record.root) {
            Some(layer) => copy_metadata(layer.tree.as_fd(), upper.as_fd()),
            None => Ok(()),
        }
    }

    /// Goes through the directories that some layer only implied: overlayfs shows them with that
    /// layer's made-up metadata, where the layers below may have the real one. With a mounted
    /// `rootfs`, sets it there; without, only checks.
    ///
    /// # Errors
    /// [`Error::Layer`] if such a directory lies over a symlink or file of a lower layer: then the
    /// layer was made to write through it, and layers may not depend on each other's links.
    pub fn resolve_implied(&self, rootfs: Option<&OwnedFd>) -> Result<()> {
        for (at, layer) in self.layers.iter().enumerate() {
            for path in &layer.record.implied {
                self.resolve_directory(at, path, rootfs).map_err(|source| {
                    let entry = path.escape_ascii().to_string();
                    let source = Box::new(Error::Entry { entry, source: Box::new(source) });
                    Error::Layer { image: self.image.clone(), layer: layer.diff_id, source }
                })?;
            }
        }
        Ok(())
    }

    /// What the layers together show at a path: a directory that a layer only implied, as the layers
    /// below it describe it.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub fn shown(&self, path: &[u8]) -> Result<Option<Stat>> {
        self.find(path).map_err(Error::step("look into a layer"))
    }

    fn find(&self, path: &[u8]) -> Result<Option<Stat>, Errno> {
        let (parent, name) = split(path);
        let mut implied = None;
        for layer in &self.layers {
            let (directory, hides) = match hold(&layer.tree, parent)? {
                Held::Nothing => continue,
                Held::Directory(fd) => (fd, false),
                Held::EmptiedDirectory(fd) | Held::OpaqueDirectory(fd) => (fd, true),
                Held::Hidden | Held::Other => break,
            };
            match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
                Ok(stat) if is_whiteout(&stat) => break,
                Ok(stat) if layer.implied.contains(path) => drop(implied.get_or_insert(stat)),
                // A layer below may have a file where this one implies a directory.
                Ok(stat) if implied.is_some() && !is_directory(&stat) => break,
                Ok(stat) => return Ok(Some(stat)),
            }
            if hides {
                break;
            }
        }
        Ok(implied)
    }

    /// The names that the layers together show in a directory.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub fn names(&self, path: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
        self.list(path).map_err(Error::step("look into a layer"))
    }

    fn list(&self, path: &[u8]) -> Result<BTreeSet<Vec<u8>>, Errno> {
        let (mut names, mut hidden) = (BTreeSet::new(), HashSet::new());
        for layer in &self.layers {
            let (directory, hides) = match hold(&layer.tree, path)? {
                Held::Nothing => continue,
                Held::Directory(fd) => (fd, false),
                Held::EmptiedDirectory(fd) | Held::OpaqueDirectory(fd) => (fd, true),
                Held::Hidden | Held::Other => break,
            };
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." || hidden.contains(name) {
                    continue;
                }
                let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match is_whiteout(&stat) && !names.contains(name) {
                    true => drop(hidden.insert(name.to_vec())),
                    false => drop(names.insert(name.to_vec())),
                }
            }
            if hides {
                break;
            }
        }
        Ok(names)
    }

    /// The topmost directory at a path that an entry describes, and not only its content's paths.
    fn described(&self, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        for layer in &self.layers {
            let implied = layer.implied.contains(path);
            match hold(&layer.tree, path)? {
                Held::Nothing => {}
                Held::Directory(_) | Held::EmptiedDirectory(_) if implied => {}
                Held::Directory(fd) | Held::EmptiedDirectory(fd) | Held::OpaqueDirectory(fd) => {
                    return Ok(Some(fd));
                }
                Held::Hidden | Held::Other => return Ok(None),
            }
        }
        Ok(None)
    }

    fn resolve_directory(&self, at: usize, path: &[u8], rootfs: Option<&OwnedFd>) -> Result<()> {
        // Where a higher layer has the directory, the turn of that layer decides.
        let covered = self.layers[..at]
            .iter()
            .any(|layer| !matches!(hold(&layer.tree, path), Ok(Held::Nothing)));
        for layer in &self.layers[at..] {
            let implied = layer.implied.contains(path);
            let held = hold(&layer.tree, path).map_err(Error::step("look into a layer"))?;
            match held {
                Held::Nothing => {}
                Held::Directory(_) | Held::EmptiedDirectory(_) if implied => {}
                Held::Directory(real)
                | Held::EmptiedDirectory(real)
                | Held::OpaqueDirectory(real)
                    if !implied =>
                {
                    let (false, Some(rootfs)) = (covered, rootfs) else { return Ok(()) };
                    let shown = open(rootfs, path, OFlags::RDONLY)
                        .map_err(Error::step("open the directory"))?;
                    return copy_metadata(real.as_fd(), shown.as_fd());
                }
                Held::Directory(_)
                | Held::EmptiedDirectory(_)
                | Held::OpaqueDirectory(_)
                | Held::Hidden => return Ok(()),
                Held::Other => {
                    return Err(Error::refused(format!(
                        "layer {} has no directory there, and layer {} would write through it",
                        layer.diff_id.short(),
                        self.layers[at].diff_id.short(),
                    )));
                }
            }
        }
        Ok(())
    }
}

/// What `tree` holds at `path`, whose components are plain names.
fn hold(tree: &OwnedFd, path: &[u8]) -> Result<Held, Errno> {
    if path.is_empty() {
        return open(tree, b".", OFlags::RDONLY).map(Held::Directory);
    }
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    let mut hides = false;
    for end in ends.chain([path.len()]) {
        let fd = match open(tree, &path[..end], OFlags::RDONLY) {
            Ok(fd) => fd,
            Err(Errno::NOENT) if hides => return Ok(Held::Hidden),
            Err(Errno::NOENT) => return Ok(Held::Nothing),
            Err(Errno::NOTDIR | Errno::LOOP) => return kind(tree, &path[..end]),
            Err(errno) => return Err(errno),
        };
        let opaque = is_opaque(&fd)?;
        if end == path.len() {
            return Ok(match (hides, opaque) {
                (true, _) => Held::OpaqueDirectory(fd),
                (false, true) => Held::EmptiedDirectory(fd),
                (false, false) => Held::Directory(fd),
            });
        }
        hides |= opaque;
    }
    Ok(Held::Nothing)
}

fn kind(tree: &OwnedFd, path: &[u8]) -> Result<Held, Errno> {
    let (directory, name) = split(path);
    let directory = if directory.is_empty() { b"." } else { directory };
    let parent = open(tree, directory, OFlags::PATH)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(if is_whiteout(&stat) { Held::Hidden } else { Held::Other })
}

/// Directory and last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn open(tree: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(tree, path, flags, Mode::empty(), resolve)
}

/// Does overlayfs hide what lower layers hold in the directory?
pub(crate) fn is_opaque(directory: impl AsFd) -> Result<bool, Errno> {
    let mut value = [0_u8; 4];
    let name = Ownership::of_caller().opaque_attribute();
    match rustix::fs::fgetxattr(directory, name, &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}
