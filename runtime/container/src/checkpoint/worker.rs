//! A conversation with `criu swrk`: one packet a message, over a socket that it is given.
//!
//! ```text
//! we                               criu
//! VERSION, keep open    ------->
//!                       <-------   VERSION
//! FEATURE_CHECK, keep   ------->                 where a flag needs one
//!                       <-------   FEATURE_CHECK
//! DUMP, RESTORE, …      ------->
//!                       <-------   NOTIFY        "network-lock", "setup-namespaces", "post-restore", …;
//! NOTIFY, go on or not  ------->                 with "orphan-pts-master" comes a descriptor
//!                       <-------   DUMP, RESTORE, …
//! ```

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use sys::process::Exit;

use super::log_file;
use super::message::{
    Feature, Response, Version, feature_request, go_on, kind, request, version_request,
};
use super::program::{Program, Start};
use super::wire::Writer;
use crate::error::{Context, Error};
use crate::process::{Process, describe};

/// criu's longest answer is far shorter.
const MAX: usize = 40 * 1024;

/// What criu tells of while it is at work, with the descriptor that came along.
pub(super) struct Event<'a> {
    /// What has happened or is about to.
    pub script: &'a [u8],
    /// The first process of the container, in our pid namespace.
    pub pid: i32,
    /// Of the terminal's master.
    pub fd: Option<OwnedFd>,
}

/// A criu at our service. It is ended when dropped.
#[derive(Debug)]
pub(super) struct Worker {
    socket: OwnedFd,
    /// Until it has been waited for.
    process: Option<Process>,
    version: Version,
}

impl Worker {
    /// Starts one. `enrol` is given its pid before it does anything.
    pub fn start(
        program: &Program,
        start: Start<'_>,
        enrol: impl FnOnce(i32) -> Result<(), Error>,
    ) -> Result<Worker, Error> {
        let (process, socket) = program.start(start)?;
        let mut worker = Worker { socket, process: Some(process), version: Version([0; 3]) };
        enrol(worker.pid())?;
        worker.version = worker.ask(&version_request(), |response| response.version())?;
        Ok(worker)
    }

    /// Its process ID.
    pub fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, |process| process.pid)
    }

    pub fn is_at_least(&self, version: [u64; 3]) -> bool {
        self.version >= Version(version)
    }

    /// Refuses what an older criu does not have, or has wrong.
    pub fn needs(&self, what: &'static str, version: [u64; 3]) -> Result<(), Error> {
        if self.is_at_least(version) {
            return Ok(());
        }
        let (needed, found) = (Version(version).to_string(), self.version.to_string());
        Err(Error::OldCriu { what, needed, found })
    }

    /// Refuses what criu says that it, or the kernel, does not have.
    pub fn needs_feature(&self, what: &'static str, feature: Feature) -> Result<(), Error> {
        match self.ask(&feature_request(feature), |response| response.has(feature))? {
            true => Ok(()),
            false => Err(Error::CriuLacks { what, feature: feature.name() }),
        }
    }

    fn ask<T>(&self, message: &Writer, read: impl FnOnce(Response<'_>) -> T) -> Result<T, Error> {
        self.send(message)?;
        let mut packet = [0; MAX];
        let (length, _) = self.receive(&mut packet)?;
        let response = Response::new(&packet[..length]);
        if response.success() { Ok(read(response)) } else { Err(failed(response, None)) }
    }

    /// Has it do something, and answers what it tells meanwhile. The error has what `log` says.
    pub fn carry_out(
        mut self,
        wanted: u64,
        options: &Writer,
        log: &Path,
        answer: &mut dyn FnMut(Event<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.send(&request(wanted, options))?;
        let mut refused = None;
        let mut packet = [0; MAX];
        loop {
            let (length, fd) = match self.receive(&mut packet) {
                Ok(received) => received,
                Err(error) => return Err(refused.unwrap_or(error)),
            };
            let response = Response::new(&packet[..length]);
            if !response.success() {
                return Err(refused.unwrap_or_else(|| failed(response, log_file::errors(log))));
            }
            if response.kind() != kind::NOTIFY {
                break;
            }
            let (script, pid) = response.notification();
            log::debug!("criu: {}", String::from_utf8_lossy(script));
            let result = answer(Event { script, pid, fd });
            self.send(&go_on(result.is_ok()))?;
            refused = refused.or(result.err());
        }
        if let Some(error) = refused {
            return Err(error);
        }
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        let Some(process) = self.process.take() else { return Ok(()) };
        match process.wait().context(|| "wait for criu")? {
            Exit::Code(0) => Ok(()),
            // It had been ready for more of them.
            _ if wanted == kind::PRE_DUMP => Ok(()),
            exit => Err(Error::Criu { what: describe(exit), log: log_file::errors(log) }),
        }
    }

    fn send(&self, message: &Writer) -> Result<(), Error> {
        send(self.socket.as_raw_fd(), message.as_ref(), MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .context(|| "send to criu")
    }

    fn receive(&self, packet: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Error> {
        let step = || "receive from criu";
        loop {
            match sys::file::receive_packet(self.socket.as_fd(), packet) {
                Err(Errno::EINTR) => {}
                Ok((0, _)) => return Err(Error::system(step(), Errno::ECONNRESET)),
                result => return result.context(step),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            crate::spawn::end(process);
        }
    }
}

fn failed(response: Response<'_>, log: Option<String>) -> Error {
    let what = format!("type {} errno {}", kind::name(response.kind()), response.errno());
    Error::Criu { what, log }
}
