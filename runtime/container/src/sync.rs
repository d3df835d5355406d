//! The conversation of the runtime with a starting child, over one SEQPACKET pair.
//!
//! ```text
//! parent                                   child
//!   clone3 ---------------------------------> (starts)
//!   id maps, oom score, v1 cgroups
//!   network devices
//!   Proceed --------------------------------> (only a child that waits for these)
//!   sets the id mapping <-------------------- Translate, its descriptor (each mount that has one
//!   Proceed -------------------------------->     and is opened by the child)
//!                                             rootfs, mounts, devices
//!   prestart, createRuntime hooks <---------- Hooks (only when there are any)
//!   Proceed --------------------------------> createContainer hooks, pivot_root, identity
//!   saves the state <------------------------ Ready
//!   Proceed, or the Filter to load ---------> create: waits on exec.sock; run: waits here
//!   Start ----------------------------------> startContainer hooks, seccomp
//!   hands the descriptor to the agent <------ Listener (only a filter with SCMP_ACT_NOTIFY)
//!   Proceed --------------------------------> exec
//!   end of file <---------------------------- (exec closes the socket)
//! ```
//!
//! At any point the child may send Failed and end; the end of the parent ends the child. `start`
//! holds the steps from Start on over a connection to exec.sock instead.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair,
};

use seccomp::Encoded;

use crate::error::InitFailure;

