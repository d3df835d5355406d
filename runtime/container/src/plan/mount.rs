//! `mounts` of the configuration: what is mounted where, with the host's side opened already.

use std::ffi::CString;
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::Mount;
use sys::mount::{SetAttr, attr};

use super::cgroup_mount::{self, CgroupMount};
use super::mount_options::{self, Options};
use super::{Input, Namespaces, flag, id_mapped, relative};
use crate::attributes::Change;
use crate::error::Error;
use crate::host_tree::HostTree;
use crate::idmap::IdMap;
use crate::report::{Report, each};

/// One mount.
#[derive(Debug)]
pub(crate) struct MountPlan {
    pub name: Name,
    /// In the container, relative to its root; never the root itself.
    pub destination: String,
    pub source: Source,
    /// Attributes of a new file system's mount.
    pub attributes: u64,
    /// Set when everything below is in place: tmpfs, whose files may be others' mount points.
    pub late_readonly: bool,
    /// What it covers is copied into it.
    pub copy_up: bool,
    /// Changes once it is attached, in order.
    pub changes: Vec<SetAttr>,
}

/// Which mount it is, for messages: `mounts[3] (proc on /proc)`.
#[derive(Debug)]
pub(crate) struct Name {
    index: usize,
    what: String,
}

impl Name {
    /// One of its fields: `mounts[3].type (proc on /proc)`.
    pub fn field(&self, name: &str) -> String {
        format!("mounts[{}].{name} ({})", self.index, self.what)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mounts[{}] ({})", self.index, self.what)
    }
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file system of its own.
    New(Filesystem),
    /// A part of the host's tree.
    Tree(HostTree),
    /// The control groups.
    Cgroup(CgroupMount),
    /// Nothing: what is there already gets other options.
    Remount {
        change: Change,
        /// Options of its file system; none for a remounted bind, which leaves that alone, and for
        /// control groups, whose options are the whole machine's.
        superblock: Option<Filesystem>,
    },
}

/// A file system and its options.
#[derive(Debug)]
pub(crate) struct Filesystem {
    pub fstype: CString,
    pub source: CString,
    pub flags: Vec<CString>,
    /// Flags that only mount(2) knows.
    pub old: u64,
    pub data: Vec<(CString, Option<CString>)>,
    /// The SELinux context of all its files.
    pub label: Option<CString>,
}

impl Filesystem {
    /// Mounting it may change what is on a disk, or ask somebody else: the kernel empties an overlay's
    /// working directory.
    pub fn reaches_out(&self) -> bool {
        const KINDS: [&[u8]; 8] =
            [b"overlay", b"fuse", b"nfs", b"cifs", b"9p", b"virtiofs", b"ceph", b"smb"];
        let (kind, source) = (self.fstype.to_bytes(), self.source.to_bytes());
        source.starts_with(b"/")
            || source.contains(&b':')
            || KINDS.iter().any(|prefix| kind.starts_with(prefix))
    }

    /// The kernel may ask the device rules about it: its source can be a disk.
    pub fn may_have_device(&self) -> bool {
        const WITHOUT: [&[u8]; 5] = [b"proc", b"tmpfs", b"sysfs", b"devpts", b"mqueue"];
        !WITHOUT.contains(&self.fstype.to_bytes())
    }

    /// The options that a bind of a file system that is there already can't have; none where there are
    /// none.
    pub fn words_of_its_own(&self) -> Option<String> {
        // A mount has the first two too; the others are what all file systems do unasked.
        const OF_ANY: [&[u8]; 5] = [b"ro", b"rw", b"async", b"nomand", b"nolazytime"];
        let flags = self.flags.iter().filter(|flag| !OF_ANY.contains(&flag.to_bytes()));
        let mut words: Vec<String> =
            flags.map(|flag| flag.to_string_lossy().into_owned()).collect();
        words.extend(self.data.iter().map(|(key, value)| match value {
            Some(value) => format!("{}={}", key.to_string_lossy(), value.to_string_lossy()),
            None => key.to_string_lossy().into_owned(),
        }));
        if self.old & mount_options::old::I_VERSION != 0 {
            words.push("iversion".to_owned());
        }
        (!words.is_empty()).then(|| words.join(","))
    }

    /// fsconfig(2) takes no longer values and has no words for some flags.
    pub fn needs_old_mount(&self) -> bool {
        const LONGEST: usize = 255;
        let long = |value: &CString| value.count_bytes() > LONGEST;
        self.old != 0 || self.data.iter().any(|(_, value)| value.as_ref().is_some_and(long))
    }
}

impl MountPlan {
    pub fn is_bind(&self) -> bool {
        matches!(self.source, Source::Tree(_))
    }
}

/// What all mounts have in common.
pub(crate) struct Surroundings<'a> {
    pub input: &'a Input<'a>,
    pub namespaces: &'a Namespaces,
    /// Of every mount in the new namespace.
    pub propagation: u64,
    /// `linux.mountLabel`
    pub label: Option<CString>,
}

