//! A change of a mount's attributes that leaves alone what the kernel has locked: in a mount namespace
//! of another user namespace than the one a mount was made in, its flags can't be lifted.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use sys::mount::{SetAttr, attr, mount_setattr};

/// What the kernel locks.
const LOCKABLE: u64 =
    attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::ATIME | attr::NODIRATIME;

/// One change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// What the configuration says.
    pub asked: SetAttr,
    /// Attributes that are cleared along with it, where they can be.
    pub implied: u64,
}

impl From<SetAttr> for Change {
    fn from(asked: SetAttr) -> Change {
        Change { asked, implied: 0 }
    }
}

impl Change {
    /// Makes the change to the mount behind `fd`. EPERM: what was asked for is locked.
    pub fn apply(self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let with = |clear| SetAttr { clear: self.asked.clear | clear, ..self.asked };
        match mount_setattr(fd, with(self.implied)) {
            Err(Errno::EPERM) if self.implied & LOCKABLE != 0 => {
                mount_setattr(fd, with(self.implied & !LOCKABLE))
            }
            result => result,
        }
    }
}
