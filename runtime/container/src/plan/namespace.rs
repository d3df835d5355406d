//! Which namespaces are made, which are joined by path.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::geteuid;
use oci_spec::runtime::{Linux, LinuxNamespaceType};

use sys::process::namespace_type;

use super::{ProcessPlan, id_map};
use crate::error::Error;
use crate::report::Report;
use crate::user_namespace::is_own_group_only;

/// `CLONE_NEW*`.
pub(crate) mod flag {
    pub const TIME: u64 = 0x80;
    pub const MOUNT: u64 = 0x0002_0000;
    pub const CGROUP: u64 = 0x0200_0000;
    pub const UTS: u64 = 0x0400_0000;
    pub const IPC: u64 = 0x0800_0000;
    pub const USER: u64 = 0x1000_0000;
    pub const PID: u64 = 0x2000_0000;
    pub const NET: u64 = 0x4000_0000;
}

/// The container's namespaces; what is in none of the lists is the runtime's own.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW*` of those to make.
    pub new: u64,
    /// Those to join: type, path for messages, and the opened namespace.
    pub join: Vec<(u64, String, OwnedFd)>,
    /// Contents of uid_map and gid_map for a new user namespace.
    pub id_maps: Option<(String, String)>,
    /// The contents of timens_offsets for a new time namespace.
    pub time_offsets: Option<String>,
}

impl Namespaces {
    /// The container has this namespace for itself, or shares it with another container.
    pub fn has(&self, flag: u64) -> bool {
        self.all() & flag != 0
    }

    /// Some can't be joined after the clone3 that makes init.
    pub fn needs_intermediate(&self) -> bool {
        !self.join.is_empty()
    }

    /// All that differ from the runtime's.
    pub fn all(&self) -> u64 {
        self.join.iter().fold(self.new, |all, (flag, ..)| all | flag)
    }

    /// Refuses ids that the new user namespace will not have, and groups that can't be set in it.
    pub fn check_user(&self, process: &ProcessPlan) -> Result<(), Error> {
        let Some((uids, gids)) = &self.id_maps else { return Ok(()) };
        let mut report = Report::default();
        let (user, group) = ([process.uid], [process.gid]);
        for (field, ids, map) in [
            ("uid", &user[..], uids),
            ("gid", &group[..], gids),
            ("additionalGids", &process.groups[..], gids),
        ] {
            if let Some(id) = ids.iter().find(|id| !is_mapped(**id, map)) {
                let reason = format!("{id} is not mapped in the container's user namespace");
                report.add(format!("process.user.{field}"), reason);
            }
        }
        if !process.groups.is_empty() && is_own_group_only(gids) {
            let reason = format!(
                "cannot set {:?}: a user without privileges who maps its own group alone may set none",
                process.groups
            );
            report.add("process.user.additionalGids", reason);
        }
        report.finish(Some(()))
    }

    /// A value that may only be set in a namespace of the container's.
    pub fn named(
        &self,
        field: &str,
        value: &Option<String>,
        flag: u64,
    ) -> Result<Option<String>, Error> {
        match value.as_deref() {
            None | Some("") => Ok(None),
            Some(_) if !self.has(flag) => {
                Err(Error::invalid(field, "unable to set it without a private UTS namespace"))
            }
            Some(value) if value.contains('\0') => {
                Err(Error::invalid(field, format!("{value:?} has a NUL byte")))
            }
            Some(value) => Ok(Some(value.to_owned())),
        }
    }
}

fn flag_of(kind: LinuxNamespaceType) -> u64 {
    match kind {
        LinuxNamespaceType::Mount => flag::MOUNT,
        LinuxNamespaceType::Cgroup => flag::CGROUP,
        LinuxNamespaceType::Uts => flag::UTS,
        LinuxNamespaceType::Ipc => flag::IPC,
        LinuxNamespaceType::User => flag::USER,
        LinuxNamespaceType::Pid => flag::PID,
        LinuxNamespaceType::Network => flag::NET,
        LinuxNamespaceType::Time => flag::TIME,
    }
}

/// As config.json writes it.
fn name_of(flag: u64) -> &'static str {
    match flag {
        flag::MOUNT => "mount",
        flag::CGROUP => "cgroup",
        flag::UTS => "uts",
        flag::IPC => "ipc",
        flag::USER => "user",
        flag::PID => "pid",
        flag::NET => "network",
        _ => "time",
    }
}

/// Reads `linux.namespaces` and what belongs to them. A namespace that can't be joined is taken for a
/// new one, for the checks that follow.
pub(crate) fn plan(linux: &Linux, report: &mut Report) -> Namespaces {
    let mut namespaces = Namespaces::default();
    let (mut given, mut refused) = (0, 0);
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let flag = flag_of(namespace.typ());
        if given & flag != 0 {
            let reason = format!("a namespace of type {} is given already", name_of(flag));
            report.add(format!("linux.namespaces[{index}].type"), reason);
            continue;
        }
        given |= flag;
        match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => namespaces.new |= flag,
            Some(path) if !path.is_absolute() => {
                let reason = format!("{path:?} is not an absolute path");
                report.add(format!("linux.namespaces[{index}].path"), reason);
                refused |= flag;
            }
            Some(path) => {
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
                let name = path.display().to_string();
                match open(path, flags, Mode::empty()) {
                    Ok(fd) if is_own(flag, &fd) => {}
                    Ok(fd) if !is_of_type(flag, &fd) => {
                        let reason = format!("{name} is not a {} namespace", name_of(flag));
                        report.add(format!("linux.namespaces[{index}].path"), reason);
                        refused |= flag;
                    }
                    Ok(fd) => namespaces.join.push((flag, name, fd)),
                    Err(errno) => {
                        let field = format!("linux.namespaces[{index}].path");
                        report.push(Error::host(field, format!("open {name}"), errno));
                        refused |= flag;
                    }
                }
            }
        }
    }
    namespaces.new |= refused;
    if !namespaces.has(flag::MOUNT) {
        let reason = "a mount namespace is required: without one, the host's mounts would change";
        report.add("linux.namespaces", reason);
        namespaces.new |= flag::MOUNT;
    }
    if !geteuid().is_root() && !namespaces.has(flag::USER) {
        let reason = "a user namespace is required: the caller is not root";
        report.add("linux.namespaces", reason);
    }
    if refused & flag::USER == 0 {
        // Else those are missed that only a new one needs.
        namespaces.id_maps = report.take(id_maps(linux, &namespaces));
    }
    namespaces.time_offsets = report.take(time_offsets(linux, &namespaces));
    namespaces
}