/// Turns the list into plans, in its order.
pub(crate) fn plan(mounts: &[Mount], all: &Surroundings<'_>) -> Result<Vec<MountPlan>, Error> {
    each(mounts.iter().enumerate().map(|(index, mount)| plan_one(index, mount, all)))
}

/// One entry, and how its fields are named.
pub(super) struct One<'a> {
    index: usize,
    pub mount: &'a Mount,
}

impl One<'_> {
    pub fn field(&self, name: &str) -> String {
        format!("mounts[{}].{name}", self.index)
    }

    pub fn invalid(&self, name: &str, reason: impl Into<String>) -> Error {
        Error::invalid(self.field(name), reason)
    }
}

fn plan_one(index: usize, mount: &Mount, all: &Surroundings<'_>) -> Result<MountPlan, Error> {
    let mut report = Report::default();
    let one = One { index, mount };
    let mut options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let bind = options.bind || fstype == "bind";
    let destination = report.take(destination(&one, fstype, &options));
    report.take(check_options(&one, &options, fstype, bind));
    let late_readonly = fstype == "tmpfs" && !bind && !options.remount && options.delay_readonly();
    let idmap = report.take(id_mapped::plan(&one, &options, bind, all.namespaces));
    let source = if options.remount {
        remount(&one, fstype, &options, bind, all)
    } else if bind {
        bound(&one, &options, idmap, all).map(Source::Tree)
    } else if fstype == "cgroup" {
        cgroup_mount::plan(&one, &options, all).map(Source::Cgroup)
    } else if fstype == "proc" && all.namespaces.has(flag::USER) && !all.namespaces.has(flag::PID) {
        // Of a pid namespace that the user namespace does not own, the kernel makes no new procfs.
        bound_procfs(&one, &options, all).map(Source::Tree)
    } else {
        filesystem(&one, fstype, &options, all).map(Source::New)
    };
    let source = report.keep(source);
    let mut changes = options.propagation;
    if !matches!(source, Some(Source::Tree(_))) && options.all != SetAttr::default() {
        changes.push(options.all);
    }
    let what = if fstype.is_empty() { "bind" } else { fstype };
    report.finish(source.map(|source| MountPlan {
        name: Name { index, what: format!("{what} on /{destination}") },
        destination,
        source,
        attributes: options.top.set,
        late_readonly,
        copy_up: options.copy_up,
        changes,
    }))
}

fn destination(one: &One<'_>, fstype: &str, options: &Options) -> Result<String, Error> {
    let given = one.mount.destination().to_string_lossy();
    let refuse = |reason: String| Err(one.invalid("destination", reason));
    let destination = relative(&given);
    if destination.is_empty() && !may_be_root(one.index, &given, fstype, options) {
        return refuse(format!(
            "{given:?} is the root itself, which only the first mount can cover, a file system of \
             its own or a bind mount"
        ));
    }
    if destination.contains('\0') {
        return refuse(format!("{given:?} has a NUL byte"));
    }
    match check_proc(&destination, fstype, options) {
        Ok(()) => Ok(destination),
        Err(reason) => refuse(reason),
    }
}

fn check_options(one: &One<'_>, options: &Options, fstype: &str, bind: bool) -> Result<(), Error> {
    let mut report = Report::default();
    let words = options.data.join(",");
    if bind && !words.is_empty() {
        let reason = format!("{words:?} is for a file system of its own, not for a bind mount");
        report.add(one.field("options"), reason);
    }
    if options.copy_up && (bind || fstype != "tmpfs" || options.remount) {
        report.add(one.field("options"), "\"tmpcopyup\" is for a new tmpfs only");
    }
    report.finish(Some(()))
}

