//! The criu program: where it is, and how it is started.

use std::env;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access};
use sys::process::{CloneArgs, Cloned, clone3, exit_now};

use super::stage::Stage;
use crate::error::{Context, Error};
use crate::init::{Result as InitResult, Step};
use crate::plan::flag;
use crate::process::Process;
use crate::sync::{Channel, Message};

/// Some engines call the runtime without a PATH; criu itself needs one for tar, ip and iptables.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program with its environment.
#[derive(Debug)]
pub(super) struct Program {
    path: CString,
    env: Vec<CString>,
}

/// What the process has beside its socket.
#[derive(Debug, Default)]
pub(super) struct Start<'a> {
    /// The v2 cgroup to be born in.
    pub cgroup: Option<OwnedFd>,
    /// Its standard streams are the caller's, not /dev/null.
    pub own_streams: bool,
    /// Descriptors that it takes over.
    pub inherited: &'a [RawFd],
    /// Directories that it has open under our numbers, in its own mount namespace: elsewhere, it could
    /// mount nothing in them.
    pub directories: Vec<(RawFd, &'a Path)>,
    /// The mounts to make, in a mount namespace of its own.
    pub stage: Option<Stage<'a>>,
}

impl Program {
    /// Finds it in PATH.
    pub fn find() -> Result<Program, Error> {
        let given = env::var_os("PATH").filter(|path| !path.is_empty());
        let dirs = given.clone().unwrap_or_else(|| PATH.into());
        let path = env::split_paths(&dirs)
            .map(|dir| dir.join("criu"))
            .find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
            .ok_or(Error::NoCriu)?;
        let mut variables: Vec<(OsString, OsString)> = env::vars_os().collect();
        if given.is_none() {
            variables.push(("PATH".into(), PATH.into()));
        }
        // They came from exec: there is no NUL byte in them.
        let env = variables.into_iter().filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        });
        let path = CString::new(path.into_os_string().into_vec()).unwrap_or_default();
        Ok(Program { path, env: env.collect() })
    }

    /// Starts it as a worker; its exec has happened when this returns, and the socket is ours.
    ///
    /// Descriptors in a request are those of the process that made the socket pair, as the kernel tells
    /// criu: that is criu's own, before the exec.
    pub fn start(&self, start: Start<'_>) -> Result<(Process, OwnedFd), Error> {
        let (ours, theirs) = Channel::pair().context(|| "socketpair")?;
        let flags = if start.stage.is_some() { flag::MOUNT } else { 0 };
        let args = CloneArgs { flags, cgroup: start.cgroup.as_ref().map(AsFd::as_fd) };
        let process = match clone3(&args).context(|| "clone3 of criu")? {
            Cloned::Parent { pid, pidfd } => Process { pid, pidfd },
            Cloned::Child => {
                let failure = match self.run(&start, &theirs) {
                    Ok(errno) => (format!("exec {}", self.path.to_string_lossy()), errno).into(),
                    Err(failure) => failure,
                };
                let _ = theirs.send(&Message::Failed(failure));
                exit_now(1)
            }
        };
        drop(theirs);
        match started(&ours) {
            Ok(socket) => Ok((process, socket)),
            Err(error) => {
                crate::spawn::end(&process);
                Err(error)
            }
        }
    }

    /// In the child. What comes back is why the exec failed.
    fn run(&self, start: &Start<'_>, channel: &Channel) -> InitResult<Errno> {
        if let Some(stage) = &start.stage {
            stage.set()?;
        }
        sys::process::reset_signals().step(|| "reset signals")?;
        // What our caller left open is not the container's.
        sys::process::close_on_exec(3).step(|| "close_range")?;
        let kind = SockType::SeqPacket;
        let (theirs, own) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)
            .step(|| "socketpair for criu")?;
        channel.send(&Message::Ready).step(|| "report to the runtime")?;
        channel.send_fd(theirs.as_fd()).step(|| "report to the runtime")?;
        for (number, path) in &start.directories {
            let step = || format!("open {}", path.display());
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let directory = open(*path, flags, Mode::empty()).step(step)?;
            sys::file::dup_onto(directory.as_fd(), *number).step(step)?;
        }
        let own = own.as_raw_fd();
        for fd in start.inherited.iter().copied().filter(|fd| *fd > 2).chain([own]) {
            sys::file::keep_on_exec(fd).step(|| format!("pass on descriptor {fd}"))?;
        }
        if !start.own_streams {
            let null = open_null().step(|| "open /dev/null")?;
            for target in 0..3 {
                sys::file::dup_onto(null.as_fd(), target).step(|| "attach /dev/null")?;
            }
        }
        let number = CString::new(own.to_string()).unwrap_or_default();
        let env: Vec<&CStr> = self.env.iter().map(CString::as_c_str).collect();
        Ok(sys::process::execve(&self.path, &[c"criu", c"swrk", &number], &env))
    }
}

/// The child's word, with the socket, and the end of the channel by its exec.
fn started(channel: &Channel) -> Result<OwnedFd, Error> {
    let step = || "start criu";
    let mut socket = None;
    loop {
        match (channel.receive().context(step)?, socket.take()) {
            (Some(Message::Ready), None) => socket = Some(channel.receive_fd().context(step)?),
            (None, Some(socket)) => return Ok(socket),
            (Some(Message::Failed(failure)), _) => return Err(Error::Exec(failure)),
            _ => return Err(Error::system(step(), Errno::EPROTO)),
        }
    }
}

/// For reading and writing.
pub(super) fn open_null() -> nix::Result<OwnedFd> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
}
