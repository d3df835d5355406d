//! Which versions of control groups this host has mounted, and where.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, FsType, TMPFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where every distribution mounts control groups.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// Where a hybrid host has its v2 hierarchy.
pub(crate) const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// What is mounted at /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A tmpfs with one v1 hierarchy a directory.
    V1,
    /// As v1, with a v2 hierarchy at `unified/`.
    Hybrid,
    /// One v2 hierarchy.
    V2,
}

impl Mode {
    /// Asks the kernel, in two calls at most.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`] when /sys/fs/cgroup is neither cgroup2 nor a tmpfs.
    pub fn detect() -> Result<Mode> {
        match kind(Path::new(ROOT)) {
            Ok(CGROUP2_SUPER_MAGIC) => Ok(Mode::V2),
            Ok(TMPFS_MAGIC) => match kind(Path::new(UNIFIED)) {
                Ok(CGROUP2_SUPER_MAGIC) => Ok(Mode::Hybrid),
                _ => Ok(Mode::V1),
            },
            _ => Err(Error::NotMounted { path: ROOT.into() }),
        }
    }
}

/// The type of the file system at `path`.
pub(crate) fn kind(path: &Path) -> std::result::Result<FsType, Errno> {
    Ok(statfs(path)?.filesystem_type())
}
