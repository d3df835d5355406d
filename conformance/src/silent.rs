//! A file system whose server never answers: whoever looks anything up in it waits, until killed.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use crate::case::{Failure, Outcome};

/// Such a file system, at `silent` below a directory that passes its mounts on.
pub struct Silent {
    /// That directory, of which a container may have a slave.
    pub above: PathBuf,
    server: Option<OwnedFd>,
}

impl Silent {
    /// The directory alone, in `dir`.
    pub fn new(dir: &Path) -> Result<Self, Failure> {
        let above = dir.join("above-silent");
        fs::create_dir_all(above.join("silent"))?;
        mount_bind(&above, &above)?;
        let silent = Self { above, server: None };
        mount_change(&silent.above, MountPropagationFlags::SHARED)?;
        Ok(silent)
    }

    /// Mounts it. Not even its first question, for the protocol's version, will be answered.
    pub fn begin(&mut self) -> Outcome {
        let server = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let fd = server.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other\0");
        let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())
            .map_err(|error| Failure(error.to_string()))?;
        let flags = MountFlags::empty();
        mount("silent", self.above.join("silent"), "fuse", flags, options)?;
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Who waits has an error with that.
        if self.server.take().is_some() {
            let _ = unmount(self.above.join("silent"), UnmountFlags::DETACH);
        }
        let _ = unmount(&self.above, UnmountFlags::DETACH);
    }
}
