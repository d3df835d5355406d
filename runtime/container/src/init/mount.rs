//! Carrying out one entry of `mounts`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use sys::mount::{
    SetAttr, attr, fsconfig_create, fsconfig_flag, fsconfig_string, fsmount, fsopen, mount_setattr,
    move_mount,
};

use super::copy_up::copy_up;
use super::legacy;
use super::root::{Root, kind};
use super::{Result, Step, failure};
use crate::error::InitFailure;
use crate::host_tree::HostTree;
use crate::plan::{CgroupMount, MountPlan, Source, V1Mount, may_cover};

/// Options of a cgroup mount, when the configuration names none.
const CGROUP: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// Mounts it and answers with the mount.
pub(crate) fn attach(root: Root<'_>, plan: &MountPlan) -> Result<OwnedFd> {
    let name = &plan.name;
    if plan.destination.is_empty() {
        return Err(failure(format!("{name}: the root itself can't be mounted over")));
    }
    let (target, existed) = target(root, plan).step(|| format!("{name}: make the mount point"))?;
    check_target(plan, &target)?;
    let mount = match &plan.source {
        Source::Tree(tree) => {
            let copy = tree.copy().step(|| name.clone())?;
            if plan.destination == "proc" && !is_procfs(copy).step(|| name.clone())? {
                return Err(failure(format!("{name}: only a procfs can cover /proc")));
            }
            move_mount(copy, target.as_fd(), c"").step(|| name.clone())?;
            copy.try_clone_to_owned().step(|| name.clone())?
        }
        Source::New { fstype, source, flags, data } => {
            if data.iter().any(|(_, value)| value.as_ref().is_some_and(|v| v.count_bytes() > 255)) {
                return legacy::attach(root, plan, &target);
            }
            let mode = mode_of_covered(fstype, data, existed, &target)?;
            let data = mode.iter().chain(data);
            let result = filesystem(fstype, source, flags, data, plan.attributes);
            let mount = match result {
                Err(InitFailure { errno: Some(Errno::EPERM), .. })
                    if fstype.as_c_str() == c"sysfs" =>
                {
                    // A network namespace that is not ours: the host's sysfs has to do.
                    host_sysfs(plan.attributes)
                }
                result => result,
            }
            .map_err(|error| InitFailure { step: format!("{name}{}", error.step), ..error })?;
            if plan.copy_up {
                copy_up(target.as_fd(), mount.as_fd()).step(|| format!("{name}: copy up"))?;
            }
            move_mount(mount.as_fd(), target.as_fd(), c"").step(|| format!("{name}: attach"))?;
            mount
        }
        Source::Cgroup(cgroups) => cgroup(cgroups, target.as_fd(), plan.attributes)
            .map_err(|error| InitFailure { step: format!("{name}{}", error.step), ..error })?,
    };
    for change in &plan.propagation {
        mount_setattr(mount.as_fd(), *change).step(|| format!("{name}: set propagation"))?;
    }
    Ok(mount)
}

