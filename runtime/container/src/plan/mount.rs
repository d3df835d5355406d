//! `mounts` of the configuration: what is mounted where, with the host's side opened already.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cgroup::Hierarchy;
use oci_spec::runtime::Mount;
use sys::mount::{SetAttr, attr};

use super::mount_options::{self, Options};
use super::{Input, Namespaces, flag, relative};
use crate::error::Error;
use crate::host_tree::HostTree;
use crate::report::{Report, each};

/// One mount.
#[derive(Debug)]
pub(crate) struct MountPlan {
    /// In the container, relative to its root; empty for the root itself.
    pub destination: String,
    /// For messages: `mounts[3] (proc on /proc)`.
    pub name: String,
    pub source: Source,
    /// Attributes of a new file system's mount.
    pub attributes: u64,
    /// Set when everything below is in place: tmpfs, whose files may be others' mount points.
    pub late_readonly: bool,
    /// What it covers is copied into it.
    pub copy_up: bool,
    /// Changes once it is attached, in order.
    pub propagation: Vec<SetAttr>,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file system of its own.
    New {
        fstype: CString,
        source: CString,
        flags: Vec<CString>,
        data: Vec<(CString, Option<CString>)>,
    },
    /// A part of the host's tree.
    Tree(HostTree),
    /// The control groups.
    Cgroup(CgroupMount),
}

/// What a `cgroup` mount shows.
#[derive(Debug)]
pub(crate) enum CgroupMount {
    /// The one hierarchy; the host's mount of it, for a container without a cgroup namespace: a
    /// mount of its own would reset the options of the host's.
    V2 { host: Option<HostTree> },
    /// A directory each, on a tmpfs.
    V1 { hierarchies: Vec<V1Mount>, links: Vec<(String, String)> },
}

/// One v1 hierarchy.
#[derive(Debug)]
pub(crate) struct V1Mount {
    /// The name of its directory.
    pub directory: String,
    /// The mount options that name it, for a container with a cgroup namespace.
    pub options: Vec<CString>,
    /// The container's own directory, for one without.
    pub own: Option<HostTree>,
}

impl MountPlan {
    pub fn is_bind(&self) -> bool {
        matches!(self.source, Source::Tree(_))
    }
}

/// Turns the list into plans, in its order.
pub(crate) fn plan(
    mounts: &[Mount],
    input: &Input<'_>,
    namespaces: &Namespaces,
    propagation: u64,
) -> Result<Vec<MountPlan>, Error> {
    let one = |(index, mount)| plan_one(index, mount, input, namespaces, propagation);
    each(mounts.iter().enumerate().map(one))
}

fn plan_one(
    index: usize,
    mount: &Mount,
    input: &Input<'_>,
    namespaces: &Namespaces,
    propagation: u64,
) -> Result<MountPlan, Error> {
    let mut report = Report::default();
    let field = |name: &str| format!("mounts[{index}].{name}");
    let destination = mount.destination().to_string_lossy();
    let options = mount_options::parse(mount.options().as_deref().unwrap_or_default())
        .map_err(|word| Error::invalid(field("options"), format!("{word}: not supported yet")));
    let mut options = report.take(options);
    for (name, given) in [
        ("uidMappings", mount.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())),
        ("gidMappings", mount.gid_mappings().as_ref().is_some_and(|m| !m.is_empty())),
    ] {
        if given {
            report.add(field(name), "not supported yet");
        }
    }
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let relative = relative(&destination);
    if let Err(reason) = check_proc(&relative, fstype, &options) {
        report.add(field("destination"), reason);
    }
    let name = format!(
        "mounts[{index}] ({} on /{relative})",
        if fstype.is_empty() { "bind" } else { fstype }
    );
    if options.copy_up && fstype != "tmpfs" {
        report.add(field("options"), "tmpcopyup is for tmpfs only");
    }
    let late_readonly = fstype == "tmpfs" && options.top.set & attr::RDONLY != 0;
    let source = if options.bind || fstype == "bind" {
        bind(&field("source"), mount, input, &mut options, propagation).map(Source::Tree)
    } else if fstype == "cgroup" {
        cgroup_mount(input, namespaces).map(Source::Cgroup)
    } else {
        if late_readonly {
            options.superblock.retain(|&flag| flag != "ro");
            options.top.set &= !attr::RDONLY;
        }
        new_filesystem(&field, fstype, mount, &options)
    };
    let source = report.keep(source);
    let mut changes = options.propagation;
    if !options.bind && options.all != SetAttr::default() {
        changes.push(options.all);
    }
    report.finish(source.map(|source| MountPlan {
        destination: relative,
        name,
        source,
        attributes: options.top.set,
        late_readonly,
        copy_up: options.copy_up,
        propagation: changes,
    }))
}

