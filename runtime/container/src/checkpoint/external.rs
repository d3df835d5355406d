//! What of a container is not its own, and so is not saved: parts of the host's file tree, namespaces
//! that were joined. criu has them by names, which are runc's.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::mountinfo::{self, Mount};
use crate::error::{Context, Error};
use crate::host_tree::HostTree;
use crate::init::Root;
use crate::plan::{CgroupMount, InitPlan, Source, flag};

/// Where every masked file comes from.
pub(super) const NULL: &str = "/dev/null";

/// A part of the host's tree: where it is in the container, and on the host.
#[derive(Debug)]
pub(super) struct Bind {
    /// What it is in the configuration.
    pub name: String,
    pub target: String,
    pub source: PathBuf,
}

/// All of them.
pub(super) fn binds(plan: &InitPlan) -> Result<Vec<Bind>, Error> {
    let rootfs = &plan.rootfs;
    let root = open_directory(&rootfs.path)?;
    let mut binds = Vec::new();
    let mut add = |name: String, target: &str, tree: &HostTree| -> Result<(), Error> {
        let target = resolved(&root, target)?;
        let source = PathBuf::from(tree.path().to_string_lossy().into_owned());
        binds.push(Bind { name, target, source });
        Ok(())
    };
    for mount in &rootfs.mounts {
        if mount.destination.is_empty() {
            let reason = "criu can't restore a container with a mount over its root";
            return Err(Error::invalid(mount.name.field("destination"), reason));
        }
        match &mount.source {
            Source::Tree(tree) => add(mount.name.to_string(), &mount.destination, tree)?,
            Source::Cgroup(CgroupMount::V1 { hierarchies, .. }) => {
                for (hierarchy, own) in
                    hierarchies.iter().filter_map(|h| Some((h, h.own.as_ref()?)))
                {
                    let target = format!("{}/{}", mount.destination, hierarchy.directory);
                    add(mount.name.to_string(), &target, own)?;
                }
            }
            _ => {}
        }
    }
    for device in rootfs.devices.iter().flatten() {
        if let Some(node) = &device.bind {
            add(format!("device /{}", device.path), &device.path, node)?;
        }
    }
    Ok(binds)
}

/// The masked paths that are files: a directory is covered by the whole of a tmpfs.
pub(super) fn masked_files(plan: &InitPlan, mounts: &[Mount]) -> Vec<String> {
    let paths = plan.rootfs.masked.iter().map(|path| format!("/{path}"));
    paths
        .filter(|path| mountinfo::at(mounts, path).is_some_and(|mount| !mount.is_whole()))
        .collect()
}

/// Refuses what has changed places with another mount: who may write above two mount points can rename
/// what is there, and criu would bind the one's source with the other's options. And what is of a file
/// that has been replaced since, which criu saves, but can't restore.
pub(super) fn check(binds: &[Bind], of_container: &[Mount], own: &[Mount]) -> Result<(), Error> {
    for bind in binds {
        // What is not there any more is not saved.
        let Some(mount) = mountinfo::at(of_container, &bind.target) else { continue };
        if mountinfo::origin(own, &bind.source) != Some(mount.origin()) {
            let Bind { name, target, source } = bind;
            let (name, target, path) = (name.clone(), target.clone(), source.clone());
            return Err(Error::ChangedPlaces { name, target, path });
        }
    }
    Ok(())
}

/// A namespace that was joined and stays: criu's word for it, as runc spells that.
pub(super) fn namespace_key(flag: u64) -> Option<(&'static str, &'static str)> {
    match flag {
        flag::NET => Some(("net", "extRootNetNS")),
        flag::PID => Some(("pid", "extRootPidNS")),
        _ => None,
    }
}

/// The others can be joined by their paths.
pub(super) fn namespace_name(flag: u64) -> Option<&'static str> {
    match flag {
        flag::MOUNT => Some("mnt"),
        flag::UTS => Some("uts"),
        flag::IPC => Some("ipc"),
        flag::USER => Some("user"),
        flag::TIME => Some("time"),
        _ => None,
    }
}

/// All namespaces of a process that are not ours.
pub(super) fn namespaces_of(pid: i32) -> u64 {
    const ALL: [(u64, &str); 8] = [
        (flag::MOUNT, "mnt"),
        (flag::CGROUP, "cgroup"),
        (flag::UTS, "uts"),
        (flag::IPC, "ipc"),
        (flag::USER, "user"),
        (flag::PID, "pid"),
        (flag::NET, "net"),
        (flag::TIME, "time"),
    ];
    let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let other = ALL.iter().filter(|(_, name)| link(&pid.to_string(), name) != link("self", name));
    other.fold(0, |all, (flag, _)| all | flag)
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).context(|| format!("open {}", path.display()))
}

/// A path in the container without symbolic links, from its root. What is not there, as below a file
/// system that is mounted there, has none.
fn resolved(root: &OwnedFd, path: &str) -> Result<String, Error> {
    let link = |fd: &OwnedFd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let step = || format!("find /{path} in the rootfs");
    let (mut there, mut rest) = (path, "");
    loop {
        match Root(root.as_fd()).open(there, OFlag::O_PATH) {
            Ok(fd) => {
                let found = link(&fd).context(step)?;
                let inside = found.strip_prefix(link(root).context(step)?).unwrap_or(&found);
                let whole = Path::new("/").join(inside).join(rest);
                // Nothing leaves no slash behind.
                let whole: PathBuf = whole.components().collect();
                return Ok(whole.to_string_lossy().into_owned());
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) if !there.is_empty() => {
                let above = there.rfind('/').unwrap_or(0);
                rest = path[above..].trim_start_matches('/');
                there = &path[..above];
            }
            Err(errno) => return Err(Error::system(step(), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn targets_are_without_links() {
        let dir = std::env::temp_dir().join(format!("ghost-runc-external-{}", std::process::id()));
        fs::create_dir_all(dir.join("run/a")).unwrap();
        fs::create_dir_all(dir.join("var")).unwrap();
        symlink("/run", dir.join("var/run")).unwrap();
        let root = open_directory(&dir).unwrap();
        for (path, wanted) in [
            ("var/run/a", "/run/a"),
            ("var/run/b/c", "/run/b/c"),
            ("dev/x", "/dev/x"),
            ("run", "/run"),
        ] {
            assert_eq!(resolved(&root, path).unwrap(), wanted);
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn our_own_namespaces_are_none_of_another() {
        assert_eq!(namespaces_of(std::process::id() as i32), 0);
    }
}
