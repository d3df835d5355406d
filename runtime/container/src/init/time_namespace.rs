//! A time namespace whose clocks are set before anything runs in it.

use std::fs::{self, File};
use std::os::fd::AsFd;

use sys::process::{CLONE_NEWTIME, setns, unshare};

use super::{Result, Step};

/// Makes one for the children of this process. It takes that /proc/self is the process's own to write.
pub(crate) fn make(offsets: &str) -> Result<()> {
    unshare(CLONE_NEWTIME).step(|| "make a time namespace")?;
    for offset in offsets.lines() {
        fs::write("/proc/self/timens_offsets", offset).step(|| {
            // Fractions of a second were checked.
            let clock = offset.split(' ').next().unwrap_or_default();
            format!("linux.timeOffsets.{clock}.secs: write {offset:?}")
        })?;
    }
    Ok(())
}

/// Makes one and enters it.
pub(super) fn enter(offsets: &str) -> Result<()> {
    make(offsets)?;
    let step = || "join the time namespace";
    let namespace = File::open("/proc/self/ns/time_for_children").step(step)?;
    setns(namespace.as_fd(), CLONE_NEWTIME).step(step)
}
