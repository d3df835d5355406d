//! Changes of a tree of its own: its files' metadata against what the layers' archives say. A file
//! whose size and time are the image's counts as unchanged.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::overlay::names;
use super::{Change, Kind};
use crate::error::{Error, Result};
use crate::layer::{Listing, Node, NodeKind, Ownership};

/// Compares the tree with the listing.
pub fn compare(rootfs: BorrowedFd<'_>, listing: &Listing) -> Result<Vec<Change>> {
    let owned = Ownership::of_caller() == Ownership::Stored;
    let mut walk = Walk { listing, owned, seen: BTreeSet::new(), changes: Vec::new() };
    walk.directory(rootfs, b"")?;
    walk.deleted();
    Ok(walk.changes)
}

struct Walk<'a> {
    listing: &'a Listing,
    /// Files have the archive's owners and kinds; they are the caller's own else, and devices are files.
    owned: bool,
    seen: BTreeSet<Vec<u8>>,
    changes: Vec<Change>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        for name in names(directory).map_err(|errno| failed(path, errno))? {
            let path = match path {
                b"" => name.clone(),
                path => [path, b"/", &name].concat(),
            };
            let stat = match rustix::fs::statat(directory, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                // Somebody still works there.
                Err(Errno::NOENT) => continue,
                result => result.map_err(|errno| failed(&path, errno))?,
            };
            let kind = match self.listing.nodes().get(&path) {
                None => Some(Kind::Added),
                Some(node) => {
                    let same = self.same(node, &stat, directory, &name);
                    (!same.map_err(|errno| failed(&path, errno))?).then_some(Kind::Changed)
                }
            };
            if let Some(kind) = kind {
                self.changes.push(Change { path: path.clone(), kind });
            }
            self.seen.insert(path.clone());
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(directory, &name[..], flags, Mode::empty())
                    .map_err(|errno| failed(&path, errno))?;
                self.directory(below.as_fd(), &path)?;
            }
        }
        Ok(())
    }

    fn same(
        &self,
        node: &Node,
        stat: &Stat,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<bool, Errno> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let same_kind = match &node.kind {
            NodeKind::File(length) => kind == FileType::RegularFile && size == *length,
            NodeKind::Directory => kind == FileType::Directory,
            NodeKind::Fifo => kind == FileType::Fifo,
            NodeKind::Symlink(target) => {
                kind == FileType::Symlink
                    && rustix::fs::readlinkat(directory, name, Vec::new())?.as_bytes() == target
            }
            NodeKind::Character(..) | NodeKind::Block(..) if !self.owned => {
                kind == FileType::RegularFile && size == 0
            }
            NodeKind::Character(major, minor) => {
                kind == FileType::CharacterDevice && device == (*major, *minor)
            }
            NodeKind::Block(major, minor) => {
                kind == FileType::BlockDevice && device == (*major, *minor)
            }
        };
        let mode = kind == FileType::Symlink || stat.st_mode & 0o7777 == node.mode;
        let owner = !self.owned || (stat.st_uid, stat.st_gid) == (node.uid, node.gid);
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let time = node.mtime.is_none_or(|mtime| mtime == (stat.st_mtime, nanoseconds));
        Ok(same_kind && mode && owner && time)
    }

    /// What the tree has not: of a directory that is gone, itself alone.
    fn deleted(&mut self) {
        let mut gone: Option<&[u8]> = None;
        for path in self.listing.nodes().keys() {
            if path.is_empty() || self.seen.contains(path) {
                continue;
            }
            let below =
                |above: &[u8]| path.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"));
            if gone.is_some_and(below) {
                continue;
            }
            gone = Some(path);
            self.changes.push(Change { path: path.clone(), kind: Kind::Deleted });
        }
    }
}

fn failed(path: &[u8], errno: Errno) -> Error {
    Error::Entry {
        entry: path.escape_ascii().to_string(),
        source: Box::new(Error::step("look at what changed")(errno)),
    }
}
