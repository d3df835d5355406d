//! Terminals on the caller's side: a pseudo-terminal pair, and a console socket that takes one.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::call::wait_until;
use crate::case::Failure;

/// A pseudo-terminal.
pub struct Terminal {
    /// The master side.
    pub master: OwnedFd,
    /// What was read so far.
    seen: String,
}

impl Terminal {
    /// A new pair of this size; the master and the slave.
    pub fn open(rows: u16, columns: u16) -> Result<(Self, OwnedFd), Failure> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let slave = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty())?;
        let terminal = Self::over(master);
        terminal.resize(rows, columns)?;
        Ok((terminal, slave))
    }

    /// A terminal whose master came from elsewhere.
    pub fn over(master: OwnedFd) -> Self {
        Self { master, seen: String::new() }
    }

    /// Set the size.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.master, size)?)
    }

    /// Type on it.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        File::from(self.master.try_clone()?).write_all(text.as_bytes())?;
        Ok(())
    }

    /// Read until the text read since the last match contains `text`; what came before it.
    pub fn expect(&mut self, text: &str, limit: Duration) -> Result<String, Failure> {
        let seen = wait_until(limit, &format!("{text:?} on the terminal"), || {
            self.fill()?;
            Ok(self.seen.find(text))
        });
        match seen {
            Ok(at) => {
                let rest = self.seen.split_off(at + text.len());
                Ok(std::mem::replace(&mut self.seen, rest))
            }
            Err(Failure(why)) => Err(Failure(format!("{why}; it shows {:?}", self.seen))),
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        while readable(&self.master, Duration::from_millis(5))? {
            let mut buffer = [0; 4096];
            // The other side hanging up reads as an error.
            let Ok(count) = File::from(self.master.try_clone()?).read(&mut buffer) else { break };
            if count == 0 {
                break;
            }
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        Ok(())
    }
}

fn readable(fd: impl AsFd, within: Duration) -> Result<bool, Failure> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let within = Timespec::try_from(within)?;
    Ok(poll(&mut fds, Some(&within))? > 0)
}

/// A listening console socket.
pub struct ConsoleSocket {
    /// Its path.
    pub path: PathBuf,
    listener: UnixListener,
}

/// The one message of a console socket.
#[derive(Debug)]
pub struct ConsoleMessage {
    /// The payload.
    pub name: String,
    /// The descriptors.
    pub fds: Vec<OwnedFd>,
    /// Bytes that came after the message.
    pub more: usize,
}

impl ConsoleSocket {
    /// Listen at `path`.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let listener = UnixListener::bind(path)?;
        // The runtime may be called by another user.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Take the connection and its message.
    pub fn receive(&self, limit: Duration) -> Result<ConsoleMessage, Failure> {
        crate::ensure!(readable(&self.listener, limit)?, "no connection to the console socket");
        let (stream, _) = self.listener.accept()?;
        crate::ensure!(readable(&stream, limit)?, "no message on the console socket");
        let (name, fds) = receive(&stream)?.unwrap_or_default();
        let mut rest = [0; 64];
        let more = if readable(&stream, limit)? {
            File::from(OwnedFd::from(stream)).read(&mut rest)?
        } else {
            0
        };
        Ok(ConsoleMessage { name, fds, more })
    }
}

/// One message: its text and the descriptors with it. None when there is none on a socket that does
/// not wait.
pub fn receive(socket: impl AsFd) -> Result<Option<(String, Vec<OwnedFd>)>, Failure> {
    let mut payload = [0; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut payload)];
    let message = match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        message => message?,
    };
    let fds = ancillary
        .drain()
        .filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    Ok(Some((String::from_utf8_lossy(&payload[..message.bytes]).into_owned(), fds)))
}
