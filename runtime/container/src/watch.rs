//! What happens to a container while somebody looks on.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use cgroup::OomWatch;
use cgroup::stats::Stats;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::container::Container;
use crate::error::{Context, Error};

/// What [`Watch::wait`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The kernel ran out of the memory that the container may have.
    Oom,
    /// The container's process has ended.
    Stopped,
    /// Nothing, in all that time.
    Nothing,
}

/// A container under watch.
#[derive(Debug)]
pub struct Watch {
    init: OwnedFd,
    oom: Option<OomWatch>,
}

impl Container {
    /// What it has used so far.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(self.state.cgroup.stats()?)
    }

    /// Watches it from now on; none when it has stopped.
    pub fn watch(&self) -> Result<Option<Watch>, Error> {
        let oom = self.state.cgroup.watch_oom()?;
        Ok(self.init()?.map(|init| Watch { init, oom }))
    }
}

impl Watch {
    /// Waits for the next event, until `deadline` at the latest.
    pub fn wait(&mut self, deadline: Instant) -> Result<Event, Error> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let oom = self.oom.as_ref().map(|oom| PollFd::new(oom.as_fd(), PollFlags::POLLIN));
            let init = PollFd::new(self.init.as_fd(), PollFlags::POLLIN);
            let mut fds: Vec<PollFd<'_>> = [init].into_iter().chain(oom).collect();
            match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => continue,
                result => result.context(|| "wait for the container's events")?,
            };
            let ended = fds.first().and_then(PollFd::any).unwrap_or(false);
            // What ended it may have been this, and is told first.
            if let Some(oom) = &mut self.oom
                && oom.has_fired()?
            {
                return Ok(Event::Oom);
            }
            if ended {
                return Ok(Event::Stopped);
            }
            if Instant::now() >= deadline {
                return Ok(Event::Nothing);
            }
        }
    }
}
