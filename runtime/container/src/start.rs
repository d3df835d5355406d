//! start: the other end of the wait of a created container's init.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::agent::{self, Loaded};
use crate::container::{Container, Status};
use crate::error::{Context, Error};
use crate::hooks;
use crate::readiness::Readiness;
use crate::sync::{Channel, Message};

impl Container {
    /// Lets the program of a created container run. Its exec has happened when this returns: with the
    /// socket it says to that it is ready, where `notify` waits for that.
    pub fn start(&mut self, notify: Option<&Path>) -> Result<Option<Readiness>, Error> {
        let _lock = self.entry.lock()?;
        self.state = self.entry.load()?;
        match self.status()? {
            Status::Created => {}
            Status::Creating => return Err(Error::NotRunning),
            Status::Stopped => return Err(Error::StartStopped),
            Status::Paused => return Err(Error::StartPaused),
            Status::Running => return Err(Error::StartRunning),
        }
        // Not before: another start may be waiting at the container's socket.
        let readiness = notify.map(|host| self.readiness(host)).transpose()?.flatten();
        let channel = connect_to(&self.entry.socket())?;
        self.entry.remove_socket()?;
        ask(&channel, self).and_then(|()| self.run_poststart()).inspect_err(|_| {
            // runtime-spec 1.3: a failed poststart hook stops the container. Without its agent, init
            // would wait for ever.
            if let Err(error) = self.end() {
                log::warn!("stop the container: {error}");
            }
        })?;
        Ok(readiness)
    }

    /// The hooks that run once the program does, in the runtime's namespaces.
    pub(crate) fn run_poststart(&self) -> Result<(), Error> {
        if self.state.poststart.is_empty() {
            return Ok(());
        }
        let json = hooks::state_json(&self.state, Status::Running.as_str(), self.state.pid);
        hooks::run("poststart", &self.state.poststart, &json, Some(&self.state.bundle))
    }
}

/// Tells init to go on, and waits until its exec has closed the channel.
pub(crate) fn ask(channel: &Channel, container: &Container) -> Result<(), Error> {
    match channel.send(&Message::Start) {
        // What it said last is read below.
        Ok(()) | Err(Errno::EPIPE) => {}
        Err(errno) => return Err(Error::system("send to the container's init", errno)),
    }
    let mut listens = false;
    loop {
        match channel.receive().context(|| "wait for the container's init")? {
            None => return Ok(()),
            Some(Message::Failed(failure)) => return Err(Error::Init(failure)),
            Some(Message::Listener(fd)) if !listens => {
                listens = true;
                let init = container.init()?.ok_or(Error::StartStopped)?;
                let (state, pidfd) = (&container.state, init.as_fd());
                // As runc has it, and the runtime-spec's example: not yet running.
                let status = Status::Creating;
                agent::hand_over(state, channel, &Loaded { pid: state.pid, pidfd, fd, status })?;
            }
            Some(_) => {
                return Err(Error::system("read from the container's init", Errno::EPROTO));
            }
        }
    }
}

fn connect_to(path: &Path) -> Result<Channel, Error> {
    let step = || "connect to the container's init";
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .context(step)?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(path).context(step)?) {
        // Nobody listens: it has ended since.
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Err(Error::StartStopped),
        result => result.context(step).map(|()| Channel::from_fd(fd)),
    }
}
