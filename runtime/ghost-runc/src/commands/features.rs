//! `features`: what this runtime can do, in the form of features.md of the runtime-spec.
//!
//! Engines decide by it whether to use idmapped and recursive read-only mounts, so it says what
//! is built, not what the kernel could do.

use std::collections::BTreeMap;

use clap::ArgMatches;
use serde::Serialize;

use crate::cli::{Entry, SPEC_VERSION};
use crate::context::Context;
use crate::error::Error;
use crate::output::{self, json};

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "features",
    about: "show what this runtime can do",
    operands: "",
    count: (0, Some(0)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

fn run(_context: &Context, _arguments: &ArgMatches) -> Result<u8, Error> {
    output::print(&(json::indented("features", &features(), "    ")? + "\n"))?;
    Ok(0)
}

/// The order of the capabilities is their number's.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: &'static [&'static str],
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: &'static [&'static str],
    capabilities: &'static [&'static str],
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

fn features() -> Features {
    let mut mount_options = container::MOUNT_OPTIONS.to_vec();
    mount_options.sort_unstable();
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: SPEC_VERSION,
        hooks: &[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options,
        linux: linux(),
        annotations: BTreeMap::from([
            ("ghost-runc.version", env!("CARGO_PKG_VERSION")),
            // CRI-O and podman read runc's name for it.
            ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ]),
        // The dot says that these are the first letters of several.
        potentially_unsafe_config_annotations: &["org.systemd.property."],
    }
}

fn linux() -> Linux {
    Linux {
        namespaces: &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
        capabilities: CAPABILITIES,
        cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
        seccomp: Seccomp {
            enabled: true,
            actions: seccomp::known_actions(),
            operators: seccomp::known_operators(),
            archs: seccomp::known_archs(),
            known_flags: seccomp::known_flags(),
            supported_flags: supported_flags(),
        },
        apparmor: Enabled { enabled: true },
        selinux: Enabled { enabled: true },
        intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
        memory_policy: MemoryPolicy {
            modes: container::MEMORY_POLICY_MODES,
            flags: container::MEMORY_POLICY_FLAGS,
        },
        mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
        net_devices: Enabled { enabled: true },
    }
}

/// Those of the flags that this kernel has: the newest, WAIT_KILLABLE_RECV, is of Linux 5.19.
fn supported_flags() -> Vec<&'static str> {
    let known = seccomp::known_flags().iter().copied();
    known.filter(|name| seccomp::flag_bits(name).is_some_and(sys::seccomp::knows_flag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_as_runc_sorts_them() {
        let features = features();
        assert!(features.mount_options.is_sorted());
        assert!(features.mount_options.contains(&"rro"));
        assert!(features.linux.namespaces.is_sorted());
        assert_eq!(features.linux.capabilities.len(), 41);
    }

    #[test]
    fn every_key_is_one_of_the_specs() {
        let text = json::compact("features", &features()).unwrap();
        let ours: serde_json::Value = serde_json::from_str(&text).unwrap();
        let known: oci_spec::runtime::Features = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(known).unwrap(), ours);
    }

    #[test]
    fn the_kernel_is_asked_for_its_seccomp_flags() {
        let seccomp = features().linux.seccomp;
        assert!(seccomp.supported_flags.contains(&"SECCOMP_FILTER_FLAG_TSYNC"));
        assert!(!sys::seccomp::knows_flag(1 << 31));
    }
}
