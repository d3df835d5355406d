//! Carrying out one entry of `mounts`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag};
use sys::mount::{mount_setattr, move_mount};

use super::copy_up::copy_up;
use super::filesystem::{self, Parameter};
use super::procfs::is_procfs;
use super::remount::{self, Mounted};
use super::root::{Root, kind};
use super::{Result, Step, cgroup_mount, failure, legacy};
use crate::host_tree::HostTree;
use crate::plan::{Filesystem, MountPlan, Source, may_cover};

/// Mounts it and answers with the mount.
pub(super) fn attach(root: Root<'_>, plan: &MountPlan, mounted: &Mounted<'_>) -> Result<OwnedFd> {
    let name = &plan.name;
    let (target, existed) = target(root, plan, mounted)
        .step(|| format!("{}: make the mount point", name.field("destination")))?;
    check_target(root, plan, &target)?;
    let mount = match &plan.source {
        Source::Tree(tree) => bind(plan, tree, &target)?,
        Source::New(new) => {
            let mode = mode_of_covered(new, existed, &target)?;
            if new.needs_old_mount() {
                legacy::attach(root, plan, new, mode.as_ref(), target.as_fd())?
            } else {
                let mount = filesystem::make(name, new, mode.as_ref(), plan.attributes)?;
                if plan.copy_up {
                    copy_up(target.as_fd(), mount.as_fd()).step(|| format!("{name}: copy up"))?;
                }
                move_mount(mount.as_fd(), target.as_fd(), c"")
                    .step(|| format!("{name}: attach"))?;
                mount
            }
        }
        Source::Cgroup(cgroups) => {
            cgroup_mount::attach(name, cgroups, target.as_fd(), plan.attributes)?
        }
        Source::Remount { change, superblock } => {
            remount::apply(name, target.as_fd(), *change, superblock.as_ref(), mounted)?;
            target
        }
    };
    for change in &plan.changes {
        mount_setattr(mount.as_fd(), *change)
            .step(|| format!("{}: set propagation or recursive options", name.field("options")))?;
    }
    Ok(mount)
}

fn bind(plan: &MountPlan, tree: &HostTree, target: &OwnedFd) -> Result<OwnedFd> {
    let name = &plan.name;
    let copy = tree.copy().step(|| name.to_string())?;
    if plan.destination == "proc" && !is_procfs(copy).step(|| name.to_string())? {
        return Err(failure(format!(
            "{}: only a procfs can cover /proc",
            name.field("destination")
        )));
    }
    move_mount(copy, target.as_fd(), c"").step(|| name.to_string())?;
    copy.try_clone_to_owned().step(|| name.to_string())
}

/// The mount point, and whether it was there before. procfs and sysfs are what the kernel's
/// interfaces are found by, so their mount points may not be links.
fn target(
    root: Root<'_>,
    plan: &MountPlan,
    mounted: &Mounted<'_>,
) -> std::result::Result<(OwnedFd, bool), Errno> {
    match &plan.source {
        Source::Tree(tree) if kind(tree.copy()?)? != SFlag::S_IFDIR => {
            Ok((root.file(&plan.destination)?, true))
        }
        Source::Remount { .. } => Ok((mounted.at(root, &plan.destination)?, true)),
        Source::New(new) if [c"proc", c"sysfs"].contains(&new.fstype.as_c_str()) => {
            let (parent, name) = root.parent(&plan.destination)?;
            match nix::sys::stat::mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            Ok((nix::fcntl::openat(&parent, name, flags, Mode::empty())?, true))
        }
        _ => match root.open(&plan.destination, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => Ok((root.make_directory(&plan.destination)?, false)),
            result => result.map(|fd| (fd, true)),
        },
    }
}

/// A link of the image may lead to the root, which other processes than init would find covered, or
/// into /proc, where only what lxcfs makes may be covered.
fn check_target(root: Root<'_>, plan: &MountPlan, target: &OwnedFd) -> Result<()> {
    if plan.destination.is_empty() {
        // Meant, not led to.
        return Ok(());
    }
    let inode =
        |fd: BorrowedFd<'_>| nix::sys::stat::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    if inode(root.0)
        .and_then(|of_root| Ok(of_root == inode(target.as_fd())?))
        .step(|| format!("{}: stat", plan.name))?
    {
        return Err(failure(format!(
            "{}: it leads to the root, which can't be mounted over",
            plan.name.field("destination")
        )));
    }
    let inside = plan.destination.strip_prefix("proc");
    let allowed = inside
        .is_some_and(|inside| inside.is_empty() || inside.strip_prefix('/').is_some_and(may_cover));
    if !allowed && is_procfs(target.as_fd()).step(|| format!("{}: statfs", plan.name))? {
        return Err(failure(format!(
            "{}: it leads into /proc, which can't be mounted over",
            plan.name.field("destination")
        )));
    }
    Ok(())
}

/// A tmpfs without a mode of its own takes over that of the directory it covers, as in runc.
fn mode_of_covered(new: &Filesystem, existed: bool, target: &OwnedFd) -> Result<Option<Parameter>> {
    let given = new.data.iter().any(|(key, _)| key.as_c_str() == c"mode");
    if new.fstype.as_c_str() != c"tmpfs" || given || !existed {
        return Ok(None);
    }
    let mode = nix::sys::stat::fstat(target).step(|| "stat a mount point")?.st_mode & 0o7777;
    Ok(CString::new(format!("{mode:o}")).ok().map(|mode| (c"mode".to_owned(), Some(mode))))
}
