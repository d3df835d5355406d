//! The mounts that criu is to find before it restores a container, in a mount namespace of criu's own.
//!
//! criu takes only a mount point for a root directory, and mount points inside that are there. Those of
//! a container whose root directory is a fresh copy have yet to be made, in binds too.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::{SFlag, fstat};
use sys::mount::{clone_tree, move_mount};

use crate::init::{Result, Root, Step};
use crate::plan::{MountPlan, RootfsPlan, Source};

/// What is mounted, and where.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub rootfs: &'a RootfsPlan,
    /// An empty directory.
    pub root: CString,
}

impl Stage<'_> {
    /// In the child, which has a mount namespace of its own.
    pub fn set(&self) -> Result<()> {
        let none = None::<&str>;
        nix::mount::mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)
            .step(|| "set the propagation of /")?;
        let tree = clone_tree(AT_FDCWD, self.rootfs.tree.path(), true)
            .step(|| format!("bind rootfs {}", self.rootfs.path.display()))?;
        move_mount(tree.as_fd(), AT_FDCWD, &self.root)
            .step(|| format!("mount rootfs at {}", self.root.to_string_lossy()))?;
        let root = Root(tree.as_fd());
        let mut binds = Vec::new();
        for mount in self.rootfs.mounts.iter().filter(|mount| !self.is_saved(mount)) {
            binds.extend(
                self.make_point(root, mount)
                    .step(|| format!("make the mount point of {}", mount.name))?,
            );
        }
        // They were needed for the mount points inside them.
        for bind in binds.iter().rev() {
            let path = format!("/proc/self/fd/{}", bind.as_raw_fd());
            umount2(Path::new(&path), MntFlags::MNT_DETACH).step(|| "unmount a bind")?;
        }
        Ok(())
    }

    /// criu brings back what is in a tmpfs, and a kernel's file system has its directories by itself.
    fn is_saved(&self, mount: &MountPlan) -> bool {
        let covers = |other: &MountPlan| match &other.source {
            Source::New(_) => Path::new(&mount.destination)
                .strip_prefix(&other.destination)
                .is_ok_and(|rest| !rest.as_os_str().is_empty()),
            _ => false,
        };
        matches!(mount.source, Source::Cgroup(_) | Source::Remount { .. })
            || self.rootfs.mounts.iter().any(covers)
    }

    fn make_point(
        &self,
        root: Root<'_>,
        mount: &MountPlan,
    ) -> std::result::Result<Option<OwnedFd>, Errno> {
        let Source::Tree(source) = &mount.source else {
            return root.directory(&mount.destination).map(|_| None);
        };
        let tree = clone_tree(AT_FDCWD, source.path(), true)?;
        let kind = SFlag::from_bits_truncate(fstat(&tree)?.st_mode) & SFlag::S_IFMT;
        let target = match kind {
            SFlag::S_IFDIR => root.directory(&mount.destination)?,
            _ => root.file(&mount.destination)?,
        };
        move_mount(tree.as_fd(), target.as_fd(), c"")?;
        Ok(Some(tree))
    }
}
