//! What can go wrong with a container's cgroup.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::BusError;

/// Says what failed on which object; the kernel's reason, if there is one, is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a v2 hierarchy nor the tmpfs that holds the v1 ones.
    #[error("no cgroup hierarchy is mounted at {}", path.display())]
    NotMounted {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// What is to name a cgroup below the container's does not.
    #[error("cgroup {text:?} {reason}")]
    SubCgroup {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A line of one of the kernel's files is not of the form it has.
    #[error("{}: can't read the line {line:?}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// The runtime's own process has no place in a hierarchy that the container is to share.
    #[error("{}: no line for the v2 hierarchy", path.display())]
    NoMembership {
        /// The file.
        path: PathBuf,
    },
    /// `linux.cgroupsPath` is the root, or the cgroup of the runtime itself.
    #[error("linux.cgroupsPath {}: not a cgroup of the container's own", path.display())]
    NotOwn {
        /// The value.
        path: PathBuf,
    },
    /// Opening a directory or a file.
    #[error("cgroup {}: open", path.display())]
    Open {
        /// What was opened.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Reading a file.
    #[error("cgroup {}: read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Writing a file.
    #[error("cgroup {}: write {value:?} to {file}", path.display())]
    Write {
        /// The cgroup's directory.
        path: PathBuf,
        /// The file in it.
        file: String,
        /// What was written.
        value: String,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// A limit for a controller that this cgroup does not have.
    #[error("cannot set {file} to {value:?}: controller {controller:?} not available")]
    NoController {
        /// The controller.
        controller: String,
        /// The file that sets the limit.
        file: String,
        /// The limit.
        value: String,
    },
    /// Making the directory.
    #[error("cgroup {}: mkdir", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// The directory was there already, with processes in it.
    #[error("container's cgroup is not empty: {count} process(es) found in {}", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// How many processes, sub-cgroups included.
        count: usize,
    },
    /// The directory was there already, and frozen.
    #[error("container's cgroup {} is unexpectedly frozen", path.display())]
    Frozen {
        /// The directory.
        path: PathBuf,
    },
    /// A parent's processes force the cgroup into threaded mode, which these limits can't have.
    #[error("cgroup {} is {kind:?}: it can't have memory, io or hugetlb limits", path.display())]
    Threaded {
        /// The directory.
        path: PathBuf,
        /// The content of `cgroup.type`.
        kind: String,
    },
    /// A value in `linux.resources` that can't be turned into a limit.
    #[error("linux.resources.{field}: {value:?} {reason}")]
    Invalid {
        /// The field, below `linux.resources`.
        field: String,
        /// Its value.
        value: String,
        /// The rule.
        reason: &'static str,
    },
    /// A limit that the kernel does not take, or has no file for.
    #[error("linux.resources.{field}")]
    Limit {
        /// The field, below `linux.resources`.
        field: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// A change that failed, of which a part is in force all the same.
    #[error("not all limits of before could be set again ({undo})")]
    NotUndone {
        /// What could not be put back, and why.
        undo: String,
        /// Why the change failed.
        #[source]
        error: Box<Error>,
    },
    /// Several invalid values at once.
    #[error("{}", .0.iter().map(Error::to_string).collect::<Vec<_>>().join("; "))]
    Many(Vec<Error>),
    /// `linux.cgroupsPath` is no path, or for a container in a systemd scope does not name one.
    #[error("linux.cgroupsPath {:?} {reason}", path.display().to_string())]
    ScopePath {
        /// The value.
        path: PathBuf,
        /// The rule.
        reason: &'static str,
    },
    /// An annotation that is to be a property of the scope.
    #[error("annotations[{key}]: {value:?}: {reason}")]
    Annotation {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit that can't be told to systemd.
    #[error("linux.resources.{field}: cannot set {file} to {value:?} through systemd")]
    NoProperty {
        /// The field, below `linux.resources`.
        field: String,
        /// The file that sets the limit.
        file: String,
        /// The limit.
        value: String,
    },
    /// systemd is not this machine's init.
    #[error("systemd cgroup flag passed, but systemd is not running on this host")]
    NoSystemd,
    /// systemd with v1 hierarchies.
    #[error("systemd cgroup flag passed, but this host is not on cgroup v2")]
    SystemdOnV1,
    /// systemd did not do something to a scope.
    #[error("systemd: {action} unit {unit}")]
    Unit {
        /// What was to be done.
        action: &'static str,
        /// The unit.
        unit: String,
        /// Why not.
        #[source]
        source: BusError,
    },
    /// systemd did not start a scope that has properties by annotations.
    #[error("{annotations}: systemd: start unit {unit}")]
    UnitProperties {
        /// Those that may be why, with their values.
        annotations: String,
        /// The unit.
        unit: String,
        /// Why not.
        #[source]
        source: BusError,
    },
    /// `linux.resources.unified` where there is no pure v2 hierarchy.
    #[error("linux.resources.unified: cannot be used on cgroup v1")]
    UnifiedOnV1,
    /// The memory limit is below what is in use, and `checkBeforeUpdate` is set or the kernel said so.
    #[error("cgroup {}: {file} of {limit} is below the {usage} bytes in use", path.display())]
    MemoryInUse {
        /// The directory.
        path: PathBuf,
        /// The limit's file.
        file: &'static str,
        /// The new limit, in bytes.
        limit: i64,
        /// What is in use, in bytes.
        usage: u64,
    },
    /// Loading the device filter.
    #[error("cgroup {}: load the device filter ({instructions} instructions)", path.display())]
    LoadFilter {
        /// The directory it is for.
        path: PathBuf,
        /// Its length.
        instructions: usize,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Attaching, replacing, listing or detaching device filters.
    #[error("cgroup {}: {action} the device filter", path.display())]
    Filter {
        /// The directory.
        path: PathBuf,
        /// What was done.
        action: &'static str,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Moving a process.
    #[error("cgroup {}: add process {pid}", path.display())]
    Join {
        /// The directory.
        path: PathBuf,
        /// The process.
        pid: i32,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Signalling a process.
    #[error("cgroup {}: send signal {signal} to process {pid}", path.display())]
    Kill {
        /// The directory.
        path: PathBuf,
        /// The signal's number.
        signal: i32,
        /// The process.
        pid: i32,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// There is neither a v1 freezer nor a v2 hierarchy.
    #[error("cannot freeze: the container has no freezer cgroup")]
    NoFreezer,
    /// The processes did not reach the state in time, as one that sleeps uninterruptibly does not.
    #[error("cgroup {}: still not {state} after {seconds} s", path.display())]
    Wedged {
        /// The directory.
        path: PathBuf,
        /// "frozen" or "thawed".
        state: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Removing the directory.
    #[error("cgroup {}: rmdir", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Waiting for an event of a v2 cgroup.
    #[error("cgroup {}: poll", path.display())]
    Wait {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Giving the directory to the container's root.
    #[error("cgroup {}: chown to {uid}", path.display())]
    Chown {
        /// The directory or file.
        path: PathBuf,
        /// The owner, as the host numbers it.
        uid: u32,
        /// Why not.
        #[source]
        source: Errno,
    },
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The errors as one, if there are any.
    pub(crate) fn all(errors: Vec<Error>) -> Result<()> {
        if errors.is_empty() { Ok(()) } else { Err(Error::several(errors)) }
    }

    /// One error as it is; those that are several are taken apart.
    pub(crate) fn several(errors: Vec<Error>) -> Error {
        let mut flat = Vec::new();
        for error in errors {
            match error {
                Error::Many(several) => flat.extend(several),
                error => flat.push(error),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { Error::Many(flat) }
    }

    /// The fields of all that it tells.
    pub(crate) fn fields(self) -> Vec<String> {
        let errors = match self {
            Error::Many(several) => several,
            error => vec![error],
        };
        errors.iter().filter_map(Error::field).collect()
    }

    /// With its causes, on one line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

    /// Whether the value is wrong on every host.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        matches!(
            self,
            Error::Invalid { .. }
                | Error::UnifiedOnV1
                | Error::NotOwn { .. }
                | Error::ScopePath { .. }
                | Error::Annotation { .. }
                | Error::NoProperty { .. }
        )
    }

    /// The field of config.json that it is about.
    #[must_use]
    pub fn field(&self) -> Option<String> {
        match self {
            Error::Invalid { field, .. }
            | Error::Limit { field, .. }
            | Error::NoProperty { field, .. } => Some(format!("linux.resources.{field}")),
            Error::UnifiedOnV1 => Some("linux.resources.unified".to_owned()),
            Error::NotOwn { .. } | Error::ScopePath { .. } => Some("linux.cgroupsPath".to_owned()),
            Error::Annotation { key, .. } => Some(format!("annotations[{key}]")),
            _ => None,
        }
    }
}
