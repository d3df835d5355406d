//! The state directories: one a container below the root directory, with what later commands need.
//!
//! ```text
//! <root>/<id>/          flock'ed by whoever changes the container
//!     state.json        written once the container is created; without it the id doesn't exist
//!     seccomp.bpf       the compiled profile, for exec
//!     exec.sock         created containers only: where init waits for start
//! ```

mod lock;
mod removal;
mod unread;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cgroup::Cgroup;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use oci_spec::runtime::{
    ExecCPUAffinity, Hook, LinuxCapabilities, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    PosixRlimit, Process, Scheduler,
};
use seccomp::Encoded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::container::Container;
use crate::error::{Context, Error};
use crate::intel_rdt::Groups;

pub(crate) use unread::Unread;

const STATE: &str = "state.json";
const SECCOMP: &str = "seccomp.bpf";
/// Where init waits for `start`.
const SOCKET: &str = "exec.sock";

/// How long a forced delete lets whoever changes the container finish.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// So few containers are listed sooner than a thread is there to help.
const MIN_SHARE: usize = 50;

/// How often a create may find its new directory taken for what a killed one has left, and removed.
const MAX_TRIES: usize = 100;

/// What is remembered of a container. Its status is not: that is found out each time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub id: String,
    pub oci_version: String,
    pub pid: i32,
    pub start_time: u64,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    pub owner: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub cgroup: Cgroup,
    /// The cgroup was made by this container's `create`. Before that, what is there is another's.
    #[serde(default = "yes")]
    pub owns_cgroup: bool,
    /// `linux.resources` for `update`, which has changed it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Unread>,
    /// `create` has come to its end: the process is in the container.
    pub ready: bool,
    /// `CLONE_NEW*` of the namespaces that `exec` joins.
    pub namespaces: u64,
    /// The container's pid namespace ends with its init, and every process in it.
    pub owns_pids: bool,
    /// Processes of the container join a session keyring of its own.
    pub own_keyring: bool,
    /// What an exec'ed process has unless told otherwise, [`Defaults`].
    pub process: Unread,
    /// Of every process of the container, as the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<LinuxMemoryPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<LinuxPersonality>,
    /// Of the seccomp profile, when that leaves system calls to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<Groups>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// States of before there was the field are those of whole containers.
fn yes() -> bool {
    true
}

/// The part of the container's process that exec'ed ones share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Defaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<LinuxCapabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rlimits: Option<Vec<PosixRlimit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<LinuxIOPriority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCPUAffinity>,
}

impl From<&Process> for Defaults {
    fn from(process: &Process) -> Defaults {
        Defaults {
            capabilities: process.capabilities().clone(),
            rlimits: process.rlimits().clone(),
            apparmor_profile: process.apparmor_profile().clone(),
            selinux_label: process.selinux_label().clone(),
            oom_score_adj: process.oom_score_adj(),
            umask: process.user().umask(),
            scheduler: process.scheduler().clone(),
            io_priority: *process.io_priority(),
            exec_cpu_affinity: process.exec_cpu_affinity().clone(),
        }
    }
}

