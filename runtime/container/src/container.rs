//! A container that exists: what is known of it, and what can be done to it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, poll};

use crate::census;
use crate::error::{Context, Error};
use crate::hooks;
use crate::process::Stat;
use crate::store::{Entry, LOCK_PATIENCE, State};

/// How long a killed process may take to go away: it may be writing to a slow disk.
pub(crate) const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait before looking what keeps it, in milliseconds.
const KILL_TICK: u8 = 100;
/// How many processes to hold descriptors of at a time.
const CHUNK: usize = 256;

/// Where in its life a container is, see runtime.md "State".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// The process waits for `start`.
    Created,
    /// The process runs.
    Running,
    /// The processes are frozen.
    Paused,
    /// The process has ended.
    Stopped,
}

impl Status {
    /// As the runtime-spec writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A container of a store.
#[derive(Debug)]
pub struct Container {
    pub(crate) entry: Entry,
    pub(crate) state: State,
}

impl Container {
    pub(crate) fn new(entry: Entry, state: State) -> Container {
        Container { entry, state }
    }

    pub(crate) fn open(entry: Entry) -> Result<Container, Error> {
        let state = entry.load()?;
        Ok(Container { entry, state })
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// The directory it was made from.
    pub fn bundle(&self) -> &Path {
        &self.state.bundle
    }

    /// Its root directory on the host.
    pub fn rootfs(&self) -> &Path {
        &self.state.rootfs
    }

    /// When it was made, RFC 3339 with nanoseconds.
    pub fn created(&self) -> &str {
        &self.state.created
    }

    /// The user ID that made it.
    pub fn owner(&self) -> u32 {
        self.state.owner
    }

    /// The configuration's annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.state.annotations
    }

    /// The version of the runtime-spec that its state follows.
    pub fn oci_version(&self) -> &str {
        &self.state.oci_version
    }

    /// Init's process ID, 0 when its end was what [`Container::status`] found.
    pub fn pid(&self, status: Status) -> i32 {
        if status == Status::Stopped { 0 } else { self.state.pid }
    }

    /// Found out anew each time: from the process, the freezer and the socket init waits on.
    pub fn status(&self) -> Result<Status, Error> {
        if self.state.pid == 0 {
            // `create` is at work, or was killed before it had a process.
            Ok(Status::Creating)
        } else if !self.init_is_there() {
            Ok(Status::Stopped)
        } else if !self.state.ready {
            Ok(Status::Creating)
        } else if self.state.cgroup.is_frozen()? {
            Ok(Status::Paused)
        } else if self.entry.has_socket()? {
            Ok(Status::Created)
        } else {
            Ok(Status::Running)
        }
    }

    fn init_is_there(&self) -> bool {
        self.state.pid != 0
            && Stat::read(self.state.pid)
                .is_some_and(|stat| !stat.ended() && stat.start_time == self.state.start_time)
    }

    /// A handle on init, which can't be confused with a later process of the same number.
    pub(crate) fn init(&self) -> Result<Option<OwnedFd>, Error> {
        if self.state.pid == 0 {
            return Ok(None);
        }
        match sys::process::pidfd_open(self.state.pid) {
            Ok(pidfd) => Ok(self.init_is_there().then_some(pidfd)),
            Err(Errno::ESRCH) => Ok(None),
            Err(errno) => Err(Error::system("pidfd_open of the container's init", errno)),
        }
    }

    /// Sends a signal to init, or to every process of the container.
    pub fn kill(&self, signal: i32, all: bool) -> Result<(), Error> {
        let init = self.init()?;
        // Without a pid namespace of its own, the processes do not end with init.
        if all || signal == SIGKILL && !self.state.owns_pids && self.has_cgroup() {
            if init.is_none() && !all && self.pids()?.is_empty() {
                return Err(Error::NotRunning);
            }
            return self.kill_all(signal);
        }
        let init = init.ok_or(Error::NotRunning)?;
        match sys::process::pidfd_send_signal(init.as_fd(), signal) {
            Err(Errno::ESRCH) => return Err(Error::NotRunning),
            result => result.context(|| format!("send signal {signal} to the container's init"))?,
        }
        if signal == SIGKILL && self.state.cgroup.is_frozen()? {
            // On v1, a frozen process does not even die.
            self.state.cgroup.thaw()?;
        }
        Ok(())
    }

    fn kill_all(&self, signal: i32) -> Result<(), Error> {
        if self.has_cgroup() {
            return Ok(self.state.cgroup.kill_all(signal)?);
        }
        // Few descriptors at a time: a user may have a limit.
        self.pids()?.chunks(CHUNK).try_for_each(|pids| self.signal(pids, signal))
    }

