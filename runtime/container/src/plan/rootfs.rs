//! The container's file system: its root, what is mounted and made in it, what is hidden at the end.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use oci_spec::runtime::Linux;
use sys::mount::SetAttr;

use super::mount_options::propagation;
use super::{
    CgroupMount, DevicePlan, Input, MountPlan, Namespaces, Source, device, flag, mount, relative,
};
use crate::error::Error;
use crate::host_tree::HostTree;
use crate::report::{Report, each};

/// The container's file system.
#[derive(Debug)]
pub(crate) struct RootfsPlan {
    pub path: PathBuf,
    /// What is at `path`.
    pub tree: HostTree,
    /// The host's trees are copied by init, not by the parent: in a user namespace, or where the
    /// paths are those of a joined mount namespace.
    pub opened_by_init: bool,
    /// Of every mount in the new namespace, before anything is mounted.
    pub propagation: u64,
    /// Of the root mount, and of those below it when recursive, at the end.
    pub late_propagation: Option<SetAttr>,
    pub readonly: bool,
    pub no_pivot: bool,
    pub mounts: Vec<MountPlan>,
    /// None where /dev is the host's: nothing is made in it then.
    pub devices: Option<Vec<DevicePlan>>,
    pub masked: Vec<String>,
    pub readonly_paths: Vec<String>,
    /// The SELinux context of what covers masked directories.
    pub label: Option<CString>,
}

impl RootfsPlan {
    /// The descriptors of the copies that have been made.
    pub fn copies(&self) -> Vec<RawFd> {
        let mut trees = vec![&self.tree];
        for mount in &self.mounts {
            match &mount.source {
                Source::New { .. } | Source::Remount { .. } => {}
                Source::Tree(tree) => trees.push(tree),
                Source::Cgroup(CgroupMount::V2 { .. }) => {}
                Source::Cgroup(CgroupMount::V2Host(host)) => trees.push(host),
                Source::Cgroup(CgroupMount::V1 { hierarchies, .. }) => {
                    trees.extend(hierarchies.iter().filter_map(|one| one.own.as_ref()));
                }
            }
        }
        trees.extend(self.devices.iter().flatten().filter_map(|device| device.bind.as_ref()));
        trees.iter().filter_map(|tree| tree.copy().ok()).map(|fd| fd.as_raw_fd()).collect()
    }

    /// Copies the root file system. The error comes with what was done.
    pub fn open_root<E: From<(String, Errno)>>(&self) -> Result<(), E> {
        Ok(self.tree.open().map_err(|(step, errno)| (format!("root.path: {step}"), errno))?)
    }

