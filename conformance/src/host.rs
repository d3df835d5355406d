//! What this machine, as the runner sees it, offers to the cases.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::thread::CapabilitySet;

use crate::case::Need;

const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// The facts that decide which cases can run.
#[derive(Debug)]
pub struct Host {
    /// /sys/fs/cgroup is a cgroup2 mount.
    pub v2: bool,
    /// The controllers of the v2 root.
    pub controllers: Vec<String>,
    /// systemd is process 1, as the runner sees it.
    pub systemd: bool,
    apparmor: bool,
    sys_resource: bool,
    emulated: bool,
}

impl Host {
    /// Look at the machine; whether it is emulated is for the caller to know.
    pub fn look(emulated: bool) -> Self {
        let v2 = statfs("/sys/fs/cgroup").is_ok_and(|s| s.f_type as u64 == CGROUP2_MAGIC);
        let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
        Self {
            emulated,
            v2,
            controllers: controllers
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            systemd: std::fs::read_to_string("/proc/1/comm")
                .is_ok_and(|name| name.trim() == "systemd"),
            apparmor: std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|s| s.trim() == "Y"),
            sys_resource: rustix::thread::capabilities(None)
                .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE)),
        }
    }

    /// The reason why `need` is not met, if so.
    pub fn lacks(&self, need: Need) -> Option<String> {
        let (met, reason) = match need {
            Need::V1 => (!self.v2, "no cgroup v1 hierarchies in this view".to_owned()),
            Need::V2 => (self.v2, "not a cgroup v2 view".to_owned()),
            Need::V2Controllers => (
                self.v2 && self.has_controllers(),
                "no cgroup v2 memory, cpu and pids controllers".to_owned(),
            ),
            Need::Controllers => {
                (self.has_controllers(), "no memory, cpu and pids controllers".to_owned())
            }
            Need::Native => (!self.emulated, "takes long on an emulated machine".to_owned()),
            Need::Systemd => {
                (self.v2 && self.systemd, "process 1 is not systemd with cgroup v2".to_owned())
            }
            Need::NoAppArmor => (!self.apparmor, "AppArmor is enabled".to_owned()),
            Need::AppArmor => (self.apparmor, "AppArmor is not enabled".to_owned()),
            Need::SysResource => (self.sys_resource, "no CAP_SYS_RESOURCE".to_owned()),
            Need::RealTimeGroups => (
                Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists(),
                "no real-time groups in the kernel".to_owned(),
            ),
            Need::TimeNamespace => {
                (Path::new("/proc/self/ns/time").exists(), "no time namespaces".to_owned())
            }
            Need::Realtime => (realtime(), "no real-time scheduling".to_owned()),
            Need::Cpuset => (
                !self.v2 && Path::new("/sys/fs/cgroup/cpuset").is_dir()
                    || self.controllers.iter().any(|name| name == "cpuset"),
                "no cpuset controller".to_owned(),
            ),
            Need::Cpus(count) => (cpus() >= count, format!("less than {count} CPUs")),
            Need::Numa => (
                Path::new("/proc/self/numa_maps").exists(),
                "no memory policies in this kernel".to_owned(),
            ),
            Need::Selinux => (selinux(), "no SELinux".to_owned()),
            Need::NoSelinux => (!selinux(), "SELinux is there".to_owned()),
            Need::Resctrl => (resctrl(), "no resctrl file system is mounted".to_owned()),
            Need::NoResctrl => (!resctrl(), "a resctrl file system is mounted".to_owned()),
            Need::Criu => (criu(), "no criu that works with this kernel".to_owned()),
            Need::Command(name) => (find_command(name).is_some(), format!("no {name} command")),
        };
        (!met).then_some(reason)
    }

    fn has_controllers(&self) -> bool {
        let has = |name: &&str| self.controllers.iter().any(|c| c == name);
        !self.v2 || ["memory", "cpu", "pids"].iter().all(has)
    }

    /// The cgroup file systems' mount points.
    pub fn cgroup_roots(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        if self.v2 {
            return vec![root];
        }
        std::fs::read_dir(root)
            .map(|entries| entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect())
            .unwrap_or_default()
    }
}

/// Whether a process may become a real-time one here.
fn realtime() -> bool {
    let chrt = std::process::Command::new("chrt").args(["--fifo", "1", "true"]).output();
    chrt.is_ok_and(|output| output.status.success())
}

/// Whether criu finds all that it needs in this kernel.
fn criu() -> bool {
    static WORKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *WORKS.get_or_init(|| {
        let check = std::process::Command::new("criu").arg("check").output();
        check.is_ok_and(|output| output.status.success())
    })
}

/// Whether a resctrl file system is mounted.
fn resctrl() -> bool {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    table.lines().any(|row| row.split(' ').nth(2) == Some("resctrl"))
}

/// Whether a policy of SELinux is loaded.
fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// The CPUs that the runner may run on.
fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

/// The path of a command, as a shell would find it.
pub fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file())
}
