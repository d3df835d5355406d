//! The `remount` option: what is mounted at the destination gets other options.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::{Result, filesystem};
use crate::attributes::Change;
use crate::plan::{Filesystem, Name};

/// Changes the file system first, then the mount, which must be the one at `target`.
pub(super) fn apply(
    name: &Name,
    target: BorrowedFd<'_>,
    change: Change,
    superblock: Option<&Filesystem>,
) -> Result<()> {
    if let Some(options) = superblock {
        filesystem::reconfigure(name, target.as_fd(), options)?;
    }
    change.apply(target).map_err(|errno| match errno {
        Errno::EINVAL => {
            (format!("{}: no mount to remount is there", name.field("destination")), errno).into()
        }
        errno => (format!("{}: remount", name.field("options")), errno).into(),
    })
}
