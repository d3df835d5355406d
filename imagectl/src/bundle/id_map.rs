//! ID maps of a user namespace for somebody without root: the one ID of their own, and the ranges that
//! `/etc/subuid` and `/etc/subgid` give them.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A range of IDs, by the runtime-spec's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The first ID inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first ID outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// The maps of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User IDs.
    pub uids: Vec<Range>,
    /// Group IDs.
    pub gids: Vec<Range>,
}

impl IdMaps {
    /// The caller's own ID as root, and nothing else: any user may map that.
    #[must_use]
    pub fn single() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Self { uids: vec![own(uid.as_raw())], gids: vec![own(gid.as_raw())] }
    }

    /// The caller's own ID as root, and behind it the ranges that newuidmap and newgidmap map for them.
    /// Root has every ID already. `None` if there are no ranges, or nobody to map them.
    #[must_use]
    pub fn ranges() -> Option<Self> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if uid.is_root() {
            let all = Range { container_id: 0, host_id: 0, size: 65536 };
            return Some(Self { uids: vec![all], gids: vec![all] });
        }
        if find_program("newuidmap").is_none() || find_program("newgidmap").is_none() {
            return None;
        }
        let name = user_name(uid.as_raw());
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let uids = subordinate(&read("/etc/subuid"), uid.as_raw(), name.as_deref());
        let gids = subordinate(&read("/etc/subgid"), uid.as_raw(), name.as_deref());
        if uids.is_empty() || gids.is_empty() {
            return None;
        }
        Some(Self { uids: behind(uid.as_raw(), &uids), gids: behind(gid.as_raw(), &gids) })
    }

    /// The maps of a namespace inside this one with the same IDs: range by range, for the kernel takes
    /// none that spans two of the outer namespace's.
    #[must_use]
    pub fn inside(&self) -> Self {
        let same = |range: &Range| Range { host_id: range.container_id, ..*range };
        let all = |ranges: &[Range]| ranges.iter().map(same).collect();
        Self { uids: all(&self.uids), gids: all(&self.gids) }
    }

    /// Does the namespace have the IDs?
    #[must_use]
    pub fn have(&self, uid: u32, gid: u32) -> bool {
        let has = |ranges: &[Range], id: u32| {
            ranges.iter().any(|r| id.checked_sub(r.container_id).is_some_and(|at| at < r.size))
        };
        has(&self.uids, uid) && has(&self.gids, gid)
    }
}

fn own(host_id: u32) -> Range {
    Range { container_id: 0, host_id, size: 1 }
}

fn behind(host_id: u32, ranges: &[(u32, u32)]) -> Vec<Range> {
    let mut maps = vec![own(host_id)];
    let mut next = 1_u32;
    for (first, size) in ranges {
        let size = (*size).min(u32::MAX - next);
        maps.push(Range { container_id: next, host_id: *first, size });
        next += size;
    }
    maps
}

/// The ranges that a subuid file gives to the user, by name or number.
fn subordinate(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let who = fields.next()?;
            let (first, size) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (who == number || Some(who) == name).then_some((first, size))
        })
        .filter(|(_, size)| *size > 0)
        .collect()
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| (*fields[0]).to_owned())
    })
}

/// Where a program of the search path is.
fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory: std::path::PathBuf| directory.join(name))
        .find(|file| Path::is_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ranges() {
        let text = "# x\na:100000:65536\n1000:300000:10\nb:1:1\na:200000:0\nbroken\na:x:1\n";
        assert_eq!(subordinate(text, 1000, Some("a")), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(subordinate(text, 7, None), []);
        let maps = behind(1000, &[(100_000, 65536), (300_000, 10)]);
        let shape: Vec<_> = maps.iter().map(|r| (r.container_id, r.host_id, r.size)).collect();
        assert_eq!(shape, [(0, 1000, 1), (1, 100_000, 65536), (65537, 300_000, 10)]);
        let maps = IdMaps { uids: maps, gids: vec![own(1000)] };
        assert!(maps.have(65546, 0) && !maps.have(65547, 0) && !maps.have(0, 1));
    }
}
