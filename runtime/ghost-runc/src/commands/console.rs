//! The terminal of a process in the foreground: receiving its master and handing it over.

use std::os::fd::{AsFd, OwnedFd};

use container::foreground::Foreground;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use crate::error::Error;

/// Init has sent its terminal before we begin to wait for it: milliseconds.
const ARRIVAL: u16 = 10_000;

/// Takes over the terminal of a process that has been prepared; without one, nothing is to do.
pub fn attach(foreground: &mut Foreground) -> Result<(), Error> {
    let Some(console) = foreground.take_console() else { return Ok(()) };
    let master = receive(&console)
        .map_err(|errno| Error::Console { source: std::io::Error::from(errno).into() })?;
    Ok(foreground.attach(master)?)
}

/// The one descriptor of the one message.
fn receive(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut wanted, ARRIVAL)? == 0 {
        return Err(Errno::ETIMEDOUT);
    }
    sys::file::receive_fd(socket.as_fd())?.ok_or(Errno::EBADMSG)
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;

    #[test]
    fn the_sent_descriptor_is_received() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let descriptors = [there.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let name = [IoSlice::new(b"/dev/ptmx")];
        sendmsg::<()>(far.as_raw_fd(), &name, &rights, MsgFlags::empty(), None).unwrap();
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
        assert!(matches!(receive(&near.into()), Err(Errno::EBADMSG)));
    }

    #[test]
    fn a_second_descriptor_is_not_kept() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut here, one) = UnixStream::pair().unwrap();
        let (mut other, two) = UnixStream::pair().unwrap();
        let descriptors = [one.as_raw_fd(), two.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let name = [IoSlice::new(b"/dev/ptmx")];
        sendmsg::<()>(far.as_raw_fd(), &name, &rights, MsgFlags::empty(), None).unwrap();
        drop((one, two));
        drop(receive(&near.into()).unwrap());
        // Nobody has the other ends any more.
        for end in [&mut here, &mut other] {
            end.set_nonblocking(true).unwrap();
            assert_eq!(end.read(&mut [0]).unwrap(), 0);
        }
    }
}
