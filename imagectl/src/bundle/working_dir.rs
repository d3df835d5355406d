//! The process' working directory, made in the rootfs where the image has none.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::user::ProcessUser;
use crate::error::{Error, Result};
use crate::inside;

/// Makes the directory, and those above it, as the user's own: what an image builder does for WORKDIR
/// and podman at a start. A mount of the container's may hide it; then nothing needs it.
///
/// # Errors
/// [`Error::Document`] if something that is no directory is in its way.
pub fn make(rootfs: BorrowedFd<'_>, path: &str, user: &ProcessUser) -> Result<()> {
    let bad = |reason: String| Error::Document {
        what: format!("the working directory '{}'", path.escape_debug()),
        reason,
    };
    let mut way = String::from("/");
    let mut directory = rootfs.try_clone_to_owned().map_err(Error::step("open the rootfs"))?;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            // What is above depends on links; the kernel goes there, if it is there.
            return Ok(());
        }
        let parent = directory;
        way.push_str(part);
        directory = match open(rootfs, &way) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                create(&parent, part, user).map_err(|errno| match errno {
                    Errno::EXIST => bad(format!("{way} is a link to nothing")),
                    errno => bad(format!("make {way}: {errno}")),
                })?;
                open(rootfs, &way).map_err(|errno| bad(format!("open {way}: {errno}")))?
            }
            Err(Errno::NOTDIR) => return Err(bad(format!("{way} is no directory"))),
            Err(errno) => return Err(bad(format!("open {way}: {errno}"))),
        };
        way.push('/');
    }
    Ok(())
}

/// Opens a directory; links lead on inside of the rootfs.
fn open(rootfs: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    inside::open(rootfs, path, flags, resolve)
}

fn create(parent: impl AsFd, name: &str, user: &ProcessUser) -> Result<(), Errno> {
    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::chownat(&parent, name, Some(uid), Some(gid), flags) {
        // Without root all files are the caller's own.
        Err(Errno::PERM | Errno::INVAL) if !rustix::process::geteuid().is_root() => Ok(()),
        result => result,
    }
}