    /// Copies every part of the host's tree that the container gets; `translate` makes those
    /// translate ids that shall. The error comes with what was done.
    pub fn open_trees<E: From<(String, Errno)>>(
        &self,
        translate: &mut dyn FnMut(usize, BorrowedFd<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open_root()?;
        for (index, mount) in self.mounts.iter().enumerate() {
            let named = |(step, errno)| (format!("{}: {step}", mount.name), errno);
            match &mount.source {
                Source::New { .. } | Source::Remount { .. } => {}
                Source::Tree(tree) => {
                    let named = |field, (step, errno)| {
                        (format!("{}: {step}", mount.name.field(field)), errno)
                    };
                    tree.clone_tree().map_err(|failed| named("source", failed))?;
                    tree.change().map_err(|failed| named("options", failed))?;
                    if tree.idmap.is_some() {
                        let copy =
                            tree.copy().map_err(|errno| named("source", (String::new(), errno)));
                        translate(index, copy?)?;
                    }
                }
                Source::Cgroup(CgroupMount::V2 { .. }) => {}
                Source::Cgroup(CgroupMount::V2Host(host)) => host.open().map_err(named)?,
                Source::Cgroup(CgroupMount::V1 { hierarchies, .. }) => {
                    let mut own = hierarchies.iter().filter_map(|hierarchy| hierarchy.own.as_ref());
                    own.try_for_each(HostTree::open).map_err(named)?;
                }
            }
        }
        for device in self.devices.iter().flatten() {
            if let Some(tree) = &device.bind {
                tree.open()
                    .map_err(|(step, errno)| (format!("{}: {step}", device.step()), errno))?;
            }
        }
        Ok(())
    }
}

/// Plans it with everything that is mounted or made in it.
pub(super) fn plan(
    input: &Input<'_>,
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<RootfsPlan, Error> {
    let spec = &input.bundle.spec;
    let mut report = Report::default();
    let path = report.keep(input.bundle.rootfs().and_then(without_nul));
    let joined = namespaces.new & flag::MOUNT == 0;
    if let Some(path) = path.iter().find(|path| !joined && !path.is_dir()) {
        let why = if path.exists() { Errno::ENOTDIR } else { Errno::ENOENT };
        report.push(Error::host("root.path", format!("rootfs {}", path.display()), why));
    }
    let mode = report.take(propagation_mode(linux, input.no_pivot));
    // Unbindable mounts could not be bound from.
    let before = match mode.propagation {
        0 | propagation::UNBINDABLE => propagation::SLAVE,
        mode => mode,
    };
    let label = report.take(mount_label(linux));
    let surroundings =
        mount::Surroundings { input, namespaces, propagation: before, label: label.clone() };
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mounts = report.take(mount::plan(mounts, &surroundings));
    let host_dev = mounts.iter().any(|m| m.is_bind() && m.destination == "dev");
    let devices = report.take(device::plan(input.bundle, linux, namespaces));
    let masked = report.take(absolute("linux.maskedPaths", linux.masked_paths().as_deref()));
    let readonly_paths =
        report.take(absolute("linux.readonlyPaths", linux.readonly_paths().as_deref()));
    let tree = path.and_then(|path| {
        // A shared root is a peer group of its own: what is mounted in it is not the host's affair.
        let apart = if before == propagation::SHARED { propagation::PRIVATE } else { before };
        let changes = [mount::cut_off(apart, true).into()];
        Some((report.keep(HostTree::new(&path, true, changes))?, path))
    });
    report.finish(tree.map(|(tree, path)| RootfsPlan {
        tree,
        opened_by_init: joined || namespaces.has(flag::USER),
        path,
        propagation: before,
        // Private it is already.
        late_propagation: (![0, propagation::PRIVATE].contains(&mode.propagation)).then_some(mode),
        readonly: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        no_pivot: input.no_pivot,
        mounts,
        devices: (!host_dev).then_some(devices),
        masked,
        readonly_paths,
        label,
    }))
}

fn without_nul(path: PathBuf) -> Result<PathBuf, Error> {
    match path.as_os_str().as_bytes().contains(&0) {
        true => Err(Error::invalid("root.path", format!("{path:?} has a NUL byte"))),
        false => Ok(path),
    }
}

/// `linux.rootfsPropagation`
fn propagation_mode(linux: &Linux, no_pivot: bool) -> Result<SetAttr, Error> {
    let text = linux.rootfs_propagation().as_deref().unwrap_or_default();
    let refuse =
        |reason: &str| Err(Error::invalid("linux.rootfsPropagation", format!("{text:?} {reason}")));
    let propagation = match text {
        "" => 0,
        "private" | "rprivate" if no_pivot => return refuse("is not safe without pivot_root"),
        "private" | "rprivate" => propagation::PRIVATE,
        "slave" | "rslave" => propagation::SLAVE,
        "shared" | "rshared" => propagation::SHARED,
        "unbindable" | "runbindable" => propagation::UNBINDABLE,
        _ => return refuse("is not a propagation mode"),
    };
    Ok(SetAttr { propagation, recursive: text.starts_with('r'), ..SetAttr::default() })
}

fn mount_label(linux: &Linux) -> Result<Option<CString>, Error> {
    let label = linux.mount_label().as_deref().filter(|label| !label.is_empty());
    let reason = || format!("{:?} has a NUL byte", label.unwrap_or_default());
    let label = label.map(CString::new).transpose();
    label.map_err(|_| Error::invalid("linux.mountLabel", reason()))
}

/// Paths in the container, made relative to its root.
fn absolute(field: &str, paths: Option<&[String]>) -> Result<Vec<String>, Error> {
    let one = |(index, path): (usize, &String)| {
        let refuse =
            |why| Err(Error::invalid(format!("{field}[{index}]"), format!("{path:?} {why}")));
        match path.starts_with('/') {
            true if path.contains('\0') => refuse("has a NUL byte"),
            true => Ok(relative(path)),
            false => refuse("is not an absolute path"),
        }
    };
    each(paths.unwrap_or_default().iter().enumerate().map(one))
}
