//! The directories of a tree being made: how an entry's parent is reached, and what each directory's
//! metadata must be once all entries are in it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::apply::Ownership;
use super::bounds::Remembered;
use super::metadata::{Metadata, NewFiles, clear_xattrs, mtime, set_mtime};
use super::path::EntryPath;
use crate::error::{Error, Result};

/// Open parents at a time.
const RECENT: usize = 8;

/// How a directory came to be, and so what it gets in the end.
#[derive(Debug)]
pub enum State {
    /// By an entry of its own.
    Explicit(Metadata),
    /// As the parent of an entry.
    Implied,
    /// It was there before this layer and keeps its metadata. Its time must be set back.
    Kept {
        /// Seconds from 1970, and nanoseconds.
        mtime: (i64, u32),
    },
}

/// Directory metadata is set at the end: entries change their directory's time, a mode may lock
/// out an owner who is not root, and a default ACL would change what is made below.
pub struct Directories<'a> {
    root: BorrowedFd<'a>,
    states: BTreeMap<Vec<u8>, State>,
    remembered: Remembered,
    /// The last parents, the latest last: an archive goes into a directory and comes back to where it was.
    recent: Vec<(Vec<u8>, OwnedFd)>,
}

impl<'a> Directories<'a> {
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            states: BTreeMap::new(),
            remembered: Remembered::default(),
            recent: Vec::new(),
        }
    }

    /// Opens a directory below the root without passing any symlink or mount.
    pub fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        rustix::fs::openat2(
            self.root,
            path,
            flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV,
        )
    }

    /// The directory `path`, for making entries in it; `None` if it isn't there or is no directory.
    pub fn enter(&mut self, path: &[u8]) -> Result<Option<BorrowedFd<'_>>> {
        let cached = self.recent.iter().rposition(|(recent, _)| recent == path);
        if let Some(index) = cached {
            self.recent[index..].rotate_left(1);
        } else {
            let fd = match self.open(path, OFlags::PATH) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(errno) => return Err(Error::step("open the directory")(errno)),
            };
            if !self.states.contains_key(path) {
                self.remembered.add(path.len())?;
                let stat = rustix::fs::fstat(&fd).map_err(Error::step("stat the directory"))?;
                self.states.insert(path.to_vec(), State::Kept { mtime: mtime(&stat) });
            }
            if self.recent.len() == RECENT {
                self.recent.remove(0);
            }
            self.recent.push((path.to_vec(), fd));
        }
        Ok(self.recent.last().map(|(_, fd)| fd.as_fd()))
    }

    /// Notes how a directory came to be.
    ///
    /// # Errors
    /// [`Error::Refused`] if that is more than may be remembered.
    pub fn set(&mut self, path: &EntryPath, state: State) -> Result<()> {
        let attributes = match &state {
            State::Explicit(metadata) => {
                metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
            }
            State::Implied | State::Kept { .. } => 0,
        };
        self.remembered.add(path.as_bytes().len() + attributes)?;
        self.states.insert(path.as_bytes().to_vec(), state);
        Ok(())
    }

    /// Forgets a directory that is removed, and all below it.
    pub fn forget(&mut self, path: &EntryPath) {
        self.leave();
        let below = [path.as_bytes(), b"/"].concat();
        self.states.remove(path.as_bytes());
        let inside = self.states.range(below.clone()..).map(|(path, _)| path);
        let inside: Vec<_> = inside.take_while(|path| path.starts_with(&below)).cloned().collect();
        for path in inside {
            self.states.remove(&path);
        }
    }

    /// Drops the open directories, of which some may just be removed.
    pub fn leave(&mut self) {
        self.recent.clear();
    }

    /// Sets every directory's metadata, the deepest first. Gives the paths of the implied ones.
    pub fn finish(self, ownership: Ownership, new: &NewFiles) -> Result<Vec<Vec<u8>>> {
        let unknown = NewFiles::unknown();
        let mut implied = Vec::new();
        for (path, state) in self.states.iter().rev() {
            let set = || -> Result<()> {
                let fd = match (self.open(path, OFlags::RDONLY), state) {
                    // A whiteout took it after something was looked for in it.
                    (Err(Errno::NOENT | Errno::NOTDIR), State::Kept { .. }) => return Ok(()),
                    (result, _) => result.map_err(Error::step("open the directory"))?,
                };
                // The root was there before.
                let new = if path.is_empty() { &unknown } else { new };
                match state {
                    State::Explicit(metadata) => {
                        if !new.have_no_xattrs() {
                            clear_xattrs(fd.as_fd(), &metadata.xattrs)?;
                        }
                        metadata.set_new_directory(fd.as_fd(), ownership, new)
                    }
                    State::Implied => {
                        Metadata::implied().set_new_directory(fd.as_fd(), ownership, new)
                    }
                    State::Kept { mtime } => set_mtime(fd.as_fd(), *mtime),
                }
            };
            set().map_err(|source| Error::Entry {
                entry: path.escape_ascii().to_string(),
                source: Box::new(source),
            })?;
            if matches!(state, State::Implied) {
                implied.push(path.clone());
            }
        }
        implied.reverse();
        Ok(implied)
    }
}
