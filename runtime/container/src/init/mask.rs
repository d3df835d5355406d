//! Paths that the container may not see, or not write to.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, makedev};
use sys::mount::{
    SetAttr, attr, clone_tree, fsconfig_create, fsconfig_flag, fsconfig_string, fsmount, fsopen,
    mount_setattr, move_mount,
};

use super::root::{Root, kind};
use super::{Result, Step};
use crate::plan::RootfsPlan;

/// What is not there needs no protection; nor does what this process can't even look up.
fn open(root: Root<'_>, path: &str) -> std::result::Result<Option<OwnedFd>, Errno> {
    match root.open(path, OFlag::O_PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Makes the trees at the paths read-only: a read-only copy covers each.
pub(crate) fn readonly_paths(root: Root<'_>, paths: &[String]) -> Result<()> {
    let readonly = SetAttr { set: attr::RDONLY, recursive: true, ..SetAttr::default() };
    for (index, path) in paths.iter().enumerate() {
        let step = || format!("linux.readonlyPaths[{index}]: make /{path} read-only");
        let Some(target) = open(root, path).step(step)? else { continue };
        let tree = clone_tree(target.as_fd(), c"", true).step(step)?;
        mount_setattr(tree.as_fd(), readonly).step(step)?;
        move_mount(tree.as_fd(), target.as_fd(), c"").step(step)?;
    }
    Ok(())
}

/// Covers files with /dev/null and directories with an empty, read-only tmpfs.
pub(crate) fn masked_paths(root: Root<'_>, plan: &RootfsPlan) -> Result<()> {
    let mut masks = Masks::default();
    for (index, path) in plan.masked.iter().enumerate() {
        let step = || format!("linux.maskedPaths[{index}]: mask /{path}");
        let Some(target) = open(root, path).step(step)? else { continue };
        let mask = if kind(&target).step(step)? == SFlag::S_IFDIR {
            masks.directory(plan.label.as_deref()).step(|| match &plan.label {
                Some(label) => format!("linux.mountLabel: {label:?} for what masks /{path}"),
                None => step(),
            })?
        } else {
            masks.file(root).step(step)?
        };
        move_mount(mask.as_fd(), target.as_fd(), c"").step(step)?;
    }
    Ok(())
}

/// The last mount of each kind: the next one is a copy of it, so that one superblock serves all.
#[derive(Default)]
struct Masks {
    directory: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

impl Masks {
    fn directory(&mut self, label: Option<&CStr>) -> std::result::Result<OwnedFd, Errno> {
        if let Some(attached) = &self.directory {
            return clone_tree(attached.as_fd(), c"", false);
        }
        let context = fsopen(c"tmpfs")?;
        fsconfig_flag(context.as_fd(), c"ro")?;
        if let Some(label) = label {
            fsconfig_string(context.as_fd(), c"context", label)?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        let mount = fsmount(context.as_fd(), attributes)?;
        self.directory = Some(mount.try_clone().map_err(|_| Errno::EMFILE)?);
        Ok(mount)
    }

    fn file(&mut self, root: Root<'_>) -> std::result::Result<OwnedFd, Errno> {
        if let Some(attached) = &self.file {
            return clone_tree(attached.as_fd(), c"", false);
        }
        let null = root.open("dev/null", OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        // Anything else of that name would show what it should hide.
        let stat = fstat(&null)?;
        if kind(&null)? != SFlag::S_IFCHR || stat.st_rdev != makedev(1, 3) {
            return Err(Errno::ENXIO);
        }
        let mount = clone_tree(null.as_fd(), c"", false)?;
        self.file = Some(mount.try_clone().map_err(|_| Errno::EMFILE)?);
        Ok(mount)
    }
}
