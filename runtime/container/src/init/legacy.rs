//! mount(2), for what fsconfig(2) can't take: options longer than 255 bytes, such as the layers of an
//! overlay.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use sys::mount::{SetAttr, attr, mount_setattr};

use super::root::Root;
use super::{Result, Step};
use crate::plan::{MountPlan, Source};

/// Mounts a new file system at `target`, a directory, and answers with the mount.
pub(crate) fn attach(root: Root<'_>, plan: &MountPlan, target: &OwnedFd) -> Result<OwnedFd> {
    let name = &plan.name;
    let Source::New { fstype, source, flags, data } = &plan.source else {
        return Err(super::failure(format!("{name}: not a file system of its own")));
    };
    let mut bits = MsFlags::empty();
    for flag in flags {
        bits |= match flag.to_bytes() {
            b"ro" => MsFlags::MS_RDONLY,
            b"sync" => MsFlags::MS_SYNCHRONOUS,
            b"dirsync" => MsFlags::MS_DIRSYNC,
            b"mand" => MsFlags::MS_MANDLOCK,
            b"lazytime" => MsFlags::MS_LAZYTIME,
            _ => MsFlags::empty(),
        };
    }
    let words = data.iter().map(|(key, value)| match value {
        Some(value) => [key.to_bytes(), b"=", value.to_bytes()].concat(),
        None => key.to_bytes().to_vec(),
    });
    let joined = words.collect::<Vec<_>>().join(&b","[..]);
    let data = CString::new(joined).map_err(|_| super::failure(format!("{name}: NUL byte")))?;
    // A path of one's own for what is known by a handle only: the current directory.
    nix::unistd::fchdir(target).step(|| format!("{name}: change directory to the mount point"))?;
    nix::mount::mount(
        Some(source.as_c_str()),
        ".",
        Some(fstype.as_c_str()),
        bits,
        Some(data.as_c_str()),
    )
    .step(|| name.clone())?;
    let mount = root
        .open(&plan.destination, OFlag::O_PATH | OFlag::O_DIRECTORY)
        .step(|| format!("{name}: open"))?;
    // The access time mode is one value of several bits.
    let change = SetAttr { set: plan.attributes, clear: attr::ATIME, ..SetAttr::default() };
    mount_setattr(mount.as_fd(), change).step(|| format!("{name}: set its options"))?;
    Ok(mount)
}
