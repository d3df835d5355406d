//! A process on the host: whether it is still the one we know, and how it ended.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use sys::process::Exit;

use crate::error::{Context, Error};
use crate::socket::send_fd;

/// A process we started.
#[derive(Debug)]
pub struct Process {
    /// In the runtime's pid namespace.
    pub pid: i32,
    /// Refers to the process whatever happens to its pid.
    pub pidfd: OwnedFd,
}

impl Process {
    /// Hands a reference to the process to whoever listens at `socket`, in a message that says which
    /// kind of process it is.
    pub(crate) fn send_pidfd(&self, socket: &OwnedFd, kind: &str) -> Result<(), Error> {
        send_fd(socket.as_fd(), kind.as_bytes(), self.pidfd.as_fd())
            .context(|| "send the pidfd to its socket")
    }

    /// Waits for the end and reaps it.
    pub(crate) fn wait(&self) -> Result<Exit, Errno> {
        sys::process::wait(self.pidfd.as_fd())
    }
}

/// How a process ended, in words.
pub(crate) fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit status {code}"),
        Exit::Signal(number) => match Signal::try_from(number) {
            Ok(signal) => format!("signal: {signal}"),
            Err(_) => format!("signal: {number}"),
        },
    }
}

/// What `/proc/<pid>/stat` says of a process that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `Z`, …
    pub state: u8,
    /// 0 when it is not in our pid namespace.
    pub parent: i32,
    /// Clock ticks after boot; with the pid, it names a process for good.
    pub start_time: u64,
}

impl Stat {
    /// None when there is no such process.
    pub fn read(pid: i32) -> Option<Stat> {
        // 52 numbers and a name of 64 bytes at most, in one call: `list` reads a thousand.
        let mut text = [0; 2048];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
        parse_stat(&text[..length])
    }

    /// Dead, though its parent may not have reaped it.
    pub fn ended(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name, in parentheses, may hold anything, parentheses and spaces too.
    let rest = &text[text.iter().rposition(|&b| b == b')')? + 2..];
    let mut fields = rest.split(|&b| b == b' ');
    let state = *fields.next()?.first()?;
    let parent = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let start_time = std::str::from_utf8(fields.nth(17)?).ok()?.parse().ok()?;
    Some(Stat { state, parent, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = b"7 (a) R 1 (b) Z 1 7 7 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 1 0 4711 0 0 18446744073709551615";
        assert_eq!(parse_stat(text), Some(Stat { state: b'Z', parent: 1, start_time: 4711 }));
        assert_eq!(parse_stat(b"garbage"), None);
    }
}
