//! Mounts of type `cgroup`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use sys::mount::{SetAttr, attr, clone_tree, mount_setattr, move_mount};

use super::filesystem::{self, Parameter};
use super::root::Root;
use super::{Result, Step};
use crate::error::InitFailure;
use crate::host_tree::HostTree;
use crate::plan::{CgroupMount, Name, V1Mount};

/// Options of a cgroup mount, when the configuration names none.
const CGROUP: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// Attaches it to `target` and answers with the mount.
pub(super) fn attach(
    name: &Name,
    cgroups: &CgroupMount,
    target: BorrowedFd<'_>,
    attributes: u64,
) -> Result<OwnedFd> {
    match cgroups {
        CgroupMount::V2 { filesystem, own } => {
            let mount = match filesystem::make(name, filesystem, None, attributes) {
                // A cgroup namespace of another user namespace than ours.
                Err(InitFailure { errno: Some(Errno::EPERM | Errno::EBUSY), .. }) => {
                    let step = || format!("{name}: bind {}", own.to_string_lossy());
                    let tree = clone_tree(AT_FDCWD, own, false).step(step)?;
                    limit(name, tree.as_fd(), attributes)?;
                    tree
                }
                mount => mount?,
            };
            move_mount(mount.as_fd(), target, c"").step(|| format!("{name}: attach"))?;
            Ok(mount)
        }
        CgroupMount::V2Host(tree) => {
            let mount = own(name, tree, attributes)?;
            move_mount(mount.as_fd(), target, c"").step(|| format!("{name}: attach"))?;
            Ok(mount)
        }
        CgroupMount::V1 { hierarchies, links, label } => {
            let mode = (c"mode".to_owned(), Some(c"755".to_owned()));
            let writable = attributes & !attr::RDONLY | CGROUP;
            let tmpfs = filesystem::plain(name, c"tmpfs", [&mode], label.as_ref(), writable)?;
            move_mount(tmpfs.as_fd(), target, c"").step(|| format!("{name}: attach"))?;
            for hierarchy in hierarchies {
                v1(name, hierarchy, Root(tmpfs.as_fd()), attributes)?;
            }
            for (link, directory) in links {
                nix::unistd::symlinkat(directory.as_str(), &tmpfs, link.as_str())
                    .step(|| format!("{name}: link {link}"))?;
            }
            if attributes & attr::RDONLY != 0 {
                let readonly = SetAttr { set: attr::RDONLY, ..SetAttr::default() };
                mount_setattr(tmpfs.as_fd(), readonly)
                    .step(|| format!("{name}: make read-only"))?;
            }
            Ok(tmpfs)
        }
    }
}

fn v1(name: &Name, hierarchy: &V1Mount, base: Root<'_>, attributes: u64) -> Result<()> {
    let directory = &hierarchy.directory;
    let target =
        base.make_directory(directory).step(|| format!("{name}: make directory {directory}"))?;
    let mount = match &hierarchy.own {
        Some(tree) => own(name, tree, attributes)?,
        None => {
            let parameters: Vec<_> = hierarchy.options.iter().flat_map(parameters).collect();
            filesystem::plain(name, c"cgroup", &parameters, None, attributes | CGROUP)?
        }
    };
    move_mount(mount.as_fd(), target.as_fd(), c"").step(|| format!("{name}: attach {directory}"))
}

/// A named hierarchy has no controller: "none" says so.
fn parameters(word: &CString) -> Vec<Parameter> {
    match word.to_bytes().strip_prefix(b"name=") {
        Some(name) => {
            vec![(c"none".to_owned(), None), (c"name".to_owned(), CString::new(name).ok())]
        }
        None => vec![(word.clone(), None)],
    }
}

fn own(name: &Name, tree: &HostTree, attributes: u64) -> Result<OwnedFd> {
    let step = || format!("{name}: use a copy of the host's");
    let copy = tree.copy().step(step)?;
    limit(name, copy, attributes)?;
    copy.try_clone_to_owned().step(step)
}

/// What is the host's gets these options, and those that keep it safe.
fn limit(name: &Name, mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    // Control groups keep no access times, and the kernel may have locked how the host has them.
    let change = SetAttr { set: attributes & !attr::ATIME | CGROUP, ..SetAttr::default() };
    mount_setattr(mount, change).step(|| format!("{name}: set the options of the cgroup"))
}