    /// Sends it to those of the processes that are still the container's.
    fn signal(&self, pids: &[i32], signal: i32) -> Result<(), Error> {
        let opened = pids.iter().map(|pid| (*pid, sys::process::pidfd_open(*pid)));
        let opened: Vec<_> = opened.collect();
        // A pid may have become another's before it was opened. One that is counted after that, and
        // whose descriptor still takes a signal, has not.
        let counted = self.pids()?;
        for (pid, pidfd) in opened.into_iter().filter(|(pid, _)| counted.contains(pid)) {
            match pidfd.and_then(|pidfd| sys::process::pidfd_send_signal(pidfd.as_fd(), signal)) {
                Ok(()) | Err(Errno::ESRCH) => {}
                result => result.context(|| format!("send signal {signal} to process {pid}"))?,
            }
        }
        Ok(())
    }

    /// Not so where an unprivileged user may make none.
    fn has_cgroup(&self) -> bool {
        !self.state.cgroup.hierarchies().is_empty()
    }

    /// Removes all that there is of a stopped or created container; of any with `force`.
    pub fn delete(mut self, force: bool) -> Result<(), Error> {
        let lock = if force { self.lock_by_force()? } else { Some(self.entry.lock()?) };
        self.state = self.entry.load()?;
        match self.status()? {
            Status::Stopped => {}
            Status::Created => self.end()?,
            _ if force => self.end()?,
            status => {
                return Err(Error::NotStopped {
                    id: self.state.id.clone(),
                    status: status.as_str(),
                });
            }
        }
        let Some(removal) = self.entry.begin_removal(lock.is_some())? else { return Ok(()) };
        if self.state.owns_cgroup {
            if !self.state.owns_pids {
                self.state.cgroup.kill_all(SIGKILL)?;
            }
            self.state.cgroup.remove()?;
        }
        if let Some(groups) = &self.state.intel_rdt {
            groups.remove()?;
        }
        self.entry.remove(&removal)?;
        drop(removal);
        hooks::run_poststop(&self.state);
        Ok(())
    }

    /// Somebody may have the lock who waits for a hook that never ends. Without its processes it
    /// gives up, or is passed over.
    fn lock_by_force(&self) -> Result<Option<Flock<OwnedFd>>, Error> {
        if let Some(lock) = self.entry.lock_within(Duration::ZERO)? {
            return Ok(Some(lock));
        }
        self.end()?;
        if self.state.owns_cgroup
            && let Some(_removal) = self.entry.begin_removal(false)?
        {
            self.state.cgroup.kill_all(SIGKILL)?;
        }
        self.entry.lock_within(LOCK_PATIENCE)
    }

    /// Kills init and waits for its end.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let Some(init) = self.init()? else { return Ok(()) };
        match self.kill(SIGKILL, false) {
            Err(Error::NotRunning) => return Ok(()),
            result => result?,
        }
        let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
        let deadline = Instant::now() + KILL_DEADLINE;
        while poll(&mut fds, KILL_TICK).context(|| "wait for the container's init")? == 0 {
            if Instant::now() >= deadline {
                let what = "container init still running after SIGKILL";
                return Err(Error::system(what, Errno::ETIMEDOUT));
            }
            if self.state.cgroup.is_frozen()? {
                // A pause came between, and on v1 even the killed wait for its end.
                self.state.cgroup.thaw()?;
            }
        }
        Ok(())
    }

    /// Every process of the container, as host pids.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        if self.has_cgroup() {
            return Ok(self.state.cgroup.pids()?);
        }
        match self.init_is_there() {
            true if self.state.owns_pids => {
                let pids = census::in_pid_namespace_of(self.state.pid);
                // Ended meanwhile, it may have left its pid to another.
                if self.init_is_there() { pids } else { Ok(Vec::new()) }
            }
            true => Err(Error::Uncounted),
            false => Ok(Vec::new()),
        }
    }

    /// Freezes every process.
    pub fn pause(&self) -> Result<(), Error> {
        let _lock = self.entry.lock()?;
        match self.status()? {
            Status::Running | Status::Created => Ok(self.state.cgroup.freeze()?),
            _ => Err(Error::NotRunning),
        }
    }

    /// Lets frozen processes run on.
    pub fn resume(&self) -> Result<(), Error> {
        let _lock = self.entry.lock()?;
        match self.status()? {
            Status::Paused => Ok(self.state.cgroup.thaw()?),
            _ => Err(Error::NotPaused),
        }
    }
}