/// What lxcfs covers in /proc.
pub(crate) fn may_cover(inside_proc: &str) -> bool {
    const ALLOWED: &[&str] = &[
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    ];
    ALLOWED.contains(&inside_proc)
}

/// /proc must stay the kernel's: nothing is mounted in it but what lxcfs makes, nothing but procfs on
/// it. Init checks again where a path really leads.
fn check_proc(destination: &str, fstype: &str, options: &Options) -> Result<(), String> {
    match destination.strip_prefix("proc") {
        Some("") if fstype == "proc" || options.bind => Ok(()),
        Some("") => Err(format!("a mount of type {fstype:?} can't cover /proc")),
        Some(inside) => match inside.strip_prefix('/') {
            Some(inside) if !may_cover(inside) => {
                Err(format!("\"/{destination}\" is inside /proc, which can't be mounted over"))
            }
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

fn bind(
    field: &str,
    mount: &Mount,
    input: &Input<'_>,
    options: &mut Options,
    propagation: u64,
) -> Result<HostTree, Error> {
    let Some(source) = mount.source().as_ref().filter(|source| !source.as_os_str().is_empty())
    else {
        return Err(Error::invalid(field, "missing: a bind mount needs a source"));
    };
    let recursive = options.recursive;
    let changes = vec![cut_off(propagation, recursive), options.top, options.all];
    HostTree::new(&input.bundle.path.join(source), recursive, changes)
}

/// What separates a copied tree from the host's propagation, as the container's mount namespace is.
pub(crate) fn cut_off(propagation: u64, recursive: bool) -> SetAttr {
    match propagation {
        mount_options::propagation::SHARED => SetAttr::default(),
        propagation => SetAttr { propagation, recursive, ..SetAttr::default() },
    }
}

fn new_filesystem(
    field: &dyn Fn(&str) -> String,
    fstype: &str,
    mount: &Mount,
    options: &Options,
) -> Result<Source, Error> {
    if fstype.is_empty() {
        return Err(Error::invalid(field("type"), "missing: only bind mounts go without"));
    }
    let string = |name: &str, value: &[u8]| {
        CString::new(value).map_err(|_| Error::invalid(field(name), "has a NUL byte"))
    };
    let source = mount.source().as_deref().unwrap_or(Path::new(fstype));
    let mut data = Vec::new();
    for word in
        options.data.iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty())
    {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(string("options", value.as_bytes())?)),
            None => (word, None),
        };
        data.push((string("options", key.as_bytes())?, value));
    }
    let flags = options.superblock.iter().map(|flag| string("options", flag.as_bytes()));
    Ok(Source::New {
        fstype: string("type", fstype.as_bytes())?,
        source: string("source", source.as_os_str().as_bytes())?,
        flags: flags.collect::<Result<_, _>>()?,
        data,
    })
}

fn cgroup_mount(input: &Input<'_>, namespaces: &Namespaces) -> Result<CgroupMount, Error> {
    let private = namespaces.has(flag::CGROUP);
    let tree = |path: PathBuf| {
        let changes = vec![cut_off(mount_options::propagation::PRIVATE, false)];
        HostTree::new(&path, false, changes)
    };
    let hierarchies = input.cgroup.hierarchies();
    if input.cgroup.mode() == cgroup::Mode::V2 {
        let host = hierarchies.first().filter(|_| !private).map(Hierarchy::mount_point);
        return Ok(CgroupMount::V2 { host: host.map(tree).transpose()? });
    }
    let mut list = Vec::new();
    let mut links = Vec::new();
    for hierarchy in hierarchies.iter().filter(|hierarchy| !hierarchy.is_unified()) {
        let directory = hierarchy.name().to_owned();
        links.extend(hierarchy.links().map(|link| (link.to_owned(), directory.clone())));
        let data =
            |word: &str| CString::new(word).map_err(|_| Error::invalid("mounts", "NUL byte"));
        let options = hierarchy.mount_data().split(',').map(data).collect::<Result<_, _>>()?;
        let own = (!private).then(|| tree(hierarchy.dir())).transpose()?;
        list.push(V1Mount { directory, options, own });
    }
    Ok(CgroupMount::V1 { hierarchies: list, links })
}
