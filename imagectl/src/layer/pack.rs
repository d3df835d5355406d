//! From a directory tree to a layer's archive: a whole tree, or an overlay's upper directory as the
//! changes that it is.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::apply::{Form, Ownership, is_whiteout};
use super::metadata::{list_xattrs, may_set, mtime};
use super::owner_record;
use super::tar::{Entry, Kind, Writer};
use crate::error::{Error, Result};

/// The deepest tree that becomes a layer, in directories: what unpacking takes.
const DEPTH_LIMIT: usize = 256;

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What of a directory becomes the layer.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// All of it.
    Tree,
    /// All of it, an overlay's upper directory: overlayfs' marks become whiteouts.
    Upper,
    /// What changed in it.
    Changes {
        /// Paths that are there; what is below a directory is named for itself.
        there: &'a [Vec<u8>],
        /// Paths that are not.
        gone: &'a [Vec<u8>],
    },
}

/// Writes what the directory holds, in the order of names. Sockets are left out, as they mean nothing
/// without who listens.
///
/// # Errors
/// [`Error::Entry`] for what can't be read, [`Error::Step`] for the sink's.
pub fn pack<W: Write>(directory: BorrowedFd<'_>, content: Content<'_>, sink: W) -> Result<W> {
    let form = match content {
        Content::Upper => Form::Overlay,
        Content::Tree | Content::Changes { .. } => Form::Tree,
    };
    let opaque = Ownership::of_caller().opaque_attribute();
    let mut packer = Packer { writer: Writer::new(sink), form, opaque, names: HashMap::new() };
    let stat = rustix::fs::fstat(directory).map_err(Error::step("stat the directory"))?;
    match content {
        Content::Tree | Content::Upper => packer.directory(directory, &stat, b"", 0)?,
        Content::Changes { there, gone } => packer.changes(directory, there, gone)?,
    }
    packer.writer.finish().map_err(Error::step("write the layer"))
}

