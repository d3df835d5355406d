//! Waiting for the word of an exec'ed process, which a frozen cgroup may hold back, or a file system
//! that the container serves.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cgroup::Cgroup;
use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::error::{Context, Error};
use crate::process::Process;
use crate::sync::Channel;

/// How long a process may be held back by a frozen cgroup, and by whatever else once it is to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that is not held back has before it is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// What ends the wait for a process that is held back.
pub(super) enum End {
    /// It has been long enough.
    Deadline,
    /// A signal to end: the caller said that it may take its time.
    Signal(SignalFd),
}

impl End {
    /// A signal instead of the deadline for `patient` callers. Such signals are blocked from now on:
    /// one that comes once the process has begun is for whoever stays with it.
    pub fn of(patient: bool) -> Result<End, Error> {
        if !patient {
            return Ok(End::Deadline);
        }
        let endings = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
        let set = SigSet::from_iter(endings);
        set.thread_block().context(|| "block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(End::Signal).context(|| "signalfd")
    }

    fn timeout(&self) -> PollTimeout {
        match self {
            End::Deadline => PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX),
            End::Signal(_) => PollTimeout::NONE,
        }
    }

    fn error(&self, frozen: Option<PathBuf>) -> Error {
        let seconds = PATIENCE.as_secs();
        match (self, frozen) {
            (End::Signal(signals), Some(cgroup)) => {
                Error::ExecEnded { cgroup, signal: name(signals) }
            }
            (End::Signal(signals), None) => Error::ExecStuck { signal: name(signals), seconds },
            (End::Deadline, cgroup) => {
                Error::ExecFrozen { cgroup: cgroup.unwrap_or_default(), seconds }
            }
        }
    }
}

/// The signal that has come.
fn name(signals: &SignalFd) -> &'static str {
    let signal = signals.read_signal().ok().flatten();
    let signal = signal.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok());
    signal.map_or("a signal", Signal::as_str)
}

/// Waits for a message, but not for ever in a cgroup that the container, or somebody above it, has
/// frozen. Anything else may take its time, until a signal has come.
pub(super) fn await_word(
    cgroup: &Cgroup,
    process: &Process,
    channel: &Channel,
    end: &End,
) -> Result<(), Error> {
    let pid = Pid::from_raw(process.pid);
    let mut last = None;
    loop {
        let mut fds = vec![PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        let mut timeout = end.timeout();
        match end {
            End::Signal(_) if last.is_some() => {
                timeout = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::MAX);
            }
            End::Signal(signals) => fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN)),
            End::Deadline => {}
        }
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Error::system("wait for the process", errno)),
        }
        if fds[0].any().unwrap_or(true) {
            return Ok(());
        }
        // One that has ended is in no cgroup: its end is to be read next.
        let frozen = cgroup.frozen_around(pid).ok().flatten();
        if frozen.is_some() || last.is_some_and(|last| Instant::now() > last) {
            // It is our child and not reaped: it is there, and ours to kill.
            let _ = sys::process::pidfd_send_signal(process.pidfd.as_fd(), SIGKILL);
            // On v1 a frozen process does not even die. Where it can't be let go, it dies once thawed.
            let _ = cgroup.let_go(pid);
            return Err(end.error(frozen));
        }
        if matches!(end, End::Signal(_)) {
            // The signal stays where it is: the process may be about to begin, and have it.
            last.get_or_insert_with(|| Instant::now() + PATIENCE);
        }
    }
}
