//! Gives a container's v2 cgroup to its own root, so that it may divide it further.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Uid, fchownat};

use crate::dir::{Dir, read_path};
use crate::rootless::is_rootless;
use crate::{Cgroup, Error, Mode, Result};

/// The kernel's list of files to hand over (kernel 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// The list without that file.
const FILES: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Makes `uid`, as the host numbers it, the owner of the v2 directory and of the files in it
    /// that the kernel says to delegate. Only on pure v2: v1 can't be handed over safely. Without
    /// privileges it stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Chown`].
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let Some(hierarchy) = self.unified().filter(|_| self.mode == Mode::V2) else {
            return Ok(());
        };
        let dir = Dir::open(&hierarchy.dir())?;
        let chown = |name: &str, flags| {
            fchownat(dir.fd.as_fd(), name, Some(Uid::from_raw(uid)), None, flags)
        };
        let failed = |name: &str, source| Error::Chown { path: dir.path.join(name), uid, source };
        match chown("", AtFlags::AT_EMPTY_PATH) {
            Err(Errno::EPERM) if is_rootless() => return Ok(()),
            result => result.map_err(|source| failed("", source))?,
        }
        let list = read_path(Path::new(LIST)).unwrap_or_else(|_| FILES.into());
        for name in list.lines() {
            match chown(name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                // The list is the kernel's, for all controllers; not every cgroup has every file.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(source) => return Err(failed(name, source)),
            }
        }
        Ok(())
    }
}
