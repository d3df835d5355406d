//! The `remount` option: what is mounted at the destination gets other options.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::root::Root;
use super::{Result, Step, failure, filesystem};
use crate::attributes::Change;
use crate::plan::{Filesystem, MountPlan, Name, Source};

/// What has been mounted so far. By the time of a remount, a path may lead to another mount: somebody
/// else may write to the volume that it goes through.
#[derive(Debug, Default)]
pub(super) struct Mounted<'a> {
    /// Nothing is kept where nothing is remounted.
    kept: bool,
    list: RefCell<Vec<(&'a MountPlan, OwnedFd)>>,
}

impl<'a> Mounted<'a> {
    /// Of a container with these mounts.
    pub fn new(mounts: &[MountPlan]) -> Mounted<'a> {
        let is_remount = |plan: &MountPlan| matches!(plan.source, Source::Remount { .. });
        Mounted { kept: mounts.iter().any(is_remount), list: RefCell::default() }
    }

    /// Keeps a mount, as long as the container's file system is being made.
    pub fn keep(&self, plan: &'a MountPlan, mount: BorrowedFd<'_>) -> Result<()> {
        if self.kept && !matches!(plan.source, Source::Remount { .. }) {
            let mount = mount.try_clone_to_owned().step(|| plan.name.to_string())?;
            self.list.borrow_mut().push((plan, mount));
        }
        Ok(())
    }

    /// The last mount with that destination; what is there by some other name, as part of a bound tree
    /// may be, has to be looked up.
    pub fn at(&self, root: Root<'_>, destination: &str) -> std::result::Result<OwnedFd, Errno> {
        let list = self.list.borrow();
        match list.iter().rev().find(|(plan, _)| plan.destination == destination) {
            Some((_, mount)) => mount.try_clone().map_err(|_| Errno::EMFILE),
            None => root.open(destination, OFlag::O_PATH),
        }
    }

    /// Whether the file system of `mount` is one that was made for the container, not the host's.
    fn made(&self, mount: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
        let wanted = sys::file::mount_id(mount)?;
        for (plan, mount) in self.list.borrow().iter() {
            let new = matches!(plan.source, Source::New(_));
            if new && sys::file::mount_id(mount.as_fd())? == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Changes the file system first, then the mount, which must be the one at `target`.
pub(super) fn apply(
    name: &Name,
    target: BorrowedFd<'_>,
    change: Change,
    superblock: Option<&Filesystem>,
    mounted: &Mounted<'_>,
) -> Result<()> {
    if let Some(options) = superblock {
        let picked = filesystem::pick(name, target)?;
        if !mounted.made(target).step(|| format!("{name}: statx"))? {
            return Err(failure(format!(
                "{}: the file system there was not made for this container; with \"bind\", the mount \
                 alone is changed",
                name.field("options")
            )));
        }
        filesystem::reconfigure(name, picked.as_fd(), options)?;
    }
    change.apply(target).map_err(|errno| match errno {
        Errno::EINVAL => {
            (format!("{}: no mount to remount is there", name.field("destination")), errno).into()
        }
        errno => (format!("{}: remount", name.field("options")), errno).into(),
    })
}
