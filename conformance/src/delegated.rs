//! A v2 cgroup that belongs to the user without privileges, as systemd makes them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use crate::call::Call;
use crate::case::Failure;
use crate::user::UID;

/// It has one in it to call from. Both go when it is dropped.
pub struct Delegated {
    dir: PathBuf,
    limits: bool,
}

impl Delegated {
    /// `mark` becomes a part of its name.
    pub fn new(mark: &str) -> Result<Self, Failure> {
        let delegated =
            Self { dir: format!("/sys/fs/cgroup/{mark}-delegated").into(), limits: false };
        for dir in [delegated.dir.clone(), delegated.callers()] {
            fs::create_dir(&dir)?;
            for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(dir.join(name), Some(UID), Some(UID))?;
            }
        }
        Ok(delegated)
    }

    /// The same, with controllers for the containers in it.
    pub fn with_limits(mark: &str) -> Result<Self, Failure> {
        let mut delegated = Self::new(mark)?;
        delegated.limits = true;
        fs::write(delegated.dir.join("cgroup.subtree_control"), "+memory +cpu +pids")?;
        Ok(delegated)
    }

    /// Its place below the root.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Has it controllers for them?
    pub fn has_limits(&self) -> bool {
        self.limits
    }

    fn callers(&self) -> PathBuf {
        self.dir.join("callers")
    }

    /// The call, made from inside.
    pub fn inside(&self, call: Call) -> Call {
        let procs = self.callers().join("cgroup.procs");
        let script = format!("echo $$ > {} && exec \"$@\"", procs.display());
        call.under(&["sh", "-c", &script, "sh"])
    }

    /// Where a container called from inside has its own.
    pub fn of(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // What else is in it is found as a leak, by its name.
        let _ = fs::remove_dir(self.callers());
        let _ = fs::remove_dir(&self.dir);
    }
}
