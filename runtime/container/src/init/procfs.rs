//! A handle on procfs that no mount or link of the container's can redirect.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use sys::mount::{attr, fsconfig_create, fsmount, fsopen};

use super::{Step, failure};

/// `PROC_ROOT_INO` of the kernel.
const ROOT: u64 = 1;

/// The procfs of the container's pid namespace.
#[derive(Debug, Default)]
pub(crate) struct Procfs {
    /// The container's own, which we have mounted ourselves, or one that is mounted nowhere.
    root: OnceCell<OwnedFd>,
}

impl Procfs {
    /// Of what we have mounted; none for a container without a procfs.
    pub fn new(mounted: Option<OwnedFd>) -> Procfs {
        Procfs { root: mounted.map(OnceCell::from).unwrap_or_default() }
    }

    /// Writes to a file of it.
    pub fn write(&self, path: &str, value: &str) -> Result<(), Errno> {
        let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_XDEV
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        let mut file = File::from(openat2(self.handle()?, path, how)?);
        file.write_all(value.as_bytes())
            .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    fn handle(&self) -> Result<BorrowedFd<'_>, Errno> {
        if self.root.get().is_none() {
            let fd = match detached() {
                // In a user namespace whose procfs has masked paths, no whole one can be had.
                Err(Errno::EPERM) => visible(),
                result => result,
            }?;
            // Nobody else has set it: there is one thread.
            self.root.set(fd).map_err(|_| Errno::EBUSY)?;
        }
        self.root.get().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }
}

/// Whether it is a file of a procfs, the container's or another.
pub(super) fn is_procfs(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(fstatfs(fd)?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// What is not meant for /proc must not get there, wherever links of the image's lead.
pub(super) fn keep_out(target: impl AsFd, step: impl Fn() -> String) -> super::Result<()> {
    if is_procfs(target).step(&step)? {
        return Err(failure(format!("{}: it leads into /proc", step())));
    }
    Ok(())
}

fn detached() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"proc")?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// What is mounted at /proc, if that is a procfs. What lies over parts of it is not crossed into.
fn visible() -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open("/proc", flags, Mode::empty())?;
    // A directory of it would lead elsewhere than its root.
    if is_procfs(&fd)? && fstat(&fd)?.st_ino == ROOT { Ok(fd) } else { Err(Errno::EXDEV) }
}
