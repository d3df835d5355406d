//! Carries out a plan: writes limits and device rules to the cgroups that are there.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use oci_spec::runtime::LinuxResources;

use crate::devices::{self, Rule, filter, list::List};
use crate::dir::{Dir, write_once};
use crate::plan::{Otherwise, Write, v1, v2};
use crate::rootless::is_rootless;
use crate::{Cgroup, Error, Mode, Result, systemd};

/// The v1 file whose limit decides what the kernel accepts first.
const MEMORY_LIMIT: &str = "memory.limit_in_bytes";

impl Cgroup {
    /// Changes the limits that `resources` sets, and leaves the others. Device rules, where it has
    /// some, replace all those in force; at no time is a device allowed that neither allows.
    ///
    /// Values that share a file go together: v2's `cpu.max` holds quota and period, and a quota
    /// alone takes the period back to the kernel's default; v2's swap limit takes a memory limit
    /// beside it. So `resources` is best what was in force, with the changes made to it.
    ///
    /// Device rules that fail are replaced by those of `before`, which were in force.
    ///
    /// # Errors
    ///
    /// When a value is invalid nothing was written. When the kernel or systemd refuses one, those
    /// before it are put back; [`Error::NotUndone`] when that failed too.
    pub fn apply(&self, resources: &LinuxResources, before: &LinuxResources) -> Result<()> {
        let rounded = self.scope.as_ref().map(|_| systemd::rounded(resources));
        let resources = rounded.as_ref().unwrap_or(resources);
        let writes = match self.mode {
            Mode::V2 => v2::plan(resources)?,
            Mode::V1 | Mode::Hybrid => v1::plan(resources, self.memory_now(resources)?)?,
        };
        let rules = match resources.devices() {
            Some(rules) if !rules.is_empty() => Some(devices::rules(Some(resources))?),
            _ => None,
        };
        self.check_memory(resources)?;
        let undo = self.undo_of(&writes);
        if let Some(scope) = &self.scope {
            // It takes all or none.
            scope.set_limits(&writes)?;
        }
        let result = self.write(&writes).and_then(|()| match rules {
            Some(rules) => self.change_devices(&rules, resources, before),
            None => Ok(()),
        });
        match result.map_err(|error| (error, self.undo(&undo))) {
            Err((error, Err(undo))) => {
                Err(Error::NotUndone { undo: undo.text(), error: Box::new(error) })
            }
            Err((error, Ok(()))) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    fn change_devices(
        &self,
        rules: &[Rule],
        resources: &LinuxResources,
        before: &LinuxResources,
    ) -> Result<()> {
        let set = |rules: &[Rule], resources| {
            if let Some(scope) = &self.scope {
                scope.set_devices(resources)?;
            }
            self.set_devices(rules, false)
        };
        set(rules, resources).inspect_err(|_| {
            // On v2, and where one step fails as the other did, the old ones are still there.
            let _ = devices::rules(Some(before)).and_then(|rules| set(&rules, before));
        })
    }

    /// Makes the writes of a plan, in their order.
    pub(crate) fn write(&self, writes: &[Write]) -> Result<()> {
        self.write_all(writes).map_err(|(write, source)| Error::Limit {
            field: write.field(),
            source: Box::new(source),
        })
    }

    /// The error comes with its write.
    fn write_all<'a>(&self, writes: &'a [Write]) -> std::result::Result<(), (&'a Write, Error)> {
        let mut open: Option<Dir> = None;
        let mut again = Vec::new();
        for write in writes {
            let Some(path) = self.path_of(&write.controller) else {
                if write.otherwise == Otherwise::Skip {
                    continue;
                }
                return Err((write, no_controller(write)));
            };
            let dir = match open.take() {
                Some(dir) if dir.path == path => open.insert(dir),
                _ => open.insert(Dir::open(&path).map_err(|error| (write, error))?),
            };
            match self.write_one(dir, write) {
                Ok(()) => {}
                Err(Error::Write { source: Errno::EINVAL, .. })
                    if write.otherwise == Otherwise::Again =>
                {
                    again.push(write);
                }
                Err(error) => return Err((write, error)),
            }
            if write.otherwise != Otherwise::Again {
                for write in again.drain(..) {
                    self.write_one(dir, write).map_err(|error| (write, error))?;
                }
            }
        }
        Ok(())
    }

    fn write_one(&self, dir: &Dir, write: &Write) -> Result<()> {
        let source = match (dir.try_write(&write.file, &write.value), &write.otherwise) {
            (Ok(()), _) | (Err(Errno::ENOENT), Otherwise::Skip) => return Ok(()),
            (Err(Errno::ENOENT), Otherwise::Instead(file, value)) => {
                let instead = Write {
                    file: (*file).into(),
                    value: value.clone(),
                    otherwise: Otherwise::Fail,
                    ..write.clone()
                };
                return self.write_one(dir, &instead);
            }
            (Err(source), _) => source,
        };
        match source {
            Errno::ENOENT if self.mode == Mode::V2 && !enabled(dir, &write.controller)? => {
                Err(no_controller(write))
            }
            Errno::EBUSY if write.file == MEMORY_LIMIT => Err(Error::MemoryInUse {
                path: dir.path.clone(),
                file: MEMORY_LIMIT,
                limit: write.value.parse().unwrap_or(-1),
                usage: number(dir, "memory.usage_in_bytes")?,
            }),
            source => Err(dir.failed(&write.file, &write.value, source)),
        }
    }

    /// Sets the device rules: of a cgroup that was just made, or in the place of others.
    pub(crate) fn set_devices(&self, rules: &[Rule], fresh: bool) -> Result<()> {
        let result = self.devices_dir().and_then(|place| match (place, fresh) {
            (Place::V1(dir), true) => write_list(&dir, &List::fold(rules)?.writes()),
            (Place::V1(dir), false) => self.change_list(&dir, &List::fold(rules)?),
            (Place::V2(dir), true) => filter::attach(&dir, rules),
            (Place::V2(dir), false) => filter::replace(&dir, rules, self.scope.is_some()),
        });
        self.unless_rootless(result)
    }

    fn change_list(&self, dir: &Dir, list: &List) -> Result<()> {
        let now = List::parse(&dir.read("devices.list")?)
            .map_err(|line| Error::Line { path: dir.path.join("devices.list"), line })?;
        let transition = list.transition(&now);
        // There is no way round a moment with other rules; the processes must not see it.
        let hold = transition.disruptive && !self.is_frozen()?;
        if hold {
            self.freeze()?;
        }
        let result = write_list(dir, &transition.writes);
        if hold { result.and(self.thaw()) } else { result }
    }

    fn devices_dir(&self) -> Result<Place> {
        let v1 = if self.mode == Mode::V2 { None } else { self.path_of("devices") };
        match (v1, self.unified()) {
            (Some(path), _) => Dir::open(&path).map(Place::V1),
            (None, Some(hierarchy)) => Dir::open(&hierarchy.dir()).map(Place::V2),
            (None, None) => Err(no_devices()),
        }
    }

    /// Without privileges, device rules are not expected to work, as in runc: the kernel lets only
    /// those use a device node that could do so without the container.
    fn unless_rootless(&self, result: Result<()>) -> Result<()> {
        use Errno::{EACCES, EPERM, EROFS};
        match result {
            Err(
                Error::LoadFilter { source: EACCES | EPERM | EROFS, .. }
                | Error::Filter { source: EACCES | EPERM | EROFS, .. }
                | Error::Write { source: EACCES | EPERM | EROFS, .. },
            ) if is_rootless() => Ok(()),
            Err(Error::NoController { .. }) if !self.inherited.is_empty() => Ok(()),
            result => result,
        }
    }

    /// The memory limit in force, where the plan depends on it.
    fn memory_now(&self, resources: &LinuxResources) -> Result<Option<u64>> {
        match self.path_of("memory") {
            Some(path) if v1::depends_on_memory_now(resources) => {
                Ok(Some(number(&Dir::open(&path)?, MEMORY_LIMIT)?))
            }
            _ => Ok(None),
        }
    }

    /// `checkBeforeUpdate`: v2 would accept a limit below the usage, and kill. v1 refuses by itself.
    fn check_memory(&self, resources: &LinuxResources) -> Result<()> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let limits = [("memory.swap.max", memory.swap()), ("memory.max", memory.limit())];
        if self.mode != Mode::V2
            || memory.check_before_update() != Some(true)
            || limits.iter().all(|(_, limit)| limit.is_none_or(|limit| limit <= 0))
        {
            return Ok(());
        }
        let Some(path) = self.path_of("memory") else { return Ok(()) };
        let dir = Dir::open(&path)?;
        let usage = number(&dir, "memory.current")?;
        for (file, limit) in limits {
            match limit {
                Some(limit @ 1..) if limit.cast_unsigned() <= usage => {
                    return Err(Error::MemoryInUse { path, file, limit, usage });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where device rules go.
enum Place {
    V1(Dir),
    V2(Dir),
}

/// Writes many lines to two files, each opened once.
fn write_list(dir: &Dir, writes: &[(&'static str, String)]) -> Result<()> {
    let mut open = None;
    for (name, value) in writes {
        let file = match &mut open {
            Some((opened, file)) if opened == name => file,
            _ => {
                let file = dir
                    .file(name, OFlag::O_WRONLY)
                    .map_err(|source| dir.failed(name, value, source))?;
                &mut open.insert((*name, file)).1
            }
        };
        write_once(file, value).map_err(|source| dir.failed(name, value, source))?;
    }
    Ok(())
}

/// Whether a v2 cgroup has a controller; "cgroup" itself, of `cgroup.*`, is always there.
fn enabled(dir: &Dir, controller: &str) -> Result<bool> {
    let list = dir.read("cgroup.controllers")?;
    Ok(controller == "cgroup" || list.split_whitespace().any(|one| one == controller))
}

/// A file that holds one number.
fn number(dir: &Dir, file: &str) -> Result<u64> {
    let failed = |source| Error::Read { path: Path::new(&dir.path).join(file), source };
    dir.read(file)?.trim().parse().map_err(|_| failed(Errno::EINVAL))
}

pub(crate) fn no_controller(write: &Write) -> Error {
    Error::NoController {
        controller: write.controller.clone().into_owned(),
        file: write.file.clone().into_owned(),
        value: write.value.clone(),
    }
}

fn no_devices() -> Error {
    Error::NoController {
        controller: "devices".into(),
        file: "devices.deny".into(),
        value: "a".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with some files, which stands for a cgroup's.
    fn directory(name: &str, files: &[&str]) -> Dir {
        let path = std::env::temp_dir().join(format!("cgroup-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        for file in files {
            std::fs::write(path.join(file), "").unwrap();
        }
        Dir::open(&path).unwrap()
    }

    fn write(file: &'static str, otherwise: Otherwise) -> Write {
        Write::new("io", file, 1).otherwise(otherwise)
    }

    #[test]
    fn a_missing_file_is_an_error_or_skipped_or_replaced() {
        let cgroup = Cgroup { mode: Mode::V1, hierarchies: vec![], inherited: vec![], scope: None };
        let dir = directory("missing", &["io.weight"]);
        let result = cgroup.write_one(&dir, &write("io.bfq.weight", Otherwise::Fail));
        assert!(matches!(result, Err(Error::Write { source: Errno::ENOENT, .. })), "{result:?}");
        cgroup.write_one(&dir, &write("io.bfq.weight", Otherwise::Skip)).unwrap();
        let instead = Otherwise::Instead("io.weight", "2".into());
        cgroup.write_one(&dir, &write("io.bfq.weight", instead)).unwrap();
        assert_eq!(dir.read("io.weight").unwrap(), "2");
        let result = cgroup.write_one(&dir, &write("x", Otherwise::Instead("y", "2".into())));
        assert!(matches!(&result, Err(Error::Write { file, .. }) if file == "y"), "{result:?}");
        std::fs::remove_dir_all(&dir.path).unwrap();
    }

    #[test]
    fn a_hierarchy_that_is_missing_is_an_error_unless_skipped() {
        let cgroup = Cgroup { mode: Mode::V1, hierarchies: vec![], inherited: vec![], scope: None };
        let result = cgroup.write(&[write("io.max", Otherwise::Fail)]);
        let Err(Error::Limit { source, .. }) = result else { panic!("{result:?}") };
        assert!(matches!(*source, Error::NoController { .. }), "{source:?}");
        cgroup.write(&[write("io.max", Otherwise::Skip)]).unwrap();
    }
}
