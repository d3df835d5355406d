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
}

impl Delegated {
    /// `mark` becomes a part of its name.
    pub fn new(mark: &str) -> Result<Self, Failure> {
        let delegated = Self { dir: format!("/sys/fs/cgroup/{mark}-delegated").into() };
        for dir in [delegated.dir.clone(), delegated.callers()] {
            fs::create_dir(&dir)?;
            for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(dir.join(name), Some(UID), Some(UID))?;
            }
        }
        Ok(delegated)
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
