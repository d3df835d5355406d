//! Signals all of a container's processes.

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::dir::Dir;
use crate::{Cgroup, Error, Mode, Result};

/// SIGKILL's number, the same on every architecture.
const SIGKILL: i32 = 9;

impl Cgroup {
    /// Sends a signal to every process, those in sub-cgroups too. SIGKILL is one write where there
    /// is a v2 hierarchy, and a frozen container dies of it too. For other signals, and on pure v1,
    /// the container is frozen meanwhile so that none escapes by forking.
    ///
    /// # Errors
    ///
    /// [`Error::Kill`] for the first process that could not be signalled; all were tried.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        if signal == SIGKILL && self.kill_at_once()? {
            return if self.mode == Mode::V2 { Ok(()) } else { self.thaw() };
        }
        let frozen = self.is_frozen()?;
        // Without a freezer, or with one that is wedged, signalling one by one is still the best.
        let hold = !frozen && self.freeze().is_ok();
        let result = self.signal_each(signal);
        if hold || (frozen && signal == SIGKILL) { result.and(self.thaw()) } else { result }
    }

    /// Writes `cgroup.kill` (kernel 5.14); says whether there is one.
    fn kill_at_once(&self) -> Result<bool> {
        let Some(hierarchy) = self.unified() else { return Ok(false) };
        let Some(dir) = Dir::open_if_there(&hierarchy.dir())? else { return Ok(false) };
        match dir.try_write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            // An older kernel; or a threaded cgroup, of which only the whole domain can be killed.
            Err(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV) => Ok(false),
            Err(source) => Err(dir.failed("cgroup.kill", "1", source)),
        }
    }

    fn signal_each(&self, signal: i32) -> Result<()> {
        let mut first = Ok(());
        for pid in self.pids()? {
            // A pidfd names this process for good, so the check below can't be of another one.
            let sent = sys::process::pidfd_open(pid)
                .and_then(|process| sys::process::pidfd_send_signal(process.as_fd(), signal));
            match sent {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(source) => {
                    let path = self.census().map(crate::Hierarchy::dir).unwrap_or_default();
                    first = first.and(Err(Error::Kill { path, signal, pid, source }));
                }
            }
        }
        first
    }
}
