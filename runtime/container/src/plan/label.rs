//! SELinux labels: whether this host has a use for one.

use nix::errno::Errno;
use nix::sys::statfs::{SELINUX_MAGIC, statfs};

use crate::error::Error;

/// Where the kernel's policy is loaded, selinuxfs is mounted here.
const SELINUXFS: &str = "/sys/fs/selinux";

/// A label that nothing would enforce is refused, as in runc.
pub(crate) fn check(field: &str, label: &Option<String>) -> Result<(), Error> {
    match label.as_deref() {
        None | Some("") => Ok(()),
        Some(_) if is_enabled() => Ok(()),
        Some(label) => {
            let step = format!("{label:?} given, but selinux is disabled or not supported");
            Err(Error::host(field, step, Errno::ENOTSUP))
        }
    }
}

fn is_enabled() -> bool {
    statfs(SELINUXFS).is_ok_and(|fs| fs.filesystem_type() == SELINUX_MAGIC)
}