/// The directory that holds all state directories.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Nothing is touched until a container is made.
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// Where the state directories are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Finds a container by its id.
    pub fn load(&self, id: &str) -> Result<Container, Error> {
        check_id(id)?;
        Container::open(Entry::open(&self.root.join(id), id)?)
    }

    /// What is wanted of each container, sorted by their ids. One that goes away meanwhile is left out.
    pub fn each<T: Send, E: From<Error> + Send>(
        &self,
        of: impl Fn(&Container) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let ids = self.ids()?;
        // All of it is system calls: a crowd of containers is shared among the processors.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let share = ids.len().div_ceil(processors).max(MIN_SHARE);
        let part = |ids: &[String]| -> Result<Vec<T>, E> {
            ids.iter().filter_map(|id| self.load_listed(id).transpose()).map(|c| of(&c?)).collect()
        };
        thread::scope(|scope| {
            let part = &part;
            let mut shares = ids.chunks(share);
            let own = shares.next().unwrap_or_default();
            let workers: Vec<_> = shares
                .map(|ids| {
                    let work = move || {
                        // Descriptors of its own: nothing is shared that would have to be locked.
                        let _ = sys::process::unshare(nix::libc::CLONE_FILES as u64);
                        part(ids)
                    };
                    (ids, thread::Builder::new().spawn_scoped(scope, work))
                })
                .collect();
            let mut all = part(own)?;
            for (ids, worker) in workers {
                // Without a thread, as where the pids are limited, it is done here.
                let worker = worker.ok().and_then(|worker| worker.join().ok());
                all.extend(worker.unwrap_or_else(|| part(ids))?);
            }
            Ok(all)
        })
    }

    /// The names of the state directories, sorted.
    fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(|| format!("list {}", self.root.display()))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.context(|| format!("list {}", self.root.display()))?;
            if let Ok(id) = entry.file_name().into_string()
                && check_id(&id).is_ok()
            {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn load_listed(&self, id: &str) -> Result<Option<Container>, Error> {
        match self.load(id) {
            Err(Error::NotFound) => Ok(None),
            // One that can't be read must not hide the others.
            Err(error @ Error::State { .. }) => {
                log::warn!("{error}");
                Ok(None)
            }
            container => container.map(Some),
        }
    }

    /// Makes the state directory of a new container, locked until it is dropped.
    pub(crate) fn reserve(&self, id: &str) -> Result<(Entry, Flock<OwnedFd>), Error> {
        check_id(id)?;
        for _ in 0..MAX_TRIES {
            let entry = self.make_directory(id)?;
            match entry.lock() {
                Err(Error::NotFound) => {}
                result => return result.map(|lock| (entry, lock)),
            }
        }
        Err(Error::AlreadyExists)
    }

    fn make_directory(&self, id: &str) -> Result<Entry, Error> {
        let path = self.root.join(id);
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .mode(0o711)
                    .recursive(true)
                    .create(&self.root)
                    .context(|| format!("create {}", self.root.display()))?;
                make()
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists);
            }
            made => made.context(|| format!("create {}", path.display()))?,
        }
        Entry::open(&path, id)
    }

    /// Removes the state directory of an id that has no readable state: what a `create` that was
    /// killed at once has left, or a broken file. Says whether the id is free now; if not, there is a
    /// container by now.
    pub fn remove_unreadable(&self, id: &str) -> Result<bool, Error> {
        check_id(id)?;
        let entry = match Entry::open(&self.root.join(id), id) {
            Err(Error::NotFound) => return Ok(true),
            entry => entry?,
        };
        // A create that is at work has it locked, and one that was killed until it has ended.
        match entry.lock_within(LOCK_PATIENCE) {
            Ok(Some(_lock)) if entry.load().is_ok() => Ok(false),
            Ok(Some(_lock)) => match entry.begin_removal(true)? {
                Some(removal) => entry.remove(&removal).map(|()| true),
                None => Ok(false),
            },
            Ok(None) => {
                Err(Error::system(format!("lock {}", entry.path.display()), Errno::ETIMEDOUT))
            }
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// runc's rule for ids, which are also file names.
///
/// # Errors
///
/// [`Error::InvalidId`].
pub fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id == "." || id == ".." || !id.chars().all(allowed) || id.len() > 255 {
        return Err(Error::InvalidId { id: id.to_owned() });
    }
    Ok(())
}

/// One state directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub id: String,
    path: PathBuf,
    dir: OwnedFd,
}

