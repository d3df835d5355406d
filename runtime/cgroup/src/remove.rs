//! Removes a container's cgroups.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::dir::Dir;
use crate::freeze::wait_for_event;
use crate::tree::walk;
use crate::{Cgroup, Error, Result, systemd};

/// How long processes that were killed may take to leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first and the longest pause where v1, which has no event, is asked again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

impl Cgroup {
    /// Removes the directories and all below them, waiting at most 5 s for processes that are about
    /// to leave. What is gone already is fine; parents stay. It kills nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`] when processes stay; [`Error::Remove`]. The other hierarchies are removed
    /// in any case; the first error is returned.
    pub fn remove(&self) -> Result<()> {
        // What systemd can't be asked to forget, it forgets by itself once the directory is empty; or,
        // a scope that failed, when it is told to. The directory is what counts here.
        let stopped = self.scope.as_ref().map_or(Ok(()), systemd::Scope::stop);
        let deadline = Instant::now() + PATIENCE;
        let mut first = Ok(());
        for hierarchy in &self.hierarchies {
            let result = remove_tree(&hierarchy.dir(), hierarchy.is_unified(), deadline);
            first = first.and(result);
        }
        match stopped {
            Err(error) if !is_unreachable(&error) => first.and(Err(error)),
            _ => first,
        }
    }
}

/// Whether systemd could not even be asked.
fn is_unreachable(error: &Error) -> bool {
    use crate::BusError::{Connect, NoAddress};
    matches!(error, Error::Unit { source: NoAddress { .. } | Connect { .. }, .. })
}

/// Removes a cgroup and all below it, the lowest first.
fn remove_tree(path: &Path, unified: bool, deadline: Instant) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Remove { path: path.into(), source: Errno::EINVAL });
    };
    let Some(parent) = Dir::open_if_there(parent)? else { return Ok(()) };
    if try_remove(&parent, name)? {
        return Ok(());
    }
    let Some(top) = parent.child(name)? else { return Ok(()) };
    walk(top, |_| Ok(()), |parent, name| remove_one(parent, name, unified, deadline))?;
    remove_one(&parent, name, unified, deadline)
}

/// Removes a cgroup that has none below it, as soon as it is empty.
fn remove_one(parent: &Dir, name: &OsStr, unified: bool, deadline: Instant) -> Result<()> {
    let mut pause = PAUSE.0;
    while !try_remove(parent, name)? {
        let Some(dir) = parent.child(name)? else { return Ok(()) };
        let path = dir.path.clone();
        if unified {
            wait_for_event(&dir, &["populated 0"], deadline)?;
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(match crate::pids::of_tree(dir)?.len() {
                0 => Error::Remove { path, source: Errno::EBUSY },
                count => Error::NotEmpty { path, count },
            });
        }
        // On v2 this is for the moment between the last process's exit and the directory's release.
        std::thread::sleep(pause.min(deadline - now));
        pause = (pause * 2).min(PAUSE.1);
    }
    Ok(())
}

/// Removes a directory; says whether it is gone.
fn try_remove(parent: &Dir, name: &OsStr) -> Result<bool> {
    match parent.remove(name) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EBUSY | Errno::ENOTEMPTY | Errno::EINTR) => Ok(false),
        // A read-only mount says so before it looks whether there is anything.
        Err(Errno::EROFS) if parent.child(name)?.is_none() => Ok(true),
        Err(source) => Err(Error::Remove { path: parent.path.join(name), source }),
    }
}
