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
use sys::mount::{SetAttr, clone_tree, mount_setattr};

use crate::error::Error;

/// One such part.
#[derive(Debug)]
pub(crate) struct HostTree {
    path: CString,
    recursive: bool,
    /// Made once it is copied, in order.
    changes: Vec<SetAttr>,
    copy: OnceCell<OwnedFd>,
}

impl HostTree {
    /// The tree at `path`, with the mounts below it when `recursive`.
    pub fn new(path: &Path, recursive: bool, changes: Vec<SetAttr>) -> Result<HostTree, Error> {
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid(path.display().to_string(), "has a NUL byte"))?;
        let changes = changes.into_iter().filter(|change| *change != SetAttr::default()).collect();
        Ok(HostTree { path, recursive, changes, copy: OnceCell::new() })
    }

    /// Makes the copy. The error comes with what was done.
    pub fn open(&self) -> Result<(), (String, Errno)> {
        let name = self.path.to_string_lossy();
        let tree = clone_tree(AT_FDCWD, &self.path, self.recursive)
            .map_err(|errno| (format!("bind {name}"), errno))?;
        for change in &self.changes {
            mount_setattr(tree.as_fd(), *change)
                .map_err(|errno| (format!("set the options of a bind of {name}"), errno))?;
        }
        // It is opened once.
        self.copy.set(tree).map_err(|_| (format!("bind {name}"), Errno::EBUSY))
    }

    /// The copy, which must have been made.
    pub fn copy(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.copy.get().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    pub fn path(&self) -> &CStr {
        &self.path
    }
}