/// Longest message: a filter.
const MAX: usize = 1 + Encoded::MAX;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Parent: go on.
    Proceed,
    /// Parent: go on, this is the filter to load.
    Filter(Encoded),
    /// Child: everything before the hooks of the runtime namespace is done.
    Hooks,
    /// Child: make this entry of `mounts` translate ids. Its descriptor follows in a packet of its
    /// own.
    Translate(u32),
    /// Intermediate process, over a channel of its own: the pid of the child in the parent's namespace.
    Pid(i32),
    /// Child: everything up to the exec is done.
    Ready,
    /// Parent: run the program.
    Start,
    /// Child: its descriptor of this number is the listener of the filter it has just loaded.
    Listener(i32),
    /// Child: this went wrong, I end.
    Failed(InitFailure),
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        match self {
            Message::Proceed => b"p".to_vec(),
            Message::Filter(filter) => [b"b", filter.bytes()].concat(),
            Message::Hooks => b"h".to_vec(),
            Message::Translate(index) => [b"i", &index.to_ne_bytes()[..]].concat(),
            Message::Pid(pid) => [b"c", &pid.to_ne_bytes()[..]].concat(),
            Message::Ready => b"r".to_vec(),
            Message::Start => b"s".to_vec(),
            Message::Listener(fd) => [b"l", &fd.to_ne_bytes()[..]].concat(),
            Message::Failed(failure) => {
                let errno = failure.errno.map_or(0, |errno| errno as i32);
                let step = failure.step.as_bytes();
                [b"f", &errno.to_ne_bytes()[..], &step[..step.len().min(MAX - 8)]].concat()
            }
        }
    }

    fn decode(packet: &[u8]) -> Option<Message> {
        let (&tag, rest) = packet.split_first()?;
        let number = || Some(i32::from_ne_bytes(rest.get(..4)?.try_into().ok()?));
        Some(match tag {
            b'p' => Message::Proceed,
            b'b' => Message::Filter(Encoded::read(rest.to_vec()).ok()?),
            b'h' => Message::Hooks,
            b'i' => Message::Translate(number()? as u32),
            b'c' => Message::Pid(number()?),
            b'r' => Message::Ready,
            b's' => Message::Start,
            b'l' => Message::Listener(number()?),
            b'f' => Message::Failed(InitFailure {
                errno: number().filter(|&errno| errno != 0).map(Errno::from_raw),
                step: String::from_utf8_lossy(rest.get(4..)?).into_owned(),
            }),
            _ => return None,
        })
    }
}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub fn pair() -> Result<(Channel, Channel), Errno> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel(one), Channel(other)))
    }

    /// A connected SEQPACKET socket that is there already.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    /// EPIPE when the other side has gone.
    pub fn send(&self, message: &Message) -> Result<(), Errno> {
        loop {
            match send(self.0.as_raw_fd(), &message.encode(), MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Sends by write(2) and waits by read(2) until it may go on; false when the other side has gone.
    /// With a listener that nobody has yet, every other call might wait for it for ever: no filter
    /// hands over write, and by the read somebody has it.
    pub fn ask_to_go_on(&self, message: &Message) -> Result<bool, Errno> {
        nix::unistd::write(&self.0, &message.encode())?;
        let mut packet = [0u8; 1];
        loop {
            match nix::unistd::read(&self.0, &mut packet) {
                Err(Errno::EINTR) => {}
                result => return Ok(result? == 1 && packet == *b"p"),
            }
        }
    }

    /// The other side has gone. Does not wait, and takes nothing.
    pub fn is_over(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.0.as_raw_fd(), &mut [0], flags), Ok(0) | Err(Errno::ECONNRESET))
    }

    /// Sends a descriptor, in a packet of its own.
    pub fn send_fd(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let fds = [fd.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let text = [IoSlice::new(b"d")];
        sendmsg::<()>(self.0.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None).map(drop)
    }

    /// The descriptor of the next packet.
    pub fn receive_fd(&self) -> Result<OwnedFd, Errno> {
        sys::file::receive_fd(self.0.as_fd())?.ok_or(Errno::EBADMSG)
    }

    /// None when the other side has gone. A packet that can't be read is EBADMSG.
    pub fn receive(&self) -> Result<Option<Message>, Errno> {
        loop {
            match sys::file::receive(self.0.as_fd(), MAX) {
                // Said once, when the other side ended without reading all of ours: its last words
                // are still to come.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Ok(packet) if packet.is_empty() => return Ok(None),
                Ok(packet) => return Message::decode(&packet).map(Some).ok_or(Errno::EBADMSG),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(instructions: usize) -> Encoded {
        let instructions = vec![seccomp::Instruction::default(); instructions];
        seccomp::Filter { instructions, flags: 2, notify: false }.encode()
    }

    #[test]
    fn every_message_arrives_as_sent() {
        let (one, other) = Channel::pair().unwrap();
        for message in [
            Message::Proceed,
            Message::Filter(filter(1)),
            Message::Filter(filter(seccomp::MAX_INSTRUCTIONS)),
            Message::Hooks,
            Message::Translate(7),
            Message::Pid(4711),
            Message::Ready,
            Message::Start,
            Message::Listener(7),
            Message::Failed(InitFailure { step: "mount /x".into(), errno: Some(Errno::EPERM) }),
            Message::Failed(InitFailure { step: "exec".into(), errno: None }),
        ] {
            one.send(&message).unwrap();
            assert_eq!(other.receive().unwrap(), Some(message));
        }
        drop(one);
        assert_eq!(other.receive().unwrap(), None);
    }

    #[test]
    fn the_end_of_the_other_side_shows() {
        let (one, other) = Channel::pair().unwrap();
        assert!(!other.is_over());
        one.send(&Message::Proceed).unwrap();
        assert!(!other.is_over());
        assert_eq!(other.receive().unwrap(), Some(Message::Proceed));
        // Unread words of ours are a reset first.
        other.send(&Message::Ready).unwrap();
        drop(one);
        assert!(other.is_over());
        assert!(other.is_over());
    }

    #[test]
    fn last_words_come_through_when_ours_went_unread() {
        let (one, other) = Channel::pair().unwrap();
        other.send(&Message::Proceed).unwrap();
        one.send(&Message::Ready).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap(), Some(Message::Ready));
        assert_eq!(other.receive().unwrap(), None);
    }
}
