//! The container's place in one hierarchy, and how a `cgroup` mount shows that hierarchy.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mode::ROOT;

/// One mounted hierarchy and the container's cgroup in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// As /proc/PID/cgroup lists them, such as "cpu,cpuacct" or "name=systemd"; "" is v2.
    pub(crate) controllers: String,
    /// The directory below /sys/fs/cgroup it is mounted at; "" on a pure v2 host.
    pub(crate) name: String,
    /// The container's cgroup, absolute and clean, seen from the mount's root.
    pub(crate) path: PathBuf,
}

impl Hierarchy {
    /// Whether this is the v2 hierarchy.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether a v1 controller, such as "memory" or "name=systemd", is on this hierarchy.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|one| one == controller)
    }

    /// The directory below /sys/fs/cgroup, such as "cpu,cpuacct", "systemd" or "unified"; "" when
    /// the hierarchy is /sys/fs/cgroup itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the host has it mounted.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        if self.name.is_empty() { ROOT.into() } else { Path::new(ROOT).join(&self.name) }
    }

    /// The container's cgroup, from the root of the mount: it begins with a slash.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's own directory, on the host: what to bind where the container has no cgroup
    /// namespace.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.mount_point().join(self.path.strip_prefix("/").unwrap_or(&self.path))
    }

    /// The data of a `cgroup` mount that shows this v1 hierarchy in a cgroup namespace, such as
    /// "cpu,cpuacct" or "name=systemd". v2 has none: its mount is of type `cgroup2`.
    #[must_use]
    pub fn mount_data(&self) -> &str {
        &self.controllers
    }

    /// The symbolic links beside the directory that lead to it: one a controller, where one
    /// hierarchy has several.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        let controllers = if self.controllers.contains(',') { &self.controllers } else { "" };
        controllers.split(',').filter(|one| !one.is_empty() && *one != self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(controllers: &str, name: &str) -> Hierarchy {
        Hierarchy { controllers: controllers.into(), name: name.into(), path: "/a/b".into() }
    }

    #[test]
    fn shows_itself_as_runc_mounts_it() {
        let cpu = hierarchy("cpu,cpuacct", "cpu,cpuacct");
        assert_eq!(cpu.mount_data(), "cpu,cpuacct");
        assert_eq!(cpu.links().collect::<Vec<_>>(), ["cpu", "cpuacct"]);
        assert_eq!(cpu.dir(), Path::new("/sys/fs/cgroup/cpu,cpuacct/a/b"));
        assert!(cpu.has("cpuacct") && !cpu.has("cpua") && !cpu.has(""));

        let systemd = hierarchy("name=systemd", "systemd");
        assert_eq!(systemd.mount_data(), "name=systemd");
        assert_eq!(systemd.links().count(), 0);

        let v2 = hierarchy("", "");
        assert!(v2.is_unified() && v2.has(""));
        assert_eq!(v2.links().count(), 0);
        assert_eq!(v2.dir(), Path::new("/sys/fs/cgroup/a/b"));
    }
}
