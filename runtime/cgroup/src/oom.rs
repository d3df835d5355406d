//! Tells when the kernel has run out of memory that the container may have.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::dir::Dir;
use crate::{Cgroup, Error, Mode, Result};

/// Where v1 says it.
const CONTROL: &str = "memory.oom_control";
/// Where v2 says it.
const EVENTS: &str = "memory.events";

/// The memory of one container under watch.
#[derive(Debug)]
pub struct OomWatch(Kind);

#[derive(Debug)]
enum Kind {
    /// The eventfd counts. The file stays open as long as it is to do so.
    V1 { counter: EventFd, dir: Dir, _control: File },
    /// The file is written to, and has a count that only grows.
    V2 { inotify: Inotify, dir: Dir, seen: u64 },
}

impl Cgroup {
    /// Watches the memory from now on; none without a memory controller.
    ///
    /// # Errors
    ///
    /// When the controller's files can't be opened or watched.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let Some(path) = self.path_of("memory") else { return Ok(None) };
        let Some(dir) = Dir::open_if_there(&path)? else { return Ok(None) };
        let file = if self.mode == Mode::V2 { EVENTS } else { CONTROL };
        let failed = |source| Error::Read { path: path.join(file), source };
        let control = match dir.file(file, OFlag::O_RDONLY) {
            Err(Errno::ENOENT) => return Ok(None),
            control => control.map_err(failed)?,
        };
        if self.mode == Mode::V2 {
            let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
            let inotify = Inotify::init(flags).map_err(failed)?;
            inotify.add_watch(&path.join(file), AddWatchFlags::IN_MODIFY).map_err(failed)?;
            let seen = kills(&dir)?;
            return Ok(Some(OomWatch(Kind::V2 { inotify, dir, seen })));
        }
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let counter = EventFd::from_value_and_flags(0, flags).map_err(failed)?;
        let (event, control_fd) = (counter.as_raw_fd(), control.as_raw_fd());
        dir.write("cgroup.event_control", &format!("{event} {control_fd}"))?;
        Ok(Some(OomWatch(Kind::V1 { counter, dir, _control: control })))
    }
}

/// How many processes of a v2 cgroup were killed for want of memory. None any more in one that is
/// gone.
fn kills(dir: &Dir) -> Result<u64> {
    let text = match dir.try_read(EVENTS) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(0),
        text => text.map_err(|source| Error::Read { path: dir.path.join(EVENTS), source })?,
    };
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
}

impl OomWatch {
    /// Whether it has happened since this was last asked. It does not wait.
    ///
    /// # Errors
    ///
    /// When the count can't be read.
    pub fn has_fired(&mut self) -> Result<bool> {
        match &mut self.0 {
            // The end of the cgroup is told as well.
            Kind::V1 { counter, dir, .. } => {
                Ok(counter.read().is_ok() && dir.file(CONTROL, OFlag::O_PATH).is_ok())
            }
            Kind::V2 { inotify, dir, seen } => {
                // What they say is read from the file; here they are only cleared.
                while inotify.read_events().is_ok() {}
                let now = kills(dir)?;
                let fired = now > *seen;
                *seen = now;
                Ok(fired)
            }
        }
    }
}

impl AsFd for OomWatch {
    /// Can be read from when there may be something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::V1 { counter, .. } => counter.as_fd(),
            Kind::V2 { inotify, .. } => inotify.as_fd(),
        }
    }
}
