//! Lists a container's processes.

use std::path::Path;

use nix::errno::Errno;

use crate::dir::Dir;
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
    let mut pids = Vec::new();
    collect(path, &mut pids)?;
    // A process that moves meanwhile may be listed twice.
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn collect(path: &Path, pids: &mut Vec<i32>) -> Result<()> {
    // Any of these directories may be removed at any time; then it has no processes.
    let Some(dir) = Dir::open_if_there(path)? else { return Ok(()) };
    match dir.try_read("cgroup.procs") {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // A threaded cgroup's processes are listed in the domain it belongs to, threads here.
        Err(Errno::EOPNOTSUPP) => {
            let text = dir.read("cgroup.threads")?;
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        Err(source) => return Err(Error::Read { path: path.join("cgroup.procs"), source }),
    }
    let children = match dir.children() {
        Err(Error::Read { source: Errno::ENOENT | Errno::ENODEV, .. }) => return Ok(()),
        children => children?,
    };
    for child in children {
        collect(&path.join(child), pids)?;
    }
    Ok(())
}
