//! Makes a container's cgroups: directories, controllers, limits, device rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat;
use nix::unistd::mkdir;
use oci_spec::runtime::LinuxResources;

use crate::devices::list::List;
use crate::dir::{Dir, read_path};
use crate::hierarchy::Hierarchy;
use crate::plan::{Write, bounds, v1, v2};
use crate::{Cgroup, Error, Mode, Result, devices};

/// Which devices a new cgroup's processes may use.
#[derive(Debug)]
#[must_use]
pub struct DeviceRules {
    rules: Vec<devices::Rule>,
    /// All directories are new: nobody has any installed there.
    pub fresh: bool,
}

impl Cgroup {
    /// Says whether [`Cgroup::create`] takes all values, without asking the kernel.
    ///
    /// # Errors
    ///
    /// All invalid values.
    pub fn check(&self, resources: &LinuxResources) -> Result<()> {
        let mut errors = Vec::new();
        bounds::check(resources, self.mode, &mut errors);
        self.writes(resources, &mut errors);
        match devices::rules(Some(resources)) {
            Err(error) => errors.push(error),
            // v2's filter can express all rules.
            Ok(rules) if self.mode != Mode::V2 && self.hierarchy("devices").is_some() => {
                errors.extend(List::fold(&rules).err());
            }
            Ok(_) => {}
        }
        Error::all(errors)
    }

    /// The limits of a new cgroup that are valid, and what is wrong with the others.
    pub(crate) fn writes(&self, resources: &LinuxResources, errors: &mut Vec<Error>) -> Vec<Write> {
        match self.mode {
            Mode::V2 => v2::collect(resources, errors),
            Mode::V1 | Mode::Hybrid => v1::collect(resources, None, errors),
        }
    }