impl Entry {
    fn open(path: &Path, id: &str) -> Result<Entry, Error> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let dir = match nix::fcntl::open(path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(Error::NotFound),
            Err(errno) => return Err(Error::system(format!("open {}", path.display()), errno)),
        };
        let entry = Entry { id: id.to_owned(), path: path.to_owned(), dir };
        entry.check_owner()?;
        Ok(entry)
    }

    /// What is in there says what we signal, remove and run: only root and the caller may have written
    /// it.
    fn check_owner(&self) -> Result<(), Error> {
        let step = || format!("stat {}", self.path.display());
        let stat = nix::sys::stat::fstat(&self.dir).context(step)?;
        let (owner, mode) = (stat.st_uid, stat.st_mode & 0o7777);
        let ours = owner == 0 || owner == nix::unistd::geteuid().as_raw();
        if ours && mode & 0o022 == 0 {
            return Ok(());
        }
        let reason = format!(
            "{} belongs to user {owner} and has mode {mode:o}: others may have written to it",
            self.path.display()
        );
        Err(Error::State { id: self.id.clone(), reason })
    }

    /// Serialises those who change one container; released when dropped.
    pub fn lock(&self) -> Result<Flock<OwnedFd>, Error> {
        self.lock_within(lock::PATIENCE)?.ok_or_else(|| Error::Busy {
            id: self.id.clone(),
            holder: lock::holder(self.dir.as_fd()),
            seconds: lock::PATIENCE.as_secs(),
        })
    }

    /// As [`Entry::lock`], but none when somebody else keeps it for so long.
    pub fn lock_within(&self, patience: Duration) -> Result<Option<Flock<OwnedFd>>, Error> {
        self.lock_as(FlockArg::LockExclusiveNonblock, patience)
    }

    fn lock_as(&self, how: FlockArg, patience: Duration) -> Result<Option<Flock<OwnedFd>>, Error> {
        let lock = lock::within(self.dir.as_fd(), c".", how, patience)
            .context(|| format!("lock {}", self.path.display()))?;
        // Whoever had it before us may have removed the container, and another of its name may be
        // there by now.
        if lock.is_some() && self.is_gone()? { Err(Error::NotFound) } else { Ok(lock) }
    }

    /// Keeps out those who change the container, as [`Entry::lock_within`] does, but not each other.
    pub fn lock_shared_within(&self, patience: Duration) -> Result<Option<Flock<OwnedFd>>, Error> {
        self.lock_as(FlockArg::LockSharedNonblock, patience)
    }

    /// The directory has been removed, whatever its path leads to now.
    pub fn is_gone(&self) -> Result<bool, Error> {
        let stat =
            nix::sys::stat::fstat(&self.dir).context(|| format!("stat {}", self.path.display()))?;
        Ok(stat.st_nlink == 0)
    }

    pub fn load(&self) -> Result<State, Error> {
        let Some(text) = self.read(STATE)? else { return Err(Error::NotFound) };
        let failed = |reason: String| self.damaged(STATE, &reason);
        let state: State =
            serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        if state.id != self.id {
            return Err(failed(format!("it is of container {:?}", state.id)));
        }
        Ok(state)
    }

    /// A part of the state; `field` is its name there.
    pub fn decode<T: DeserializeOwned>(&self, field: &str, part: &Unread) -> Result<T, Error> {
        part.read().map_err(|error| self.damaged(STATE, &format_args!("{field}: {error}")))
    }

    fn damaged(&self, name: &str, reason: &dyn fmt::Display) -> Error {
        let reason = format!("{}: {reason}", self.path.join(name).display());
        Error::State { id: self.id.clone(), reason }
    }

    pub fn save(&self, state: &State) -> Result<(), Error> {
        self.draft(state)?;
        self.publish()
    }

    /// Writes a state that nobody sees before [`Self::publish`].
    pub fn draft(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_vec(state)
            .map_err(|error| Error::State { id: self.id.clone(), reason: error.to_string() })?;
        self.write_part(STATE, &text)
    }

    /// Makes the last draft the container's state.
    pub fn publish(&self) -> Result<(), Error> {
        self.rename_part(STATE)
    }

    /// Removes the last draft.
    pub fn discard(&self) -> Result<(), Error> {
        self.unlink(&part(STATE))
    }

    pub fn save_seccomp(&self, filter: &Encoded) -> Result<(), Error> {
        self.write_part(SECCOMP, filter.bytes())?;
        self.rename_part(SECCOMP)
    }

    pub fn load_seccomp(&self) -> Result<Option<Encoded>, Error> {
        let read = |bytes| Encoded::read(bytes).map_err(|error| self.damaged(SECCOMP, &error));
        self.read(SECCOMP)?.map(read).transpose()
    }

    /// The directory, for another process that has none of our descriptors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A short path to the socket: that of a Unix socket has room for 107 bytes only.
    pub fn socket(&self) -> PathBuf {
        self.file(SOCKET)
    }

    /// A short path to something in the directory, for the first thread: the workers of a list have
    /// descriptors of their own.
    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd()))
    }

    pub fn has_socket(&self) -> Result<bool, Error> {
        match nix::sys::stat::fstatat(&self.dir, SOCKET, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => {
                Err(Error::system(format!("stat {}/{SOCKET}", self.path.display()), errno))
            }
        }
    }

    pub fn remove_socket(&self) -> Result<(), Error> {
        self.unlink(SOCKET)
    }

    fn unlink(&self, name: &str) -> Result<(), Error> {
        let flag = nix::unistd::UnlinkatFlags::NoRemoveDir;
        match nix::unistd::unlinkat(&self.dir, name, flag) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(Error::system(format!("remove {}/{name}", self.path.display()), errno))
            }
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let step = || format!("read {}/{name}", self.path.display());
        match openat(&self.dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => read_whole(&mut File::from(fd)).map(Some).context(step),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::system(step(), errno)),
        }
    }

    /// A file is there whole or not at all: it is written under another name first.
    fn write_part(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let step = || self.writing(name);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let fd = openat(self.dir.as_fd(), part(name).as_str(), flags, mode).context(step)?;
        io::Write::write_all(&mut File::from(fd), content).context(step)
    }

    fn rename_part(&self, name: &str) -> Result<(), Error> {
        renameat(&self.dir, part(name).as_str(), &self.dir, name).context(|| self.writing(name))
    }

    fn writing(&self, name: &str) -> String {
        format!("write {}/{name}", self.path.display())
    }
}

fn part(name: &str) -> String {
    format!("{name}.part")
}

/// Reads to the end, in one call where the file is small: it is never written again.
fn read_whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = vec![0; 8192];
    let mut length = 0;
    loop {
        let count = io::Read::read(file, &mut text[length..])?;
        length += count;
        if length < text.len() {
            text.truncate(length);
            return Ok(text);
        }
        text.resize(2 * length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names() {
        for id in ["a", "A_1+2-3.4", "..a"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", "a\0"] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }
}
