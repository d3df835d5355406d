//! A copy of the rootfs that takes all changes and is nobody's: an overlay in a mount namespace of
//! our own, on the path of the rootfs.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use sys::mount::{fsconfig_create, fsconfig_string, fsmount, fsopen, move_mount};

use crate::plan::flag;

/// Covers the directory, for this process and its children alone. The error comes with what was done.
pub(super) fn cover(rootfs: &Path) -> Result<(), (&'static str, Errno)> {
    let own = sys::process::unshare(flag::MOUNT);
    own.map_err(|errno| ("make a mount namespace", errno))?;
    let none: Option<&str> = None;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, flags, none).map_err(|errno| ("make the mounts private", errno))?;
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let lower = open(rootfs, directory, Mode::empty());
    let lower = lower.map_err(|errno| ("open the rootfs", errno))?;
    // An overlay takes its parts only from mounts that are in a mount namespace.
    new_mount(c"tmpfs", &[], rootfs).map_err(|errno| ("mount a tmpfs", errno))?;
    let parts = ["upper", "work"].map(|name| rootfs.join(name));
    for part in &parts {
        let made = fs::create_dir(part);
        made.map_err(|error| {
            ("make a directory", Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        })?;
    }
    let [upper, work] = parts;
    let lower = format!("/proc/self/fd/{}", lower.as_raw_fd());
    let options = [
        (c"lowerdir", lower.as_str().as_ref()),
        (c"upperdir", upper.as_path()),
        (c"workdir", work.as_path()),
    ];
    new_mount(c"overlay", &options, rootfs).map_err(|errno| ("mount an overlay", errno))
}

fn new_mount(
    fstype: &std::ffi::CStr,
    options: &[(&std::ffi::CStr, &Path)],
    target: &Path,
) -> Result<(), Errno> {
    use std::os::unix::ffi::OsStrExt;
    let string = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
    let context = fsopen(fstype)?;
    for (key, value) in options {
        fsconfig_string(context.as_fd(), key, &string(value)?)?;
    }
    fsconfig_create(context.as_fd())?;
    let new = fsmount(context.as_fd(), 0)?;
    move_mount(new.as_fd(), AT_FDCWD, &string(target)?)
}