/// The mount point, and whether it was there before. procfs and sysfs are what the kernel's
/// interfaces are found by, so their mount points may not be links.
fn target(root: Root<'_>, plan: &MountPlan) -> std::result::Result<(OwnedFd, bool), Errno> {
    match &plan.source {
        Source::Tree(tree) if kind(tree.copy()?)? != SFlag::S_IFDIR => {
            Ok((root.file(&plan.destination)?, true))
        }
        Source::New { fstype, .. } if [c"proc", c"sysfs"].contains(&fstype.as_c_str()) => {
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

/// A link of the image may lead into /proc, where only what lxcfs makes may be covered.
fn check_target(plan: &MountPlan, target: &OwnedFd) -> Result<()> {
    let inside = plan.destination.strip_prefix("proc");
    let allowed = inside
        .is_some_and(|inside| inside.is_empty() || inside.strip_prefix('/').is_some_and(may_cover));
    if !allowed && is_procfs(target.as_fd()).step(|| format!("{}: statfs", plan.name))? {
        return Err(failure(format!(
            "{}: it leads into /proc, which can't be mounted over",
            plan.name
        )));
    }
    Ok(())
}

fn is_procfs(fd: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    Ok(fstatfs(fd)?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// A tmpfs without a mode of its own takes over that of the directory it covers, as in runc.
fn mode_of_covered(
    fstype: &CStr,
    data: &[(CString, Option<CString>)],
    existed: bool,
    target: &OwnedFd,
) -> Result<Option<(CString, Option<CString>)>> {
    let given = data.iter().any(|(key, _)| key.as_c_str() == c"mode");
    if fstype != c"tmpfs" || given || !existed {
        return Ok(None);
    }
    let mode = nix::sys::stat::fstat(target).step(|| "stat a mount point")?.st_mode & 0o7777;
    Ok(CString::new(format!("{mode:o}")).ok().map(|mode| (c"mode".to_owned(), Some(mode))))
}

/// A detached mount of a new file system. Steps of failures begin with a colon or a space.
fn filesystem<'a>(
    fstype: &CStr,
    source: &CStr,
    flags: &[CString],
    data: impl IntoIterator<Item = &'a (CString, Option<CString>)>,
    attributes: u64,
) -> Result<OwnedFd> {
    let context = fsopen(fstype).step(|| ": fsopen")?;
    let context = context.as_fd();
    fsconfig_string(context, c"source", source).step(|| told(context, ": set source"))?;
    for flag in flags {
        fsconfig_flag(context, flag).step(|| told(context, &format!(": option {flag:?}")))?;
    }
    for (key, value) in data {
        let result = match value {
            Some(value) => fsconfig_string(context, key, value),
            None => fsconfig_flag(context, key),
        };
        result.step(|| {
            let value =
                value.as_ref().map_or(String::new(), |v| format!("={}", v.to_string_lossy()));
            told(context, &format!(": option {}{value}", key.to_string_lossy()))
        })?;
    }
    fsconfig_create(context).step(|| told(context, ""))?;
    fsmount(context, attributes).step(|| told(context, ": fsmount"))
}

/// `step` with what the kernel has to say about it.
fn told(context: BorrowedFd<'_>, step: &str) -> String {
    let mut text = step.to_owned();
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = nix::unistd::read(context, &mut buffer) {
        // "e tmpfs: Unknown parameter 'x'"
        let message = String::from_utf8_lossy(&buffer[..len]);
        let message = message.trim().trim_start_matches("e ").to_owned();
        text.push_str(&format!(" ({message})"));
    }
    text
}

fn host_sysfs(attributes: u64) -> Result<OwnedFd> {
    let tree = sys::mount::clone_tree(nix::fcntl::AT_FDCWD, c"/sys", true)
        .step(|| ": bind the host's sysfs")?;
    let change = SetAttr { set: attributes, recursive: true, ..SetAttr::default() };
    mount_setattr(tree.as_fd(), change).step(|| ": set the options of the host's sysfs")?;
    Ok(tree)
}

fn cgroup(cgroups: &CgroupMount, target: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
    match cgroups {
        CgroupMount::V2 { host } => {
            let mount = match host {
                Some(tree) => own(tree, attributes)?,
                None => filesystem(c"cgroup2", c"cgroup", &[], &[], attributes)?,
            };
            move_mount(mount.as_fd(), target, c"").step(|| ": attach")?;
            Ok(mount)
        }
        CgroupMount::V1 { hierarchies, links } => {
            let data = [(c"mode".to_owned(), Some(c"755".to_owned()))];
            let tmpfs =
                filesystem(c"tmpfs", c"tmpfs", &[], &data, attributes & !attr::RDONLY | CGROUP)?;
            move_mount(tmpfs.as_fd(), target, c"").step(|| ": attach")?;
            for hierarchy in hierarchies {
                v1(hierarchy, Root(tmpfs.as_fd()), attributes)?;
            }
            for (link, directory) in links {
                nix::unistd::symlinkat(directory.as_str(), &tmpfs, link.as_str())
                    .step(|| format!(": link {link}"))?;
            }
            if attributes & attr::RDONLY != 0 {
                let readonly = SetAttr { set: attr::RDONLY, ..SetAttr::default() };
                mount_setattr(tmpfs.as_fd(), readonly).step(|| ": make read-only")?;
            }
            Ok(tmpfs)
        }
    }
}

fn v1(hierarchy: &V1Mount, base: Root<'_>, attributes: u64) -> Result<()> {
    let directory = &hierarchy.directory;
    let target = base.make_directory(directory).step(|| format!(": make directory {directory}"))?;
    let mount = match &hierarchy.own {
        Some(tree) => own(tree, attributes)?,
        None => {
            // A named hierarchy has no controller: "none" says so.
            let data: Vec<_> = hierarchy
                .options
                .iter()
                .flat_map(|word| match word.to_bytes().strip_prefix(b"name=") {
                    Some(name) => vec![
                        (c"none".to_owned(), None),
                        (c"name".to_owned(), CString::new(name).ok()),
                    ],
                    None => vec![(word.clone(), None)],
                })
                .collect();
            filesystem(c"cgroup", c"cgroup", &[], &data, attributes | CGROUP).map_err(|error| {
                InitFailure { step: format!(" {directory}{}", error.step), ..error }
            })?
        }
    };
    move_mount(mount.as_fd(), target.as_fd(), c"").step(|| format!(": attach {directory}"))
}

fn own(tree: &HostTree, attributes: u64) -> Result<OwnedFd> {
    let step = || ": set the options of the cgroup";
    let copy = tree.copy().step(step)?;
    mount_setattr(copy, SetAttr { set: attributes | CGROUP, ..SetAttr::default() }).step(step)?;
    copy.try_clone_to_owned().step(|| ": duplicate a descriptor")
}
