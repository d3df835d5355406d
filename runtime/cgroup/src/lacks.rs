//! What the host's hierarchies can't do for a container, without making its cgroup.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use oci_spec::runtime::LinuxResources;

use crate::dir::read_path;
use crate::plan::{Otherwise, Write};
use crate::{Cgroup, Error, Mode};

impl Cgroup {
    /// Why [`Cgroup::create`] would fail here, as far as that shows beforehand: a controller, one of
    /// its files, a huge page size or a device that is not there, CPUs that don't exist, a place that
    /// is taken or can't be written to. Invalid values are not told again, see [`Cgroup::check`].
    #[must_use]
    pub fn lacks(&self, resources: Option<&LinuxResources>) -> Vec<Error> {
        let writes = resources.map(|given| self.writes(given, &mut Vec::new()));
        let writes = writes.unwrap_or_default();
        let limit =
            |write: &Write, error| Error::Limit { field: write.field(), source: Box::new(error) };
        let mut errors: Vec<Error> =
            writes.iter().filter_map(|write| Some(limit(write, self.refusal(write)?))).collect();
        let invalid = resources.and_then(|given| self.check(given).err());
        let told = invalid.map(Error::fields).unwrap_or_default();
        errors.retain(|error| error.field().is_none_or(|field| !told.contains(&field)));
        if let Some(scope) = &self.scope {
            errors.extend(scope.reach().err());
        }
        for hierarchy in &self.hierarchies {
            errors.extend(taken(&hierarchy.dir()));
            if self.scope.is_none() {
                errors.extend(closed(&hierarchy.dir()));
            }
        }
        errors
    }

    /// Why a write would fail.
    fn refusal(&self, write: &Write) -> Option<Error> {
        if write.otherwise == Otherwise::Skip {
            return None;
        }
        let missing = || crate::apply::no_controller(write);
        let Some(hierarchy) = self.hierarchy(&write.controller) else { return Some(missing()) };
        let root = hierarchy.mount_point();
        if self.mode == Mode::V2 && write.controller != "cgroup" {
            let there = read_path(&root.join("cgroup.controllers")).unwrap_or_default();
            if !there.split_whitespace().any(|name| name == write.controller) {
                return Some(missing());
            }
        }
        let fails = |source| {
            Some(Error::Write {
                path: hierarchy.dir(),
                file: write.file.clone().into_owned(),
                value: write.value.clone(),
                source,
            })
        };
        if let Some(size) =
            write.file.strip_prefix("hugetlb.").and_then(|rest| rest.split('.').next())
            && !has_huge_pages(size)
        {
            return fails(Errno::ENOENT);
        }
        let instead = match &write.otherwise {
            Otherwise::Instead(file, _) => Some(*file),
            _ => None,
        };
        let files = [Some(&*write.file), instead];
        if files.into_iter().flatten().all(|file| self.is_unknown(&root, &write.controller, file)) {
            return fails(Errno::ENOENT);
        }
        if is_about_no_device(write) {
            return fails(Errno::ENODEV);
        }
        let possible = match &*write.file {
            "cpuset.cpus" => "/sys/devices/system/cpu/possible",
            "cpuset.mems" => "/sys/devices/system/node/possible",
            _ => return None,
        };
        let possible = read_path(Path::new(possible)).unwrap_or_else(|_| "0".to_owned());
        match (highest(&write.value), highest(&possible)) {
            (Some(wanted), Some(last)) if wanted > last => fails(Errno::ERANGE),
            _ => None,
        }
    }

    /// Whether a cgroup that has the controller lacks the file. The root does not have all.
    fn is_unknown(&self, root: &Path, controller: &str, file: &str) -> bool {
        let Ok(entries) = std::fs::read_dir(root) else { return false };
        let mut groups = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        if self.mode == Mode::V2 {
            let group = groups.find(|path| {
                let there = read_path(&path.join("cgroup.controllers")).unwrap_or_default();
                there.split_whitespace().any(|name| name == controller)
            });
            return group.is_some_and(|group| !group.join(file).exists());
        }
        match groups.next() {
            Some(group) => !group.join(file).exists(),
            None => {
                !NOT_ON_ROOT.iter().any(|prefix| file.starts_with(prefix))
                    && !root.join(file).exists()
            }
        }
    }
}

/// The v1 files that each cgroup may have but the root.
const NOT_ON_ROOT: &[&str] = &["pids.", "rdma.", "blkio.bfq."];

/// Whether the device that a line begins with is not there, or is a partition, which has no limits.
fn is_about_no_device(write: &Write) -> bool {
    let name = write.value.split(' ').next().unwrap_or_default();
    match (&*write.controller, &*write.file) {
        ("io" | "blkio", _) if name.contains(':') => {
            let disks = Path::new("/sys/dev/block");
            let disk = disks.join(name);
            disks.exists() && (!disk.exists() || disk.join("partition").exists())
        }
        ("rdma", "rdma.max") => !Path::new("/sys/class/infiniband").join(name).exists(),
        ("net_prio", "net_prio.ifpriomap") => {
            read_path(Path::new("/proc/self/net/dev")).is_ok_and(|list| {
                let names = list.lines().filter_map(|line| line.split_once(':'));
                !names.map(|(name, _)| name.trim()).any(|one| one == name)
            })
        }
        _ => false,
    }
}

/// Whether the kernel has pages of a size such as "2MB".
fn has_huge_pages(size: &str) -> bool {
    let units = [("KB", 1_u64), ("MB", 1 << 10), ("GB", 1 << 20)];
    let kilobytes = units.iter().find_map(|(unit, factor)| {
        Some(size.strip_suffix(unit)?.parse::<u64>().ok()?.saturating_mul(*factor))
    });
    kilobytes
        .is_some_and(|kb| Path::new(&format!("/sys/kernel/mm/hugepages/hugepages-{kb}kB")).exists())
}

/// The highest number of a list such as "0-3,7".
fn highest(list: &str) -> Option<u64> {
    list.trim().split([',', '-']).filter_map(|number| number.trim().parse().ok()).max()
}

/// The cgroup is there and has processes.
fn taken(path: &Path) -> Option<Error> {
    let count = crate::pids::below(path).ok()?.len();
    (count > 0).then(|| Error::NotEmpty { path: path.into(), count })
}

/// The directory it would be made in can't be written to.
fn closed(path: &Path) -> Option<Error> {
    let parent = path.ancestors().find(|one| one.exists())?;
    let source = access(parent, AccessFlags::W_OK).err()?;
    Some(Error::Create { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_a_highest_number() {
        for (list, number) in [("0-3,7", Some(7)), ("5\n", Some(5)), ("", None)] {
            assert_eq!(highest(list), number);
        }
    }
}
