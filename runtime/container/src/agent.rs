//! The agent of a seccomp filter: it gets the filter's listener, over which the kernel asks it about
//! the system calls that the profile leaves to it (SCMP_ACT_NOTIFY).
//!
//! The process that loads the filter can't send the listener itself, because the filter holds for the
//! sending too. It tells its descriptor's number by write(2), which no such filter may name, and the
//! runtime takes the descriptor over by pidfd_getfd(2).

use std::fs;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::container::Status;
use crate::create::OCI_VERSION;
use crate::error::{Context, Error};
use crate::hooks;
use crate::store::State;
use crate::sync::{Channel, Message};

/// How long an agent may take to accept, and to read what it is sent, in seconds.
const PATIENCE: i64 = 10;

/// What the kernel calls the file behind a listener. No path and no other file it makes is called so.
const LISTENER: &str = "anon_inode:seccomp notify";

/// Where the agent listens, and what it is told beside the state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// A process that has loaded a filter with a listener.
pub(crate) struct Loaded<'a> {
    pub pid: i32,
    pub pidfd: BorrowedFd<'a>,
    /// The listener's number among its descriptors.
    pub fd: i32,
    /// The container's.
    pub status: Status,
}

/// Sends the agent the process's listener, and lets the process go on. A process has one: what calls
/// itself another is for the caller to refuse.
pub(crate) fn hand_over(
    state: &State,
    channel: &Channel,
    loaded: &Loaded<'_>,
) -> Result<(), Error> {
    let agent = state.agent.as_ref().ok_or_else(|| {
        Error::system("linux.seccomp.listenerPath of the saved state", Errno::ENODATA)
    })?;
    let fd = sys::process::pidfd_getfd(loaded.pidfd, loaded.fd)
        .context(|| "pidfd_getfd of the seccomp listener")?;
    check(fd.as_fd())?;
    let step = || {
        let path = agent.path.display();
        format!("linux.seccomp.listenerPath: failed to connect with seccomp agent at {path}")
    };
    let message = process_state(agent, state, loaded).to_string();
    let mut stream = connect_to(agent).context(step)?;
    send(&mut stream, message.as_bytes(), fd.as_raw_fd()).context(step)?;
    match channel.send(&Message::Proceed) {
        // It has ended meanwhile, of which the channel tells more.
        Ok(()) | Err(Errno::EPIPE) => Ok(()),
        Err(errno) => Err(Error::system("send to the process with the seccomp listener", errno)),
    }
}

/// Who can ptrace the process could have it name any descriptor: only a listener is passed on.
fn check(fd: BorrowedFd<'_>) -> Result<(), Error> {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    match link.context(|| "look at the seccomp listener")? {
        link if link == Path::new(LISTENER) => Ok(()),
        link => {
            let step = format!("the process has {} for a seccomp listener", link.display());
            Err(Error::system(step, Errno::EPROTO))
        }
    }
}

/// "The Container Process State" of the runtime-spec, config-linux.md.
fn process_state(agent: &Agent, state: &State, loaded: &Loaded<'_>) -> serde_json::Value {
    let mut value = json!({
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": loaded.pid,
        "state": hooks::state_value(state, loaded.status.as_str(), state.pid),
    });
    if let Some(metadata) = &agent.metadata {
        value["metadata"] = json!(metadata);
    }
    value
}

fn connect_to(agent: &Agent) -> Result<UnixStream, Errno> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(PATIENCE, 0))?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(&agent.path)?) {
        Err(Errno::EAGAIN) => Err(Errno::ETIMEDOUT),
        result => result.map(|()| UnixStream::from(fd)),
    }
}

/// One message, as agents expect it; what is too long for one follows without descriptor.
fn send(stream: &mut UnixStream, message: &[u8], fd: i32) -> std::io::Result<()> {
    let fds = [fd];
    let rights = [ControlMessage::ScmRights(&fds)];
    let text = [IoSlice::new(message)];
    let sent = sendmsg::<()>(stream.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    stream.write_all(&message[sent..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listener_is_one() {
        // Some file systems let their users choose what a link of /proc reads like.
        let named = sys::file::sealable_memfd(c"anon_inode:seccomp notify").unwrap();
        assert!(check(named.as_fd()).is_err());
        assert!(check(fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }
}
