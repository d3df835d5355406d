//! A container in a transient scope of systemd: started, changed and stopped over D-Bus.
//!
//! ```text
//! parent                                systemd                     child
//!   clone3 ----------------------------------------------------------> mounts, its own cgroup the
//!   StartTransientUnit(scope, PIDs) -----> makes the cgroup with        runtime's
//!                                          its limits, moves the child
//!   JobRemoved <-------------------------- done
//!   what systemd has no property for
//!   Proceed ---------------------------------------------------------> cgroup namespace, hooks, exec
//! ```
//!
//! systemd refuses a scope without a process. A process that stands in until init is born in the
//! scope would cost a second clone3 and exit, and init would have to wait for systemd before it
//! began; so init is moved, as on v1, and works on its mounts meanwhile.

mod address;
mod annotation;
mod block;
mod bus;
mod device;
mod gvariant;
mod message;
mod name;
mod property;
mod value;

use std::path::Path;

use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

pub use bus::BusError;
pub(crate) use property::rounded;

use crate::plan::{Write, v2};
use crate::{Error, Result};
use annotation::Annotations;
use bus::Bus;
use name::Names;
use value::Value;

/// systemd's error for a unit that is not loaded.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// systemd's error for a unit that is there, be it as a failed one.
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// What systemd, or the bus, answers whatever the properties are.
const NOT_ABOUT_PROPERTIES: [&str; 3] = [
    UNIT_EXISTS,
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];
/// What to do about other jobs on the unit: theirs are cancelled.
const MODE: &str = "replace";

/// Which systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// The machine's.
    System,
    /// That of the user who runs us.
    User,
}

impl Manager {
    /// The variable that has the address of its bus.
    fn variable(self) -> &'static str {
        match self {
            Manager::System => "DBUS_SYSTEM_BUS_ADDRESS",
            Manager::User => "DBUS_SESSION_BUS_ADDRESS",
        }
    }
}

/// The scope of one container, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    unit: String,
    slice: String,
    container: String,
    manager: Manager,
}

/// The properties that a scope is started with.
#[derive(Debug)]
pub(crate) struct Start {
    /// In order: a later one wins.
    properties: Vec<(String, Value)>,
    /// The annotations that some of them come from.
    annotations: Vec<(String, String)>,
    idle: bool,
}