struct Packer<W> {
    writer: Writer<W>,
    form: Form,
    opaque: &'static str,
    /// Files of several names, by device and inode: the first name.
    names: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packer<W> {
    /// The changed paths, each with the directories on its way, and whiteouts of those that are gone.
    fn changes(&mut self, root: BorrowedFd<'_>, there: &[Vec<u8>], gone: &[Vec<u8>]) -> Result<()> {
        let mut written = BTreeSet::new();
        self.way(root, b"", &mut written)?;
        for path in gone {
            let (parent, name) = split(path);
            // Where a file took its directory's place, that says it.
            if self.way(root, parent, &mut written)?.is_some() {
                self.mark(parent, name)?;
            }
        }
        for path in there {
            let at = |source| entry_error(path, source);
            let (parent, name) = split(path);
            let Some(parent) = self.way(root, parent, &mut written)? else { continue };
            match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                // Somebody still works there.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(at(Error::step("stat")(errno))),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    self.way(root, path, &mut written)?;
                }
                Ok(_) => self.child(parent.as_fd(), name, path.clone(), 0)?,
            }
        }
        Ok(())
    }

    /// Opens a directory, and writes it and those above it if they are not yet. `None` if it is none.
    fn way(
        &mut self,
        root: BorrowedFd<'_>,
        path: &[u8],
        written: &mut BTreeSet<Vec<u8>>,
    ) -> Result<Option<OwnedFd>> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(at, _)| at).chain([path.len()]);
        let mut here = open(root, b".", OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(Error::step("open the directory"))?;
        let mut begin = 0;
        for end in [0].into_iter().chain(ends.filter(|end| *end > 0)) {
            let at = |source| entry_error(&path[..end], source);
            if end > 0 {
                let name = &path[begin..end];
                here = match open(here.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                    result => result.map_err(Error::step("open the directory")).map_err(at)?,
                };
                begin = end + 1;
            }
            if written.insert(path[..end].to_vec()) {
                let stat = rustix::fs::fstat(&here).map_err(Error::step("stat")).map_err(at)?;
                let (xattrs, _) = self.xattrs(here.as_fd()).map_err(at)?;
                let shown = [if end == 0 { b"." } else { &path[..end] }, b"/"].concat();
                self.write(&entry(shown, Kind::Directory, &stat, xattrs), io::empty())?;
            }
        }
        Ok(Some(here))
    }

    fn directory(
        &mut self,
        directory: BorrowedFd<'_>,
        stat: &Stat,
        path: &[u8],
        depth: usize,
    ) -> Result<()> {
        let at = |source| entry_error(path, source);
        if depth > DEPTH_LIMIT {
            let reason = format!("the tree is deeper than {DEPTH_LIMIT} levels");
            return Err(at(Error::refused(reason)));
        }
        let (xattrs, opaque) = self.xattrs(directory).map_err(at)?;
        let shown = [if path.is_empty() { b"." } else { path }, b"/"].concat();
        self.write(&entry(shown, Kind::Directory, stat, xattrs), io::empty())?;
        if opaque && self.form == Form::Overlay {
            self.mark(path, b".wh..opq")?;
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(Error::step("list")).map_err(at)? {
            let entry = entry.map_err(Error::step("list")).map_err(at)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort();
        for name in names {
            let path = match path {
                b"" => name.clone(),
                path => [path, b"/", &name].concat(),
            };
            self.child(directory, &name, path, depth)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
        depth: usize,
    ) -> Result<()> {
        let at = |source| entry_error(&path, source);
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Somebody still works there.
            Err(Errno::NOENT) => return Ok(()),
            result => result.map_err(Error::step("stat")).map_err(at)?,
        };
        if self.form == Form::Overlay && is_whiteout(&stat) {
            let (parent, _) = path.split_at(path.len() - name.len());
            return self.mark(parent.strip_suffix(b"/").unwrap_or(parent), name);
        }
        if name.starts_with(b".wh.") {
            return Err(at(Error::refused("the name is reserved for whiteouts")));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let below = open(directory, name, OFlags::RDONLY | OFlags::DIRECTORY);
            let below = below.map_err(Error::step("open")).map_err(at)?;
            return self.directory(below.as_fd(), &stat, &path, depth + 1);
        }
        if stat.st_nlink > 1 {
            match self.names.entry((stat.st_dev, stat.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    let kind = Kind::Hardlink(first.get().clone());
                    return self.write(&entry(path.clone(), kind, &stat, Vec::new()), io::empty());
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(path.clone());
                }
            }
        }
        if kind == FileType::RegularFile {
            let file = open(directory, name, OFlags::RDONLY);
            let file = file.map_err(Error::step("open")).map_err(at)?;
            let stat = rustix::fs::fstat(&file).map_err(Error::step("stat")).map_err(at)?;
            let (xattrs, _) = self.xattrs(file.as_fd()).map_err(at)?;
            let mut entry = entry(path.clone(), Kind::File, &stat, xattrs);
            entry.size = u64::try_from(stat.st_size).unwrap_or(0);
            return self.write(&entry, File::from(file));
        }
        let device = || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match kind {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new());
                Kind::Symlink(target.map_err(Error::step("read")).map_err(at)?.into_bytes())
            }
            FileType::CharacterDevice => Kind::Character(device().0, device().1),
            FileType::BlockDevice => Kind::Block(device().0, device().1),
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        let xattrs = special_xattrs(directory, name).map_err(at)?;
        self.write(&entry(path.clone(), kind, &stat, xattrs), io::empty())
    }

    /// Writes a whiteout of `name` in the directory `parent`.
    fn mark(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let name = [b".wh.", name].concat();
        let path = match parent {
            b"" => name,
            parent => [parent, b"/", &name].concat(),
        };
        let whiteout = Entry {
            path,
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            sparse: None,
            xattrs: Vec::new(),
        };
        self.write(&whiteout, io::empty())
    }

    fn write(&mut self, entry: &Entry, data: impl io::Read) -> Result<()> {
        self.writer
            .entry(entry, data)
            .map_err(|source| entry_error(&entry.path, Error::step("write the layer")(source)))
    }

    /// The attributes that an archive may carry, and whether overlayfs calls the directory opaque.
    fn xattrs(&self, fd: BorrowedFd<'_>) -> Result<(Xattrs, bool)> {
        let mut xattrs = Vec::new();
        let mut opaque = false;
        for name in list_xattrs(fd).map_err(Error::step("list extended attributes"))? {
            let mut value = vec![0_u8; 64 << 10];
            let length = rustix::fs::fgetxattr(fd, name.as_slice(), &mut value[..])
                .map_err(Error::step("read an extended attribute"))?;
            value.truncate(length);
            opaque |= name == self.opaque.as_bytes() && value == b"y";
            if may_set(&name, Ownership::Stored) {
                xattrs.push((name, value));
            }
        }
        xattrs.sort();
        Ok((xattrs, opaque))
    }
}

/// The attributes of what can't be opened.
pub(super) fn special_xattrs(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Xattrs> {
    let path = [format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(), name].concat();
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::llistxattr(path.as_slice(), &mut names[..]) {
        Err(Errno::OPNOTSUPP | Errno::PERM) => 0,
        result => result.map_err(Error::step("list extended attributes"))?,
    };
    let mut xattrs = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || !may_set(name, Ownership::Stored) {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::lgetxattr(path.as_slice(), name, &mut value[..])
            .map_err(Error::step("read an extended attribute"))?;
        value.truncate(length);
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort();
    Ok(xattrs)
}

fn entry(path: Vec<u8>, kind: Kind, stat: &Stat, mut xattrs: Xattrs) -> Entry {
    let record = xattrs.iter().position(|(name, _)| name == owner_record::NAME);
    // Unpacked by somebody who could not give it its owner.
    let noted = record.and_then(|at| owner_record::decode(&xattrs.remove(at).1));
    let (uid, gid) = noted.unwrap_or((stat.st_uid, stat.st_gid));
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid,
        gid,
        mtime: mtime(stat),
        size: 0,
        sparse: None,
        xattrs,
    }
}

/// Directory and last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn entry_error(path: &[u8], source: Error) -> Error {
    Error::Entry { entry: path.escape_ascii().to_string(), source: Box::new(source) }
}

fn open(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    // A pipe in the place of a file must not be waited for.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}
