//! Labels of security modules: whether this host has a use for one. What nothing would enforce is
//! refused, as in runc.

use std::fs;

use nix::errno::Errno;
use nix::sys::statfs::{SELINUX_MAGIC, statfs};

use crate::error::Error;

/// Where the kernel's policy is loaded, selinuxfs is mounted here.
const SELINUXFS: &str = "/sys/fs/selinux";

/// `Y` where AppArmor is enabled.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// A label of SELinux.
pub(crate) fn selinux(field: &str, label: &Option<String>) -> Result<(), Error> {
    let enabled = || statfs(SELINUXFS).is_ok_and(|fs| fs.filesystem_type() == SELINUX_MAGIC);
    check(field, label, "selinux", enabled)
}

/// A profile of AppArmor.
pub(crate) fn apparmor(field: &str, profile: &Option<String>) -> Result<(), Error> {
    let enabled = || fs::read(APPARMOR).is_ok_and(|text| text.starts_with(b"Y"));
    check(field, profile, "apparmor", enabled)
}

fn check(
    field: &str,
    label: &Option<String>,
    module: &str,
    enabled: impl FnOnce() -> bool,
) -> Result<(), Error> {
    match label.as_deref() {
        None | Some("") => Ok(()),
        Some(_) if enabled() => Ok(()),
        Some(label) => {
            let step = format!("{label:?} given, but {module} is disabled or not supported");
            Err(Error::host(field, step, Errno::ENOTSUP))
        }
    }
}