impl Scope {
    /// The scope that `linux.cgroupsPath` names, and its cgroup. Only of a user's manager it has to be
    /// asked where its own cgroup is.
    pub fn locate(
        path: Option<&Path>,
        id: &str,
        manager: Manager,
    ) -> Result<(Scope, std::path::PathBuf)> {
        let names = Names::new(path, id, manager)?;
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(Error::NoSystemd);
        }
        let mut cgroup = names.path();
        let Names { slice, unit, container } = names;
        let scope = Scope { unit, slice, container, manager };
        if manager == Manager::User {
            let own = scope.connect("find").and_then(|mut bus| {
                bus.property("ControlGroup").map_err(|source| scope.failed("find", source))
            })?;
            cgroup = Path::new(&own).join(cgroup.strip_prefix("/").unwrap_or(&cgroup));
        }
        Ok((scope, cgroup))
    }

    /// Collects the properties, and the writes that go with them; asks nobody.
    pub fn plan<'a>(
        &self,
        resources: Option<&LinuxResources>,
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<(Start, Vec<Write>)> {
        let mut properties = vec![
            (
                "Description".to_owned(),
                Value::Text(format!("ghost-runc container {}", self.container)),
            ),
            ("Slice".to_owned(), Value::Text(self.slice.clone())),
            ("Delegate".to_owned(), Value::Bool(true)),
            ("DefaultDependencies".to_owned(), Value::Bool(false)),
        ];
        for controller in ["Memory", "CPU", "IO", "Tasks"] {
            properties.push((format!("{controller}Accounting"), Value::Bool(true)));
        }
        let given = Annotations::parse(annotations);
        let writes = resources.map_or(Ok(Vec::new()), v2::plan);
        let limits = writes.and_then(|writes| Ok((property::plan(&writes)?, writes)));
        let devices = device::plan(resources);
        match (given, limits, devices) {
            (Ok(given), Ok((limits, writes)), Ok(devices)) => {
                let annotations = given.given;
                properties.extend(given.properties);
                properties.extend(resources.and_then(property::oom_policy));
                properties.extend(limits.list);
                properties.extend(block::properties(&limits.devices));
                properties.extend(devices);
                Ok((Start { properties, annotations, idle: limits.idle }, writes))
            }
            (given, limits, devices) => {
                let errors = [given.err(), limits.err(), devices.err()];
                Err(Error::several(errors.into_iter().flatten().collect()))
            }
        }
    }

    /// Whether the manager answers.
    pub fn reach(&self) -> Result<()> {
        self.connect("reach").map(drop)
    }

    /// Starts the scope with a process in it, and waits until it is there. On an error it is not.
    pub fn start(&self, start: &Start, pid: Pid) -> Result<()> {
        let mut bus = self.connect("start")?;
        let mut properties = start.properties.clone();
        self.set_idle(&mut bus, start.idle, &mut properties)?;
        let pid = Value::Uint32(pid.as_raw().cast_unsigned());
        properties.push(("PIDs".into(), Value::Array("u".into(), vec![pid])));
        let arguments = [
            Value::Text(self.unit.clone()),
            MODE.into(),
            list(properties),
            // Other units to make with it.
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let mut result = bus.job("StartTransientUnit", &arguments);
        if is(&result, UNIT_EXISTS) {
            // It may be left from a container that failed; if it is somebody's, it stays.
            let _ = self.reset(&mut bus);
            result = bus.job("StartTransientUnit", &arguments);
        }
        if let Err(BusError::Job { .. } | BusError::Silent { .. }) = result {
            // That it could not be started is what the caller is told.
            let _ = self.reset(&mut bus);
        }
        result.map_err(|source| match &source {
            BusError::Refused { name, message }
                if !start.annotations.is_empty() && !NOT_ABOUT_PROPERTIES.contains(&&**name) =>
            {
                let annotations = annotation::blamed(&start.annotations, message);
                Error::UnitProperties { annotations, unit: self.unit.clone(), source }
            }
            _ => self.failed("start", source),
        })
    }

    /// Changes the scope's limits, as `writes` changes the cgroup's.
    pub fn set_limits(&self, writes: &[Write]) -> Result<()> {
        let limits = property::plan(writes)?;
        let mut properties = limits.list;
        properties.extend(block::properties(&limits.devices));
        self.set(properties, limits.idle)
    }

    /// Changes the scope's device rules to those of `resources`.
    pub fn set_devices(&self, resources: &LinuxResources) -> Result<()> {
        self.set(device::plan(Some(resources))?.into(), false)
    }

    fn set(&self, mut properties: Vec<(String, Value)>, idle: bool) -> Result<()> {
        if properties.is_empty() && !idle {
            return Ok(());
        }
        let mut bus = self.connect("change")?;
        self.set_idle(&mut bus, idle, &mut properties)?;
        let runtime = Value::Bool(true);
        bus.call("SetUnitProperties", &[Value::Text(self.unit.clone()), runtime, list(properties)])
            .map_err(|source| self.failed("change", source))?;
        Ok(())
    }

    /// Has systemd move a process into the scope, or into a cgroup below its own that `path` leads to:
    /// for a user who may not do it.
    pub fn attach(&self, path: &Path, pid: Pid) -> Result<()> {
        let mut below = path.components();
        below.find(|part| part.as_os_str() == self.unit.as_str());
        let below = Value::Text(Path::new("/").join(below.as_path()).display().to_string());
        let mut bus = self.connect("add a process to")?;
        let pid = Value::Uint32(pid.as_raw().cast_unsigned());
        let pids = Value::Array("u".into(), vec![pid]);
        bus.call("AttachProcessesToUnit", &[Value::Text(self.unit.clone()), below, pids])
            .map_err(|source| self.failed("add a process to", source))?;
        Ok(())
    }

    /// Stops the scope and has systemd forget it. One that is gone is fine.
    pub fn stop(&self) -> Result<()> {
        let mut bus = self.connect("stop")?;
        let result = bus.job("StopUnit", &[Value::Text(self.unit.clone()), MODE.into()]);
        if is(&result, NO_SUCH_UNIT) {
            return Ok(());
        }
        result.map_err(|source| self.failed("stop", source))?;
        match self.reset(&mut bus) {
            // It did not fail, so that it was forgotten at once.
            result if is(&result, NO_SUCH_UNIT) => Ok(()),
            result => result.map_err(|source| self.failed("reset", source)),
        }
    }

    fn reset(&self, bus: &mut Bus) -> std::result::Result<(), BusError> {
        bus.call("ResetFailedUnit", &[Value::Text(self.unit.clone())]).map(drop)
    }

    /// `cpu.idle` is the weight 0, since systemd 252; an older one would refuse it.
    fn set_idle(
        &self,
        bus: &mut Bus,
        idle: bool,
        properties: &mut Vec<(String, Value)>,
    ) -> Result<()> {
        if idle {
            let version = bus.property("Version").map_err(|source| self.failed("start", source))?;
            if property::version(&version).is_some_and(|version| version >= 252) {
                properties.retain(|(name, _)| name != "CPUWeight");
                properties.push(("CPUWeight".into(), Value::Uint64(0)));
            }
        }
        Ok(())
    }

    fn connect(&self, action: &'static str) -> Result<Bus> {
        Bus::connect(self.manager, &self.unit).map_err(|source| self.failed(action, source))
    }

    fn failed(&self, action: &'static str, source: BusError) -> Error {
        Error::Unit { action, unit: self.unit.clone(), source }
    }
}

/// Whether systemd refused with this error.
fn is<T>(result: &std::result::Result<T, BusError>, error: &str) -> bool {
    matches!(result, Err(BusError::Refused { name, .. }) if name == error)
}

/// Properties as systemd's methods take them.
fn list(properties: Vec<(String, Value)>) -> Value {
    let pair =
        |(name, value): (String, Value)| Value::Struct(vec![Value::Text(name), value.variant()]);
    Value::Array("(sv)".into(), properties.into_iter().map(pair).collect())
}
