//! `spec`: writes a config.json to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::{Arg, ArgMatches};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};

use crate::cli::{Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "spec",
    about: "write a config.json to start from",
    operands: "",
    count: (0, Some(0)),
    stops_at_first: false,
    flags,
    run,
};

/// The default configuration, to the byte as runc 1.5 writes it.
const CONFIG: &str = include_str!("spec/config.json");

fn flags() -> Vec<Arg> {
    vec![
        flag::file("bundle", "directory to write to [default: the current directory]").short('b'),
        flag::switch("rootless", "write a configuration for a user without privileges"),
    ]
}

fn run(_context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let mut config = CONFIG.to_owned();
    if has_unified_hierarchy() {
        config = with_cgroup_namespace(&config);
    }
    if arguments.get_flag("rootless") {
        config = rootless(&config, geteuid().as_raw(), getegid().as_raw());
    }
    let dir = flag::path(arguments, "bundle").unwrap_or_default();
    write(&dir.join("config.json"), &config)?;
    Ok(0)
}

fn write(path: &Path, config: &str) -> Result<(), Error> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(Error::SpecExists),
        Err(error) => return Err(Error::file("open", path, error)),
    };
    file.write_all(config.as_bytes()).map_err(|source| Error::file("write", path, source))
}

/// Whether the host has cgroup v2 alone.
fn has_unified_hierarchy() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

const MOUNT_NAMESPACE: &str = "\t\t\t{\n\t\t\t\t\"type\": \"mount\"\n\t\t\t}";
const CGROUP_NAMESPACE: &str = ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";
const USER_NAMESPACE: &str = ",\n\t\t\t{\n\t\t\t\t\"type\": \"user\"\n\t\t\t}";
const NETWORK_NAMESPACE: &str = "\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},\n";
const END_OF_NAMESPACES: &str = "\n\t\t],\n\t\t\"maskedPaths\"";
const SYS: &str =
    "\t\t\t\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n";
const BOUND_SYS: &str = "\t\t\t\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n";
const PTS_GROUP: &str = ",\n\t\t\t\t\"gid=5\"";

fn with_cgroup_namespace(config: &str) -> String {
    config.replacen(MOUNT_NAMESPACE, &format!("{MOUNT_NAMESPACE}{CGROUP_NAMESPACE}"), 1)
}

/// What needs privileges goes, and a user namespace with the caller as its root comes.
fn rootless(config: &str, uid: u32, gid: u32) -> String {
    let mapping = |name, id| {
        format!(
            "\t\t\"{name}\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\
             \t\t\t\t\"size\": 1\n\t\t\t}}\n\t\t],\n"
        )
    };
    let mappings = mapping("uidMappings", uid) + &mapping("gidMappings", gid);
    config
        .replacen(NETWORK_NAMESPACE, "", 1)
        .replacen(END_OF_NAMESPACES, &format!("{USER_NAMESPACE}{END_OF_NAMESPACES}"), 1)
        .replacen(SYS, BOUND_SYS, 1)
        .replacen(PTS_GROUP, "", 1)
        .replacen(resources(config), &mappings, 1)
}

/// The lines of `linux.resources`.
fn resources(config: &str) -> &str {
    let start = config.find("\t\t\"resources\"").unwrap_or(0);
    let end = config.find("\t\t\"namespaces\"").unwrap_or(start);
    &config[start..end]
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxNamespaceType, Spec};

    use super::*;

    fn parse(config: &str) -> Spec {
        serde_json::from_str(config).unwrap()
    }

    fn namespaces(spec: &Spec) -> Vec<LinuxNamespaceType> {
        let linux = spec.linux().as_ref().unwrap();
        linux.namespaces().as_ref().unwrap().iter().map(|namespace| namespace.typ()).collect()
    }

    #[test]
    fn the_default_is_a_valid_configuration_of_our_version() {
        let spec = parse(CONFIG);
        assert_eq!(spec.version(), crate::cli::SPEC_VERSION);
        assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
        assert!(!CONFIG.ends_with('\n'));
    }

    #[test]
    fn a_unified_hierarchy_adds_a_cgroup_namespace_at_the_end() {
        let spec = parse(&with_cgroup_namespace(CONFIG));
        assert_eq!(namespaces(&spec).last(), Some(&LinuxNamespaceType::Cgroup));
        assert_eq!(namespaces(&spec).len(), 6);
    }

    #[test]
    fn rootless_drops_what_needs_privileges() {
        use LinuxNamespaceType::{Cgroup, Ipc, Mount, Pid, User, Uts};
        for (config, expected) in [
            (CONFIG.to_owned(), vec![Pid, Ipc, Uts, Mount, User]),
            (with_cgroup_namespace(CONFIG), vec![Pid, Ipc, Uts, Mount, Cgroup, User]),
        ] {
            let spec = parse(&rootless(&config, 1000, 100));
            assert_eq!(namespaces(&spec), expected);
            let linux = spec.linux().as_ref().unwrap();
            assert!(linux.resources().is_none());
            let ids = |list: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>| {
                list.iter().flatten().map(|m| (m.container_id(), m.host_id(), m.size())).collect()
            };
            let (uids, gids): (Vec<_>, Vec<_>) =
                (ids(linux.uid_mappings()), ids(linux.gid_mappings()));
            assert_eq!((uids, gids), (vec![(0, 1000, 1)], vec![(0, 100, 1)]));
            let mounts = spec.mounts().as_ref().unwrap();
            assert!(mounts.iter().all(|m| m.options().iter().flatten().all(|o| o != "gid=5")));
            let sys = mounts.iter().find(|m| m.destination() == Path::new("/sys")).unwrap();
            assert_eq!(sys.typ().as_deref(), Some("none"));
            assert_eq!(sys.options().as_ref().unwrap()[0], "rbind");
        }
    }
}
