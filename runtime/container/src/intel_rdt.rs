//! linux.intelRdt: the container's groups of the resctrl file system.
//!
//! ```text
//! <resctrl>/<closID, or the container's id>/   the control group: how much cache and bandwidth
//!     schemata, tasks
//!     mon_groups/<container's id>/tasks        the monitoring group: what is used of it
//! ```

mod change;
mod schemata;

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};

pub(crate) use change::{Change, change};

use crate::error::{Context, Error, Os};
use crate::report::Report;

/// What is in a group beside other groups, and so can't be a group's name.
const RESERVED: &[&str] = &[".", "..", "info", "mon_data", "mon_groups"];

/// The groups of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Groups {
    /// The control group's directory.
    control: PathBuf,
    /// It was made for this container. Before that, what is there is another's.
    made: bool,
    /// Others may be in it: it has a name that the configuration gave it.
    shared: bool,
    /// The monitoring group's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<PathBuf>,
    /// That was made for this container, too.
    #[serde(default = "yes")]
    made_monitor: bool,
}

/// States of before there was the field are those of whole containers.
fn yes() -> bool {
    true
}

/// What `create` does about them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub groups: Groups,
    /// The control group has not been there.
    missing: bool,
    /// To be written once the control group is there; empty for nothing.
    schemata: String,
}

/// Whether a deprecated flag, for a part of what a monitoring group has, asks for one. oci-spec does not
/// read them: `text_at` has what config.json says at a path.
pub(crate) fn old_flags<'a>(text_at: impl Fn(&str) -> Option<&'a [u8]>) -> Result<bool, Error> {
    let mut report = Report::default();
    let mut monitored = false;
    for path in ["linux.intelRdt.enableCMT", "linux.intelRdt.enableMBM"] {
        match text_at(path) {
            None | Some(b"null" | b"false") => {}
            Some(b"true") => monitored = true,
            Some(other) => {
                report.add(path, format!("{} is not a boolean", String::from_utf8_lossy(other)));
            }
        }
    }
    report.finish(Some(monitored))
}

/// Checks `linux.intelRdt` and finds out what there is already. `monitored` asks for a monitoring group
/// as `enableMonitoring` does, `root` is where resctrl is mounted.
pub(crate) fn plan(
    given: &LinuxIntelRdt,
    id: &str,
    monitored: bool,
    root: impl FnOnce() -> Result<Option<PathBuf>, Error>,
) -> Result<Plan, Error> {
    let mut report = Report::default();
    let name = given.clos_id().as_deref().filter(|name| !name.is_empty());
    if let Some(name) = name.filter(|name| !is_group(name)) {
        report.add("linux.intelRdt.closID", format!("{name:?} can't be the name of a group"));
    }
    if name.is_none() && !is_group(id) {
        report.add("linux.intelRdt", format!("{id:?}, the container's id, can't name a group"));
    }
    let (lines, root) = check(given, root, &mut report)?;
    let Some(root) = root else { return report.finish(None) };
    let control = match name {
        Some("/") => root,
        name => root.join(name.unwrap_or(id)),
    };
    let exists = control.is_dir();
    match name {
        None if exists => {
            let step = format!("make resctrl group {}", control.display());
            report.push(Error::host("linux.intelRdt", step, Errno::EEXIST));
        }
        Some(name) if !exists && lines.is_empty() => {
            let step = format!("no group {name:?} (without a schema it must be there before)");
            report.push(Error::host("linux.intelRdt.closID", step, Errno::ENOENT));
        }
        Some(_) if exists && !lines.is_empty() => {
            let path = control.join("schemata");
            let current = report.take(read(&path));
            report.take(schemata::compare(&lines, &current).map_err(|line| {
                let reason = format!("{line:?} is not what {} has", path.display());
                Error::invalid("linux.intelRdt", reason)
            }));
        }
        _ => {}
    }
    let monitored = monitored || *given.enable_monitoring() == Some(true);
    let groups = Groups {
        monitor: monitored.then(|| control.join("mon_groups").join(id)),
        control,
        made: false,
        shared: name.is_some(),
        made_monitor: false,
    };
    let schemata = if exists { String::new() } else { lines };
    report.finish(Some(Plan { groups, missing: !exists, schemata }))
}

