//! A part of the host's file tree that the container gets: the rootfs, the source of a bind mount, a
//! device, a control group.
//!
//! It is a detached copy. The parent makes it, with its own privileges, unless the container has a
//! user namespace: then the child does, from its own mount namespace, where the host's mounts are
//! locked, so that the container can neither lift their flags nor uncover what they hide.

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use sys::mount::{SetAttr, attr, clone_tree};

use crate::attributes::Change;
use crate::error::Error;
use crate::idmap::IdMap;

/// One such part.
#[derive(Debug)]
pub(crate) struct HostTree {
    path: CString,
    recursive: bool,
    /// Made once it is copied, in order.
    changes: Vec<Change>,
    /// How its ids are translated, which only the parent can set.
    pub idmap: Option<IdMap>,
    copy: OnceCell<OwnedFd>,
}

impl HostTree {
    /// The tree at `path`, with the mounts below it when `recursive`.
    pub fn new(
        path: &Path,
        recursive: bool,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<HostTree, Error> {
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid(path.display().to_string(), "has a NUL byte"))?;
        let changes = changes.into_iter().filter(|change| *change != Change::default()).collect();
        Ok(HostTree { path, recursive, changes, idmap: None, copy: OnceCell::new() })
    }

    /// The configuration says so.
    pub fn is_readonly(&self) -> bool {
        self.changes.iter().any(|change| change.asked.set & attr::RDONLY != 0)
    }

    /// Nothing is to be written through it.
    pub fn make_readonly(&mut self) {
        let readonly = SetAttr { set: attr::RDONLY, recursive: true, ..SetAttr::default() };
        self.changes.push(readonly.into());
    }

    /// Makes the copy. The error comes with what was done.
    pub fn open(&self) -> Result<(), (String, Errno)> {
        self.clone_tree()?;
        self.change()
    }

    /// The first half of [`HostTree::open`].
    pub fn clone_tree(&self) -> Result<(), (String, Errno)> {
        let step = || format!("bind {}", self.path.to_string_lossy());
        let tree =
            clone_tree(AT_FDCWD, &self.path, self.recursive).map_err(|errno| (step(), errno))?;
        // It is opened once.
        self.copy.set(tree).map_err(|_| (step(), Errno::EBUSY))
    }

    /// The second half of [`HostTree::open`].
    pub fn change(&self) -> Result<(), (String, Errno)> {
        let step = |what: &str| format!("{what} of {}", self.path.to_string_lossy());
        let copy = self.copy().map_err(|errno| (step("the copy"), errno))?;
        for change in &self.changes {
            change.apply(copy).map_err(|errno| match errno {
                Errno::EPERM => (step("the kernel has locked the options of the mount"), errno),
                errno => (step("set the options of a bind"), errno),
            })?;
        }
        Ok(())
    }

    /// The copy, which must have been made.
    pub fn copy(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.copy.get().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    pub fn path(&self) -> &CStr {
        &self.path
    }
}