/// The path leads to the namespace that the runtime is in: nothing is to be joined, and what is only
/// allowed in a namespace of the container's is not.
fn is_own(flag: u64, fd: &OwnedFd) -> bool {
    let name = match flag {
        flag::MOUNT => "mnt",
        flag::NET => "net",
        flag => name_of(flag),
    };
    let own = stat(format!("/proc/self/ns/{name}").as_str());
    let given = fstat(fd);
    matches!((own, given), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn is_of_type(flag: u64, fd: &OwnedFd) -> bool {
    namespace_type(fd.as_fd()) == Ok(flag)
}

fn id_maps(linux: &Linux, namespaces: &Namespaces) -> Result<Option<(String, String)>, Error> {
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    if namespaces.new & flag::USER == 0 {
        return match (uids.is_empty() && gids.is_empty(), namespaces.has(flag::USER)) {
            (true, _) | (_, true) => Ok(None),
            _ => {
                let mut report = Report::default();
                for (field, mappings) in [("linux.uidMappings", uids), ("linux.gidMappings", gids)]
                {
                    if !mappings.is_empty() {
                        report.add(field, "given without a user namespace");
                    }
                }
                report.finish(None)
            }
        };
    }
    let mut report = Report::default();
    for (field, mappings) in [("linux.uidMappings", uids), ("linux.gidMappings", gids)] {
        if mappings.is_empty() {
            report.add(field, "missing: a new user namespace needs mappings");
        } else if !mappings.iter().any(|mapping| mapping.container_id() == 0) {
            report.add(field, "id 0 of the container is not mapped");
        }
        report.take(id_map::check(field, mappings));
    }
    report.finish(Some(Some((id_map::text(uids), id_map::text(gids)))))
}

/// Whether one of the map's lines, "inside outside count" each, has this id inside.
fn is_mapped(id: u32, map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split(' ').filter_map(|word| word.parse::<u32>().ok());
        let (first, count) = (numbers.next(), numbers.nth(1));
        let offset = first.and_then(|first| id.checked_sub(first));
        offset.zip(count).is_some_and(|(offset, count)| offset < count)
    })
}

fn time_offsets(linux: &Linux, namespaces: &Namespaces) -> Result<Option<String>, Error> {
    let mut report = Report::default();
    let mut text = String::new();
    for (clock, offset) in linux.time_offsets().iter().flatten() {
        let field = format!("linux.timeOffsets.{clock}");
        if namespaces.new & flag::TIME == 0 {
            report.add(field, "given without a new time namespace");
        } else if clock != "monotonic" && clock != "boottime" {
            report.add(field, "is neither monotonic nor boottime");
        } else if let Some(nanos) = offset.nanosecs().filter(|nanos| *nanos > 999_999_999) {
            report.add(format!("{field}.nanosecs"), format!("{nanos} is a second or more"));
        }
        let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        text.push_str(&format!("{clock} {secs} {nanos}\n"));
    }
    report.finish(Some((!text.is_empty()).then_some(text)))
}

/// The namespace that a sysctl is part of, by its path below /proc/sys, and its name.
pub(crate) fn of_sysctl(path: &str) -> Option<(u64, &'static str)> {
    let flag = flag_of_sysctl(path)?;
    Some((flag, name_of(flag)))
}

fn flag_of_sysctl(path: &str) -> Option<u64> {
    const IPC: &[&str] = &[
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        Some(flag::IPC)
    } else if path.starts_with("net/") {
        Some(flag::NET)
    } else if path == "kernel/domainname" || path == "kernel/hostname" {
        Some(flag::UTS)
    } else if path.starts_with("user/") {
        Some(flag::USER)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_by_ranges() {
        let map = "0 1000 1\n10 100000 5\n";
        for (id, mapped) in [(0, true), (1, false), (9, false), (10, true), (14, true), (15, false)]
        {
            assert_eq!(is_mapped(id, map), mapped, "{id}");
        }
        assert!(is_mapped(u32::MAX - 1, "0 0 4294967295\n"));
    }

    #[test]
    fn sysctls_belong_to_namespaces() {
        for (path, namespace) in [
            ("net/ipv4/ip_forward", Some("network")),
            ("kernel/shmmax", Some("ipc")),
            ("fs/mqueue/msg_max", Some("ipc")),
            ("kernel/panic", None),
            ("vm/swappiness", None),
        ] {
            assert_eq!(of_sysctl(path).map(|(_, name)| name), namespace, "{path}");
        }
    }
}