impl Options {
    /// Takes "read-only" out, to be done later; whether it was there.
    fn delay_readonly(&mut self) -> bool {
        let delayed = (self.top.set | self.all.set) & attr::RDONLY != 0;
        if delayed {
            self.superblock.retain(|&flag| flag != "ro");
            self.top.set &= !attr::RDONLY;
            self.all.set &= !attr::RDONLY;
        }
        delayed
    }
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

/// The rootfs as an overlay that the runtime mounts: a user without root has no other, as it is mounted
/// in the container's user namespace. Later than first, it would hide what is mounted already.
fn may_be_root(index: usize, given: &str, fstype: &str, options: &Options) -> bool {
    let special = ["", "cgroup", "cgroup2", "mqueue", "proc", "sysfs"].contains(&fstype);
    index == 0 && !given.is_empty() && !options.remount && (options.bind || !special)
}

/// /proc must stay the kernel's: nothing is mounted in it but what lxcfs makes, nothing but procfs on
/// it. Init checks again where a path really leads.
fn check_proc(destination: &str, fstype: &str, options: &Options) -> Result<(), String> {
    match destination.strip_prefix("proc") {
        Some("") if fstype == "proc" || options.bind => Ok(()),
        // What is no type at all is told of that.
        Some("") if fstype.is_empty() || fstype.contains('\0') => Ok(()),
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

fn bound(
    one: &One<'_>,
    options: &Options,
    idmap: Option<IdMap>,
    all: &Surroundings<'_>,
) -> Result<HostTree, Error> {
    let source = one.mount.source().as_ref().filter(|source| !source.as_os_str().is_empty());
    let Some(source) = source else {
        return Err(one.invalid("source", "missing: a bind mount needs a source"));
    };
    let implied = if options.top_given { options.implied() } else { 0 };
    let path = all.input.bundle.path.join(source);
    // What covers the root is the root: as that, a shared one is a peer group of its own.
    let is_root = relative(&one.mount.destination().to_string_lossy()).is_empty();
    let apart = match all.propagation {
        mount_options::propagation::SHARED if is_root => {
            cut_off(mount_options::propagation::PRIVATE, options.recursive)
        }
        // The mount that the rootfs is on is private in the container's namespace, and so what is bound
        // from it; what is mounted below is not.
        mount_options::propagation::SHARED if with_rootfs(&path, all) => {
            cut_off(mount_options::propagation::PRIVATE, false)
        }
        propagation => cut_off(propagation, options.recursive),
    };
    let changes = [apart.into(), Change { asked: options.top, implied }, options.all.into()];
    let mut tree = HostTree::new(&path, options.recursive, changes)
        .map_err(|_| one.invalid("source", format!("{source:?} has a NUL byte")))?;
    tree.idmap = idmap;
    Ok(tree)
}

/// Is it on the mount that the rootfs is on? What can't be opened shows when it is bound.
fn with_rootfs(path: &Path, all: &Surroundings<'_>) -> bool {
    let mount = |path: &Path| {
        let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        sys::file::mount_id(file.as_fd()).ok()
    };
    let rootfs = all.input.bundle.rootfs().ok().and_then(|rootfs| mount(&rootfs));
    rootfs.is_some() && rootfs == mount(path)
}

fn bound_procfs(
    one: &One<'_>,
    options: &Options,
    all: &Surroundings<'_>,
) -> Result<HostTree, Error> {
    let new = filesystem(one, "proc", options, all)?;
    if let Some(words) = new.words_of_its_own() {
        let reason = format!(
            "{words:?} is for a new procfs: with a user namespace and the pid namespace of others, \
             proc is a bind of the host's"
        );
        return Err(one.invalid("options", reason));
    }
    let changes = [cut_off(all.propagation, true).into(), options.top.into(), options.all.into()];
    HostTree::new(Path::new("/proc"), true, changes)
}

/// What separates a copied tree from the host's propagation, as the container's mount namespace is.
pub(crate) fn cut_off(propagation: u64, recursive: bool) -> SetAttr {
    match propagation {
        mount_options::propagation::SHARED => SetAttr::default(),
        propagation => SetAttr { propagation, recursive, ..SetAttr::default() },
    }
}

/// One of the type `fstype`, as the entry has its options.
pub(super) fn filesystem(
    one: &One<'_>,
    fstype: &str,
    options: &Options,
    all: &Surroundings<'_>,
) -> Result<Filesystem, Error> {
    if fstype.is_empty() {
        return Err(one.invalid("type", "missing: only bind mounts go without"));
    }
    let string = |name: &str, value: &[u8]| {
        let reason = || format!("{:?} has a NUL byte", String::from_utf8_lossy(value));
        CString::new(value).map_err(|_| one.invalid(name, reason()))
    };
    let source = one.mount.source().as_deref().unwrap_or(Path::new(fstype));
    let mut data = Vec::new();
    let words = options.data.iter().flat_map(|words| words.split(','));
    for word in words.filter(|word| !word.is_empty()) {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(string("options", value.as_bytes())?)),
            None => (word, None),
        };
        data.push((string("options", key.as_bytes())?, value));
    }
    let flags = options.superblock.iter().map(|flag| string("options", flag.as_bytes()));
    // These have labels of their own; the queues' root is labelled once it is there.
    let labelled = !["proc", "sysfs"].contains(&fstype);
    Ok(Filesystem {
        fstype: string("type", fstype.as_bytes())?,
        source: string("source", source.as_os_str().as_bytes())?,
        flags: flags.collect::<Result<_, _>>()?,
        old: options.old,
        data,
        label: all.label.clone().filter(|_| labelled),
    })
}

/// With the file system's options it is as with mount(2): it becomes writable unless some word says
/// otherwise. What it is labelled with can't change.
fn remount(
    one: &One<'_>,
    fstype: &str,
    options: &Options,
    bind: bool,
    all: &Surroundings<'_>,
) -> Result<Source, Error> {
    let change = Change { asked: options.top, implied: options.implied() };
    if bind || fstype == "cgroup" {
        return Ok(Source::Remount { change, superblock: None });
    }
    let mut filesystem = filesystem(one, fstype, options, all)?;
    filesystem.label = None;
    if !options.superblock.iter().any(|flag| ["ro", "rw"].contains(flag)) {
        filesystem.flags.push(c"rw".to_owned());
    }
    Ok(Source::Remount { change, superblock: Some(filesystem) })
}
