//! Changes of an overlay: what is in its upper directory, against what the layers show.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Change, Kind};
use crate::error::{Error, Result};
use crate::store::{Stack, is_opaque};

/// Compares the upper directory with the layers.
pub fn compare(upper: &File, stack: &Stack) -> Result<Vec<Change>> {
    let mut walk = Walk { stack, changes: Vec::new() };
    walk.directory(upper.as_fd(), b"", false, true)?;
    Ok(walk.changes)
}

struct Walk<'a> {
    stack: &'a Stack,
    changes: Vec<Change>,
}

impl Walk<'_> {
    fn note(&mut self, path: &[u8], kind: Kind) {
        self.changes.push(Change { path: path.to_vec(), kind });
    }

    /// Says whether anything changed below. `hides` where nothing of the layers shows through,
    /// `known` where the layers have a directory.
    fn directory(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &[u8],
        hides: bool,
        known: bool,
    ) -> Result<bool> {
        let before = self.changes.len();
        let hides = hides || is_opaque(directory).map_err(|errno| failed(path, errno))?;
        let names = names(directory).map_err(|errno| failed(path, errno))?;
        let join = |name: &[u8]| match path {
            b"" => name.to_vec(),
            path => [path, b"/", name].concat(),
        };
        if hides && known {
            for name in self.stack.names(path)?.difference(&names) {
                self.note(&join(name), Kind::Deleted);
            }
        }
        for name in names {
            self.child(directory, &name, &join(&name), hides)?;
        }
        Ok(self.changes.len() > before)
    }

    fn child(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        hides: bool,
    ) -> Result<()> {
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Somebody still works there.
            Err(Errno::NOENT) => return Ok(()),
            result => result.map_err(|errno| failed(path, errno))?,
        };
        let was = self.stack.shown(path)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            if was.is_some() {
                self.note(path, Kind::Deleted);
            }
            return Ok(());
        }
        let change = if was.is_some() { Kind::Changed } else { Kind::Added };
        if kind != FileType::Directory {
            self.note(path, change);
            return Ok(());
        }
        let known = was.is_some_and(|was| is_directory(&was));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = rustix::fs::openat(directory, name, flags, Mode::empty())
            .map_err(|errno| failed(path, errno))?;
        let at = self.changes.len();
        let changed = self.directory(below.as_fd(), path, hides || !known, known)?;
        // A directory may be there only because imagectl set what a layer left open.
        if changed || !known || was.is_some_and(|was| differ(&was, &stat)) {
            self.changes.insert(at, Change { path: path.to_vec(), kind: change });
        }
        Ok(())
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn differ(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid)
}

fn failed(path: &[u8], errno: Errno) -> Error {
    Error::Entry {
        entry: path.escape_ascii().to_string(),
        source: Box::new(Error::step("look at what changed")(errno)),
    }
}

pub(super) fn names(directory: BorrowedFd<'_>) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.insert(name.to_vec());
        }
    }
    Ok(names)
}
