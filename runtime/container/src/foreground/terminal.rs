//! Our own terminal, and the sockets through which the container's one arrives.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use sys::tty::Size;

use crate::error::{Context, Error};

/// A socket pair: one end for init, which sends its terminal's master, one for us.
#[derive(Debug)]
pub(super) struct Console {
    near: OwnedFd,
    far: Option<OwnedFd>,
}

impl Console {
    pub fn new() -> Result<Console, Error> {
        let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
        let (near, far) = pair.context(|| "socketpair for the terminal")?;
        Ok(Console { near, far: Some(far) })
    }

    pub fn take_far_end(&mut self) -> Option<OwnedFd> {
        self.far.take()
    }

    pub fn into_near_end(self) -> OwnedFd {
        self.near
    }
}

/// The terminal that we are shown on.
#[derive(Debug)]
pub(super) struct Terminal {
    fd: OwnedFd,
    /// Its mode before we changed it.
    saved: Option<Termios>,
}

impl Terminal {
    /// Any of our streams may be redirected, so each is tried, and then the controlling terminal.
    pub fn find() -> Option<Terminal> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let streams = [stderr.as_fd(), stdout.as_fd(), stdin.as_fd()];
        let fd = match streams.into_iter().find(|fd| fd.is_terminal()) {
            Some(fd) => fd.try_clone_to_owned().ok()?,
            None => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).custom_flags(libc::O_NOCTTY);
                options.open("/dev/tty").ok()?.into()
            }
        };
        Some(Terminal { fd, saved: None })
    }

    /// None when it has never been given one.
    pub fn size(&self) -> Option<Size> {
        sys::tty::size(self.fd.as_fd()).ok().filter(|size| size.rows != 0 && size.columns != 0)
    }

    /// Lets every key through to the container. With `shown`, output is left alone too.
    ///
    /// A job in the background leaves the terminal to the shell.
    pub fn make_raw(&mut self, shown: bool) -> Result<(), Error> {
        if tcgetpgrp(&self.fd).is_ok_and(|group| group != getpgrp()) {
            return Ok(());
        }
        let saved = tcgetattr(&self.fd).context(|| "read the mode of our terminal")?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        if !shown {
            raw.output_flags = saved.output_flags;
        }
        tcsetattr(&self.fd, SetArg::TCSANOW, &raw).context(|| "make our terminal raw")?;
        self.saved = Some(saved);
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // A terminal that has hung up has no mode to give back.
            let _ = tcsetattr(&self.fd, SetArg::TCSANOW, saved);
        }
    }
}

/// Whether what we write to standard output goes to a terminal.
pub(super) fn is_output_shown() -> bool {
    io::stdout().is_terminal()
}

/// Makes the container's terminal pass `\n` on as it is, not as `\r\n`.
pub(super) fn keep_line_ends(master: BorrowedFd<'_>) -> Result<(), Error> {
    let mut mode = tcgetattr(master).context(|| "read the mode of the container's terminal")?;
    mode.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(master, SetArg::TCSANOW, &mode).context(|| "set the mode of the container's terminal")
}
