//! Making and changing file systems by file system contexts, with the kernel's own words when one is
//! refused.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use sys::mount::{
    SetAttr, attr, fsconfig_create, fsconfig_flag, fsconfig_reconfigure, fsconfig_string, fsmount,
    fsopen, fspick, mount_setattr,
};

use super::{Result, Step, failure};
use crate::error::InitFailure;
use crate::plan::{Filesystem, Name};

/// A key of fsconfig(2) with its value; a flag has none.
pub(super) type Parameter = (CString, Option<CString>);

/// A detached mount of a new file system; `more` parameters come before its own.
pub(super) fn make(
    name: &Name,
    filesystem: &Filesystem,
    more: Option<&Parameter>,
    attributes: u64,
) -> Result<OwnedFd> {
    let fstype = filesystem.fstype.as_c_str();
    let result = context(name, fstype, &filesystem.source).and_then(|context| {
        configure(name, context.as_fd(), filesystem, more)?;
        finish(name, context.as_fd(), attributes)
    });
    match result {
        Err(InitFailure { errno: Some(Errno::EPERM), .. }) if fstype == c"sysfs" => {
            // A network namespace that is not ours: the host's sysfs has to do.
            host_sysfs(name, filesystem, attributes)
        }
        Ok(mount) if fstype == c"mqueue" => {
            if let Some(label) = &filesystem.label {
                set_label(name, mount.as_fd(), label)?;
            }
            Ok(mount)
        }
        result => result,
    }
}

/// A file system of type `fstype` with no more than these parameters.
pub(super) fn plain<'a>(
    name: &Name,
    fstype: &CStr,
    parameters: impl IntoIterator<Item = &'a Parameter>,
    label: Option<&CString>,
    attributes: u64,
) -> Result<OwnedFd> {
    let context = context(name, fstype, fstype)?;
    let context = context.as_fd();
    for parameter in parameters {
        set(name, context, parameter)?;
    }
    set_context(name, context, label)?;
    finish(name, context, attributes)
}

/// The context of the file system whose root `mount` shows.
pub(super) fn pick(name: &Name, mount: BorrowedFd<'_>) -> Result<OwnedFd> {
    fspick(mount).step(|| format!("{}: no mount to remount is there", name.field("destination")))
}

/// Changes the options of a file system that was picked.
pub(super) fn reconfigure(
    name: &Name,
    context: BorrowedFd<'_>,
    filesystem: &Filesystem,
) -> Result<()> {
    configure(name, context, filesystem, None)?;
    fsconfig_reconfigure(context)
        .step(|| told(context, format!("{}: remount", name.field("options"))))
}

fn context(name: &Name, fstype: &CStr, source: &CStr) -> Result<OwnedFd> {
    let context = fsopen(fstype)
        .step(|| format!("{}: fsopen {:?}", name.field("type"), fstype.to_string_lossy()))?;
    fsconfig_string(context.as_fd(), c"source", source).step(|| {
        let step = format!("{}: {:?}", name.field("source"), source.to_string_lossy());
        told(context.as_fd(), step)
    })?;
    Ok(context)
}

fn configure(
    name: &Name,
    context: BorrowedFd<'_>,
    filesystem: &Filesystem,
    more: Option<&Parameter>,
) -> Result<()> {
    for flag in &filesystem.flags {
        fsconfig_flag(context, flag).step(|| {
            let step = format!("{}: {}", name.field("options"), flag.to_string_lossy());
            told(context, step)
        })?;
    }
    for parameter in more.into_iter().chain(&filesystem.data) {
        set(name, context, parameter)?;
    }
    // Older kernels refuse it here: the queues are labelled once they are there.
    let labelled = filesystem.fstype.as_c_str() != c"mqueue";
    set_context(name, context, filesystem.label.as_ref().filter(|_| labelled))
}

fn set(name: &Name, context: BorrowedFd<'_>, (key, value): &Parameter) -> Result<()> {
    let result = match value {
        Some(value) => fsconfig_string(context, key, value),
        None => fsconfig_flag(context, key),
    };
    result.step(|| {
        let value = value.as_ref().map_or(String::new(), |v| format!("={}", v.to_string_lossy()));
        let step = format!("{}: {}{value}", name.field("options"), key.to_string_lossy());
        told(context, step)
    })
}

fn set_context(name: &Name, context: BorrowedFd<'_>, label: Option<&CString>) -> Result<()> {
    let Some(label) = label else { return Ok(()) };
    fsconfig_string(context, c"context", label).step(|| {
        told(context, format!("linux.mountLabel: {:?} for {name}", label.to_string_lossy()))
    })
}

fn finish(name: &Name, context: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
    fsconfig_create(context).step(|| told(context, name.to_string()))?;
    fsmount(context, attributes).step(|| told(context, format!("{name}: fsmount")))
}

/// `step` with what the kernel has to say about it.
pub(super) fn told(context: BorrowedFd<'_>, step: String) -> String {
    let mut text = step;
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = nix::unistd::read(context, &mut buffer) {
        // "e tmpfs: Unknown parameter 'x'"
        let message = String::from_utf8_lossy(&buffer[..len]);
        let message = message.trim().trim_start_matches("e ").to_owned();
        text.push_str(&format!(" ({message})"));
    }
    text
}

fn host_sysfs(name: &Name, asked: &Filesystem, attributes: u64) -> Result<OwnedFd> {
    if let Some(words) = asked.words_of_its_own() {
        return Err(failure(format!(
            "{}: {words:?} is for a new sysfs: of a network namespace that the user namespace does \
             not own, it is a bind of the host's",
            name.field("options")
        )));
    }
    let tree = sys::mount::clone_tree(nix::fcntl::AT_FDCWD, c"/sys", true)
        .step(|| format!("{name}: bind the host's sysfs"))?;
    // The access time mode is one value of several bits.
    let clear = if attributes & attr::ATIME == 0 { 0 } else { attr::ATIME };
    let change = SetAttr { set: attributes, clear, recursive: true, ..SetAttr::default() };
    mount_setattr(tree.as_fd(), change)
        .step(|| format!("{}: set those of the host's sysfs", name.field("options")))?;
    Ok(tree)
}

/// Gives the root of a mount its SELinux label. Where there is none of that, there is none to give.
fn set_label(name: &Name, mount: BorrowedFd<'_>, label: &CStr) -> Result<()> {
    let step = || format!("linux.mountLabel: {:?} for {name}", label.to_string_lossy());
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = nix::fcntl::openat(mount, ".", flags, Mode::empty()).step(step)?;
    match sys::file::set_attribute(root.as_fd(), c"security.selinux", label) {
        Err(Errno::EOPNOTSUPP) => Ok(()),
        result => result.step(step),
    }
}
