//! Passing a descriptor to somebody else over a Unix socket.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// One message: `text`, and the descriptor with it.
pub(crate) fn send_fd(
    socket: BorrowedFd<'_>,
    text: &[u8],
    fd: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let text = [IoSlice::new(text)];
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}
