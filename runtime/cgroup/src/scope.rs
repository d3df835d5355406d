//! A container whose cgroup systemd makes: the order of what systemd does and what we do.

use std::path::Path;

use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;

use crate::hierarchy::Hierarchy;
use crate::plan::{Write, v2};
use crate::systemd::{self, Manager, Scope, Start};
use crate::{Cgroup, Error, Mode, Result, devices};

/// Everything that [`Cgroup::start_scope`] does, found out and checked before anything is made.
#[derive(Debug)]
pub struct ScopePlan {
    start: Start,
    writes: Vec<Write>,
    needs_domain: bool,
    rules: Vec<devices::Rule>,
}

impl Cgroup {
    /// Finds the place of a container that is to be a transient scope of systemd.
    ///
    /// `cgroups_path` is `slice:prefix:name`; where it is absent the slice is `system.slice`
    /// (`user.slice` of a user's manager) and the scope has the container's id in its name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSystemd`] and [`Error::SystemdOnV1`] where there can't be one,
    /// [`Error::ScopePath`], and [`Error::Unit`] when a user's manager can't be asked.
    pub fn locate_scope(
        mode: Mode,
        cgroups_path: Option<&Path>,
        id: &str,
        manager: Manager,
    ) -> Result<Cgroup> {
        let (scope, path) = Scope::locate(cgroups_path, id, manager)?;
        if mode != Mode::V2 {
            return Err(Error::SystemdOnV1);
        }
        let hierarchy = Hierarchy { controllers: String::new(), name: String::new(), path };
        Ok(Cgroup { mode, hierarchies: vec![hierarchy], inherited: Vec::new(), scope: Some(scope) })
    }

    /// Whether systemd makes and removes it.
    #[must_use]
    pub fn is_scope(&self) -> bool {
        self.scope.is_some()
    }

    /// Plans the scope; none where the cgroup is made by [`Cgroup::create`]. Annotations that begin
    /// with `org.systemd.property.` are properties of it.
    ///
    /// # Errors
    ///
    /// For a value that is not valid.
    pub fn plan_scope<'a>(
        &self,
        resources: Option<&LinuxResources>,
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Option<ScopePlan>> {
        let Some(scope) = &self.scope else { return Ok(None) };
        let rounded = resources.map(systemd::rounded);
        let resources = rounded.as_ref();
        let (start, writes) = scope.plan(resources, annotations)?;
        Ok(Some(ScopePlan {
            start,
            writes,
            needs_domain: resources.is_some_and(v2::needs_domain),
            rules: devices::rules(resources)?,
        }))
    }

    /// Starts the scope with a process in it; then writes what systemd has no property for, and
    /// installs the device rules.
    ///
    /// # Errors
    ///
    /// [`Error::Unit`], and those of [`Cgroup::create`]. When the scope was started and something
    /// else failed, the process is killed and the scope is stopped.
    pub fn start_scope(&self, plan: &ScopePlan, pid: Pid) -> Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        scope.start(&plan.start, pid)?;
        let result = self.fill_scope(plan);
        if result.is_err() {
            // The failure that led here is the one to report.
            let _ = self.kill_all(nix::libc::SIGKILL);
            let _ = self.remove();
        }
        result
    }

    fn fill_scope(&self, plan: &ScopePlan) -> Result<()> {
        for hierarchy in &self.hierarchies {
            crate::create::enable_controllers(hierarchy, &plan.writes, plan.needs_domain)?;
        }
        self.write(&plan.writes)?;
        self.set_devices(&plan.rules, true)
    }

    /// Has systemd move a process into the scope: for one that its user may not move there, as from a
    /// session into what the user's manager has.
    ///
    /// # Errors
    ///
    /// [`Error::Unit`].
    pub fn attach(&self, pid: Pid) -> Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        let path = self.hierarchies.first().map(Hierarchy::path);
        path.map_or(Ok(()), |path| scope.attach(path, pid))
    }
}