    /// Makes the directories, enables the v2 controllers on the way to them and writes the limits. The
    /// device rules, those of `resources` and then the ones every container gets, are for
    /// [`Cgroup::restrict`].
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`] when a directory is there already and has processes; an invalid value, or
    /// a limit that can't be set. What was made is removed again.
    pub fn create(&self, resources: Option<&LinuxResources>) -> Result<DeviceRules> {
        let mut errors = Vec::new();
        let writes = resources.map(|given| self.writes(given, &mut errors)).unwrap_or_default();
        Error::all(errors)?;
        let rules = devices::rules(resources)?;
        let mut made = Made(Vec::new());
        let result = self.fill(resources, &writes, &mut made);
        if result.is_err() {
            made.remove();
        }
        result.map(|fresh| DeviceRules { rules, fresh })
    }

    /// Installs the device rules of a cgroup that was just made. The kernel takes a while to check a v2
    /// program, which a first process in a new one can spend on what needs no device: nodes may be made
    /// by all rules.
    ///
    /// # Errors
    ///
    /// When the kernel refuses them; an unprivileged caller goes without.
    pub fn restrict(&self, rules: &DeviceRules) -> Result<()> {
        self.set_devices(&rules.rules, rules.fresh)
    }

    /// Says whether all directories are new.
    fn fill(
        &self,
        resources: Option<&LinuxResources>,
        writes: &[Write],
        made: &mut Made,
    ) -> Result<bool> {
        let mut fresh = true;
        for hierarchy in &self.hierarchies {
            fresh &= self.make(hierarchy, resources, writes, made)?;
        }
        self.write(writes).map(|()| fresh)
    }

    /// Makes one directory, or takes the empty one that is there; says whether it is new.
    fn make(
        &self,
        hierarchy: &Hierarchy,
        resources: Option<&LinuxResources>,
        writes: &[Write],
        made: &mut Made,
    ) -> Result<bool> {
        let path = hierarchy.dir();
        let fresh = made.directory(&path)?;
        if !fresh {
            let count = crate::pids::below(&path)?.len();
            if count > 0 {
                return Err(Error::NotEmpty { path, count });
            }
            if self.is_frozen()? {
                return Err(Error::Frozen { path });
            }
        }
        if hierarchy.has("cpuset") {
            inherit_cpuset(hierarchy, writes)?;
        }
        if self.mode == Mode::V2 {
            enable_controllers(hierarchy, writes, resources.is_some_and(v2::needs_domain))?;
        }
        Ok(fresh)
    }
}

/// What was made so far, in its order.
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes a directory and the parents it lacks; says whether it was not there.
    fn directory(&mut self, path: &Path) -> Result<bool> {
        let result = match make(path) {
            Err(Errno::ENOENT) => {
                if let Some(parent) = path.parent() {
                    self.directory(parent)?;
                }
                make(path)
            }
            result => result,
        };
        match result {
            Ok(()) => {
                self.0.push(path.into());
                Ok(true)
            }
            Err(Errno::EEXIST) => Ok(false),
            Err(source) => Err(Error::Create { path: path.into(), source }),
        }
    }

    fn remove(&self) {
        for path in self.0.iter().rev() {
            // The failure that led here is the one to report, and this one leaves an empty cgroup.
            let _ = std::fs::remove_dir(path);
        }
    }
}

fn make(path: &Path) -> std::result::Result<(), Errno> {
    mkdir(path, stat::Mode::from_bits_truncate(0o755))
}

/// A new v1 cpuset is empty and takes no process. What the plan does not set is the parent's, and a
/// parent that is empty too, as one just made, is filled first.
fn inherit_cpuset(hierarchy: &Hierarchy, writes: &[Write]) -> Result<()> {
    let (root, path) = (hierarchy.mount_point(), hierarchy.dir());
    let leaf = Dir::open(&path)?;
    let parent = Dir::open(path.parent().unwrap_or(&root))?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = filled(&parent, &root, file)?;
        if !writes.iter().any(|write| write.file == file) {
            leaf.write(file, &inherited)?;
        }
    }
    Ok(())
}

/// The value of a cpuset's file, which is its parent's if it was empty.
fn filled(dir: &Dir, root: &Path, file: &str) -> Result<String> {
    let own = dir.read(file)?.trim().to_owned();
    match dir.path.parent() {
        Some(parent) if own.is_empty() && dir.path != root => {
            let inherited = filled(&Dir::open(parent)?, root, file)?;
            dir.write(file, &inherited)?;
            Ok(inherited)
        }
        _ => Ok(own),
    }
}

/// Enables every controller the host has in each cgroup above a new v2 one.
///
/// What can't be enabled, as below a cgroup with processes of its own, shows as a controller that is
/// not available once a limit needs it.
pub(crate) fn enable_controllers(
    hierarchy: &Hierarchy,
    writes: &[Write],
    needs_domain: bool,
) -> Result<()> {
    let (root, path) = (hierarchy.mount_point(), hierarchy.dir());
    let leaf = Dir::open(&path)?;
    let all = read_path(&root.join("cgroup.controllers"))?;
    // A cgroup's controllers are those enabled in its parent, and those only if in its parent's.
    if controllers(&leaf.read("cgroup.controllers")?) == controllers(&all) {
        return Ok(());
    }
    let above: Vec<_> = path.ancestors().skip(1).take_while(|one| one.starts_with(&root)).collect();
    for path in above.into_iter().rev() {
        enable(&Dir::open(path)?, writes)?;
    }
    check_type(&leaf, needs_domain)
}

/// Enables all controllers a cgroup has for its children.
fn enable(dir: &Dir, writes: &[Write]) -> Result<()> {
    let available = dir.read("cgroup.controllers")?;
    let enabled = dir.read("cgroup.subtree_control")?;
    let (available, enabled) = (controllers(&available), controllers(&enabled));
    let mut missing: Vec<_> = available.difference(&enabled).collect();
    let all = missing.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    if missing.is_empty() {
        return Ok(());
    }
    match dir.try_write("cgroup.subtree_control", &all) {
        Ok(()) => return Ok(()),
        // It has processes. Those controllers that can be enabled all the same turn it threaded,
        // so that its children can take only its own processes: not for nothing.
        Err(Errno::EBUSY) => {
            missing.retain(|name| writes.iter().any(|one| one.controller == **name))
        }
        // The kernel takes all or none of one write.
        Err(_) => {}
    }
    for name in missing {
        // Whether this one is needed is not known here; see above.
        let _ = dir.try_write("cgroup.subtree_control", &format!("+{name}"));
    }
    Ok(())
}

/// A cgroup below one with processes of its own is invalid until it is made threaded, which rules
/// out memory, io and hugetlb limits.
fn check_type(leaf: &Dir, needs_domain: bool) -> Result<()> {
    let kind = leaf.read("cgroup.type")?;
    match kind.trim() {
        "domain" => Ok(()),
        kind if needs_domain => Err(Error::Threaded { path: leaf.path.clone(), kind: kind.into() }),
        "domain invalid" => leaf.write("cgroup.type", "threaded"),
        _ => Ok(()),
    }
}

fn controllers(list: &str) -> BTreeSet<&str> {
    list.split_whitespace().collect()
}
