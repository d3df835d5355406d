//! Pseudo-terminals and controlling terminals, see pty(7) and ioctl_tty(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, check};

/// Unlocks the slave of a master (`TIOCSPTLCK`).
pub fn unlock(master: BorrowedFd<'_>) -> Result<()> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the kernel reads one int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) }.into()).map(drop)
}

/// The number of the slave, its name below /dev/pts (`TIOCGPTN`).
pub fn number(master: BorrowedFd<'_>) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel writes one unsigned int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number) }.into())?;
    Ok(number)
}

/// Opens the slave without a path (`TIOCGPTPEER`, Linux 4.13), not as controlling terminal.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: plain integers; the descriptor is new and ours.
    unsafe {
        let fd = check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags).into())?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Makes the terminal the controlling one of this session (`TIOCSCTTY`).
pub fn make_controlling(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// Reads the size (`TIOCGWINSZ`).
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size> {
    // SAFETY: the kernel fills the zeroed structure.
    unsafe {
        let mut raw: libc::winsize = std::mem::zeroed();
        check(libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut raw).into())?;
        Ok(Size { rows: raw.ws_row, columns: raw.ws_col })
    }
}

/// Sets the size (`TIOCSWINSZ`); the foreground process group gets SIGWINCH.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads the structure.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw) }.into()).map(drop)
}