/// The lines of the schemas, and where resctrl is mounted, which has to offer what these are about.
fn check(
    given: &LinuxIntelRdt,
    root: impl FnOnce() -> Result<Option<PathBuf>, Error>,
    report: &mut Report,
) -> Result<(String, Option<PathBuf>), Error> {
    let lines = report.take(schemata::lines(given));
    let root = root()?;
    let Some(root) = &root else {
        report.add("linux.intelRdt", "no resctrl file system is mounted on this host");
        return Ok((lines, None));
    };
    for (field, info) in schemata::needed(given) {
        if !info.iter().any(|info| root.join("info").join(info).is_dir()) {
            let reason = format!("the resctrl file system offers no {}", info[0]);
            report.push(Error::host(field, reason, Errno::ENOTSUP));
        }
    }
    Ok((lines, Some(root.clone())))
}

fn is_group(name: &str) -> bool {
    name == "/" || !name.contains(['/', '\n', '\0']) && !RESERVED.contains(&name)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).context(|| format!("read {}", path.display()))
}

impl Plan {
    /// Makes the groups, and notes in the container's what of them was made. That, before an error too,
    /// is for [`Groups::remove`].
    pub fn create(&self, groups: &mut Groups) -> Result<(), Error> {
        self.make_control(groups)?;
        if let Some(monitor) = &groups.monitor {
            make(monitor)?;
            groups.made_monitor = true;
        }
        Ok(())
    }

    fn make_control(&self, groups: &mut Groups) -> Result<(), Error> {
        let Groups { control, made, shared, .. } = groups;
        if self.missing {
            match make(control) {
                // Somebody else has made it since we looked: it is shared then.
                Err(Error::System { source: Os(Errno::EEXIST), .. }) if *shared => {}
                result => *made = result.map(|()| true)?,
            }
        }
        if self.schemata.is_empty() { Ok(()) } else { write(control, "schemata", &self.schemata) }
    }
}

impl Groups {
    /// Moves a process of one thread; what it starts later is in the same groups.
    pub fn join(&self, pid: i32) -> Result<(), Error> {
        for group in [Some(&self.control), self.monitor.as_ref()].into_iter().flatten() {
            write(group, "tasks", &pid.to_string())?;
        }
        Ok(())
    }

    /// Removes what was made for this container, once it has no process.
    pub fn remove(&self) -> Result<(), Error> {
        if let Some(monitor) = self.monitor.as_ref().filter(|_| self.made_monitor) {
            remove(monitor)?;
        }
        // Tasks of other containers would fall back to the group of everybody.
        let used = || read(&self.control.join("tasks")).is_ok_and(|tasks| !tasks.trim().is_empty());
        if self.made && !(self.shared && used()) {
            remove(&self.control)?;
        }
        Ok(())
    }
}

fn make(group: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().mode(0o755).create(group);
    made.context(|| format!("linux.intelRdt: make resctrl group {}", group.display()))
}

fn remove(group: &Path) -> Result<(), Error> {
    match fs::remove_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.context(|| format!("remove resctrl group {}", group.display())),
    }
}

/// One write: the kernel takes all lines or none.
fn write(group: &Path, file: &str, text: &str) -> Result<(), Error> {
    let path = group.join(file);
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let mut step = format!("linux.intelRdt: write {:?} to {}", text.trim_end(), path.display());
        if let Some(words) = last_status(group) {
            step.push_str(&format!(" ({words})"));
        }
        Error::system(step, error)
    })
}

/// What the kernel has to say about the last write that failed.
fn last_status(group: &Path) -> Option<String> {
    let mut roots = group.ancestors().map(|dir| dir.join("info/last_cmd_status"));
    let words = roots.find_map(|path| fs::read_to_string(path).ok())?;
    let words = words.trim();
    (!words.is_empty() && words != "ok").then(|| words.to_owned())
}

/// Where the host has resctrl mounted.
pub(crate) fn mount_point() -> Result<Option<PathBuf>, Error> {
    let table = fs::read("/proc/self/mountinfo").context(|| "read /proc/self/mountinfo")?;
    Ok(find_mount(&table))
}

fn find_mount(table: &[u8]) -> Option<PathBuf> {
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"resctrl").then(|| PathBuf::from(std::ffi::OsString::from_vec(unescaped(point))))
    })
}

/// A path of mountinfo, in which blanks are octal: `\040`.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
