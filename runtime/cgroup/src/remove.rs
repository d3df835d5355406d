//! Removes a container's cgroups.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::dir::{Dir, rmdir};
use crate::freeze::wait_for_event;
use crate::{Cgroup, Error, Result};

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
        let deadline = Instant::now() + PATIENCE;
        let mut first = Ok(());
        for hierarchy in &self.hierarchies {
            let result = remove_tree(&hierarchy.dir(), hierarchy.is_unified(), deadline);
            first = first.and(result);
        }
        first
    }
}

/// Removes a cgroup and all below it, the lowest first.
fn remove_tree(path: &Path, unified: bool, deadline: Instant) -> Result<()> {
    if try_remove(path)? {
        return Ok(());
    }
    let children = match Dir::open_if_there(path)? {
        Some(dir) => dir.children(),
        None => return Ok(()),
    };
    match children {
        Ok(children) => {
            for child in children {
                remove_tree(&path.join(child), unified, deadline)?;
            }
        }
        Err(Error::Read { source: Errno::ENOENT | Errno::ENODEV, .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut pause = PAUSE.0;
    while !try_remove(path)? {
        let now = Instant::now();
        if now >= deadline {
            return Err(match crate::pids::below(path)?.len() {
                0 => Error::Remove { path: path.into(), source: Errno::EBUSY },
                count => Error::NotEmpty { path: path.into(), count },
            });
        }
        if unified {
            wait_empty(path, deadline)?;
        }
        // On v2 this is for the moment between the last process's exit and the directory's release.
        std::thread::sleep(pause.min(deadline - now));
        pause = (pause * 2).min(PAUSE.1);
    }
    Ok(())
}

/// Removes a directory; says whether it is gone.
fn try_remove(path: &Path) -> Result<bool> {
    match rmdir(path) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(false),
        Err(Errno::EINTR) => Ok(false),
        // A read-only mount says so before it looks whether there is anything.
        Err(Errno::EROFS) if !path.exists() => Ok(true),
        Err(source) => Err(Error::Remove { path: path.into(), source }),
    }
}

/// Waits until a v2 cgroup has no processes.
fn wait_empty(path: &Path, deadline: Instant) -> Result<()> {
    match Dir::open_if_there(path)? {
        Some(dir) => wait_for_event(&dir, "populated 0", deadline).map(drop),
        None => Ok(()),
    }
}
