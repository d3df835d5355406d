//! Other schemas for a container that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use oci_spec::runtime::LinuxIntelRdt;

use super::{Groups, Plan, check, plan, read, write};
use crate::error::{Error, Os};
use crate::report::Report;

/// What `update` does about the groups, checked before anything is done.
pub(crate) struct Change {
    /// The container's groups after it.
    pub groups: Groups,
    how: How,
}

enum How {
    /// The container has had no group.
    Make(Plan),
    /// The lines to write, and those that the group has had.
    Write { lines: String, before: String },
}

/// As [`plan`], for a container with these groups, or none. `given` has schemas only.
pub(crate) fn change(
    given: &LinuxIntelRdt,
    id: &str,
    groups: Option<&Groups>,
    root: impl FnOnce() -> Result<Option<PathBuf>, Error>,
) -> Result<Change, Error> {
    let Some(groups) = groups else {
        let plan = plan(given, id, false, root)?;
        return Ok(Change { groups: plan.groups.clone(), how: How::Make(plan) });
    };
    let mut report = Report::default();
    let (lines, _) = check(given, root, &mut report)?;
    let before = read(&groups.control.join("schemata"));
    report.finish(Some(()))?;
    Ok(Change { groups: groups.clone(), how: How::Write { lines, before: before? } })
}

impl Change {
    /// Does it; `pids` are the container's processes. After an error all is as it was.
    pub fn make(&mut self, pids: impl Fn() -> Result<Vec<i32>, Error>) -> Result<(), Error> {
        match &self.how {
            How::Write { lines, .. } => write(&self.groups.control, "schemata", lines),
            How::Make(plan) => plan
                .create(&mut self.groups)
                .and_then(|()| move_in(&self.groups, pids))
                .inspect_err(|_| self.undo()),
        }
    }

    /// Best effort: the error that led here is the one to tell.
    pub fn undo(&self) {
        let undone = match &self.how {
            How::Write { before, .. } => write(&self.groups.control, "schemata", before),
            // Its tasks fall back to the group of everybody, where they were.
            How::Make(_) => self.groups.remove(),
        };
        if let Err(error) = undone {
            log::warn!("{error}");
        }
    }
}

/// Moves every thread; those that others start meanwhile are found by looking again.
fn move_in(groups: &Groups, pids: impl Fn() -> Result<Vec<i32>, Error>) -> Result<(), Error> {
    let mut moved = BTreeSet::new();
    loop {
        let known = moved.len();
        for pid in pids()? {
            // A process that has ended has none.
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let tid = task.file_name().to_str().and_then(|name| name.parse().ok());
                let Some(tid) = tid.filter(|tid| moved.insert(*tid)) else { continue };
                match groups.join(tid) {
                    Err(Error::System { source: Os(Errno::ESRCH), .. }) => {}
                    result => result?,
                }
            }
        }
        if moved.len() == known {
            return Ok(());
        }
    }
}
