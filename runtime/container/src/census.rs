//! Which processes a container has that has no cgroup of its own: those of its pid namespace and
//! their descendants, who may be in namespaces below it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use crate::error::{Context, Error};
use crate::process::Stat;

/// All processes in the pid namespace of `init`, and below it, in the order of their pids. The caller
/// must be allowed to ptrace them, as the owner of their user namespace is.
pub(crate) fn in_pid_namespace_of(init: i32) -> Result<Vec<i32>, Error> {
    let path = |pid: i32| PathBuf::from(format!("/proc/{pid}/ns/pid"));
    let namespace =
        fs::read_link(path(init)).context(|| format!("read {}", path(init).display()))?;
    let mut parents = HashMap::new();
    let mut members = HashSet::new();
    for entry in fs::read_dir("/proc").context(|| "list /proc")? {
        let entry = entry.context(|| "list /proc")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that can't be looked at is another user's, or gone.
        if fs::read_link(path(pid)).is_ok_and(|link| link == namespace) {
            members.insert(pid);
        } else if let Some(stat) = Stat::read(pid) {
            parents.insert(pid, stat.parent);
        }
    }
    let mut pids: Vec<i32> = members.iter().copied().collect();
    pids.extend(parents.keys().filter(|pid| descends(**pid, &parents, &members)));
    pids.sort_unstable();
    Ok(pids)
}

fn descends(pid: i32, parents: &HashMap<i32, i32>, members: &HashSet<i32>) -> bool {
    let mut ancestor = pid;
    // Read one after the other, the parents may form a ring.
    for _ in 0..parents.len() {
        match parents.get(&ancestor) {
            Some(parent) if members.contains(parent) => return true,
            Some(parent) => ancestor = *parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_count_and_rings_end() {
        let parents = HashMap::from([(11, 10), (12, 11), (20, 1), (31, 32), (32, 31)]);
        let members = HashSet::from([10]);
        for (pid, expected) in [(11, true), (12, true), (20, false), (31, false), (99, false)] {
            assert_eq!(descends(pid, &parents, &members), expected, "{pid}");
        }
    }

    #[test]
    fn this_process_is_in_its_own_namespace() {
        let own = std::process::id() as i32;
        assert!(in_pid_namespace_of(own).unwrap().contains(&own));
    }
}
