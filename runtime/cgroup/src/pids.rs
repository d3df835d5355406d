//! Lists a container's processes.

use std::path::Path;

use nix::errno::Errno;

use crate::dir::Dir;
use crate::tree::walk;
use crate::{Cgroup, Error, Result};

impl Cgroup {
    /// All processes, those in sub-cgroups too, in the order of their pids. None when the cgroup is
    /// gone.
    ///
    /// # Errors
    ///
    /// When a directory can't be read.
    pub fn pids(&self) -> Result<Vec<i32>> {
        match self.census() {
            Some(hierarchy) => below(&hierarchy.dir()),
            None => Ok(Vec::new()),
        }
    }
}

/// The processes of a cgroup and of those below it.
pub(crate) fn below(path: &Path) -> Result<Vec<i32>> {
    match Dir::open_if_there(path)? {
        Some(dir) => of_tree(dir),
        None => Ok(Vec::new()),
    }
}

/// As [`below`], of an open directory.
pub(crate) fn of_tree(top: Dir) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    walk(top, |dir| own(dir, &mut pids), |_, _| Ok(()))?;
    // A process that moves meanwhile may be listed twice.
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Adds the processes of one cgroup.
fn own(dir: &Dir, pids: &mut Vec<i32>) -> Result<()> {
    let text = match dir.try_read("cgroup.procs") {
        // A threaded cgroup's processes are listed in the domain it belongs to, threads here.
        Err(Errno::EOPNOTSUPP) => dir.try_read("cgroup.threads"),
        result => result,
    };
    match text {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // It was removed, which takes that it has no processes.
        Err(Errno::ENOENT | Errno::ENODEV) => {}
        Err(source) => return Err(Error::Read { path: dir.path.join("cgroup.procs"), source }),
    }
    Ok(())
}
