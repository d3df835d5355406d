//! The terminal of a process in the foreground: receiving its master and handing it over.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use container::foreground::Foreground;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::Error;

/// Init has sent its terminal before we begin to wait for it.
const ARRIVAL: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Takes over the terminal of a process that has been prepared; without one, nothing is to do.
pub fn attach(foreground: &mut Foreground) -> Result<(), Error> {
    let Some(console) = foreground.take_console() else { return Ok(()) };
    let master = receive(&console)
        .map_err(|errno| Error::Console { source: std::io::Error::from(errno).into() })?;
    Ok(foreground.attach(master)?)
}

/// The one descriptor of the one message.
fn receive(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut wanted = [PollFd::new(socket, PollFlags::IN)];
    if poll(&mut wanted, Some(&ARRIVAL))? == 0 {
        return Err(Errno::TIMEDOUT);
    }
    let mut payload = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut payload)];
    recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn the_sent_descriptor_is_received() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [there.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let name = [IoSlice::new(b"/dev/ptmx")];
        sendmsg(&far, &name, &mut control, SendFlags::empty()).unwrap();
        let received = receive(&near.into()).unwrap();
        UnixStream::from(received).write_all(b"x").unwrap();
        let mut byte = [0];
        here.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_closed_socket_has_no_descriptor() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(matches!(receive(&near.into()), Err(Errno::BADMSG)));
    }
}
