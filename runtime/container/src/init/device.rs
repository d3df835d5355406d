//! Device nodes and the usual links in the container's /dev.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, makedev, mknodat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};
use sys::mount::{clone_tree, move_mount};

use super::root::Root;
use super::{Result, Step, failure, procfs};
use crate::plan::DevicePlan;

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the nodes, then the links.
pub(crate) fn make_all(root: Root<'_>, devices: &[DevicePlan]) -> Result<()> {
    // Nearly all of them are in /dev: its handle is kept.
    let dev = root.directory("dev").step(|| "make /dev")?;
    procfs::keep_out(&dev, || "make /dev".to_owned())?;
    for device in devices {
        let step = || device.step();
        match device.path.strip_prefix("dev/").filter(|name| !name.contains('/')) {
            Some(name) => make(root, &dev, name, device)?,
            None => {
                let (parent, name) = root.parent(&device.path).step(step)?;
                make(root, &parent, name, device)?;
            }
        }
    }
    for (name, target) in LINKS {
        link(&dev, name, target)?;
    }
    if root.open("proc/kcore", nix::fcntl::OFlag::O_PATH).is_ok() {
        link(&dev, "core", "/proc/kcore")?;
    }
    // The image's own would be the host's instance.
    match symlinkat("pts/ptmx", &dev, "ptmx") {
        Err(Errno::EEXIST) => {
            unlinkat(&dev, "ptmx", UnlinkatFlags::NoRemoveDir).step(|| "remove /dev/ptmx")?;
            symlinkat("pts/ptmx", &dev, "ptmx")
        }
        result => result,
    }
    .step(|| "link /dev/ptmx")
}

fn link(dev: &OwnedFd, name: &str, target: &str) -> Result<()> {
    match symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).step(|| format!("link /dev/{name}")),
    }
}

fn make(root: Root<'_>, dir: &OwnedFd, name: &str, device: &DevicePlan) -> Result<()> {
    let step = || device.step();
    if let Some(host) = &device.bind {
        return bind(root, device, host.copy().step(step)?);
    }
    let number = makedev(device.major, device.minor);
    match mknodat(dir, name, device.kind, Mode::from_bits_truncate(device.mode), number) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return check(dir, name, device),
        // Root of a user namespace that the container shares.
        Err(Errno::EPERM) => return bind_by_path(root, device),
        Err(errno) => return Err(errno).step(step),
    }
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).step(step)?;
    }
    Ok(())
}

/// In the place of a node that can't be made: the host's of the same path, which the caller may have
/// put there under any name, but not with other numbers.
fn bind(root: Root<'_>, device: &DevicePlan, host: BorrowedFd<'_>) -> Result<()> {
    let step = || device.step();
    if !is_same(&fstat(host).step(step)?, device) {
        return Err(failure(format!("{}: the host's is another device", step())));
    }
    let target = root.file(&device.path).step(step)?;
    procfs::keep_out(&target, step)?;
    move_mount(host, target.as_fd(), c"").step(step)
}

fn bind_by_path(root: Root<'_>, device: &DevicePlan) -> Result<()> {
    let step = || device.step();
    // The host's root is this process's still.
    let path = CString::new(format!("/{}", device.path)).map_err(|_| failure(step()))?;
    let host = clone_tree(AT_FDCWD, &path, false)
        .step(|| format!("{}: mknod is not permitted; bind the host's", step()))?;
    bind(root, device, host.as_fd())
}

/// The image may bring the node along, but not something else under its name.
fn check(dir: &OwnedFd, name: &str, device: &DevicePlan) -> Result<()> {
    let step = || device.step();
    let there = fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW).step(step)?;
    if is_same(&there, device) {
        return Ok(());
    }
    Err(failure(format!("{}: another file is there already", step())))
}

fn is_same(there: &FileStat, device: &DevicePlan) -> bool {
    let kind = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT;
    kind == device.kind
        && (kind == SFlag::S_IFIFO || there.st_rdev == makedev(device.major, device.minor))
}
