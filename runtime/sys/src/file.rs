//! Files beyond what `nix` has: statx attributes, raw directory handles, the network's loopback.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, check};

/// The file can't be changed, not even by root (`chattr +i`).
pub const ATTR_IMMUTABLE: u64 = libc::STATX_ATTR_IMMUTABLE as u64;
/// The file is protected by fs-verity.
pub const ATTR_VERITY: u64 = libc::STATX_ATTR_VERITY as u64;

/// statx(2): the `STATX_ATTR_*` bits of the file at `path`.
pub fn attributes(path: &CStr) -> Result<u64> {
    // SAFETY: the kernel fills the zeroed buffer; the string lives across the call. The raw call,
    // because the standard library knows statx by a weak symbol, and link-time optimisation makes
    // ours one too: in a static program it is null.
    unsafe {
        let mut buf: libc::statx = std::mem::zeroed();
        check(libc::syscall(libc::SYS_statx, libc::AT_FDCWD, path.as_ptr(), 0, 0, &mut buf))?;
        Ok(buf.stx_attributes)
    }
}

/// Which file it is, to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// The device that it stands for, 0 for other files.
    pub special: u64,
}

/// statx(2): which file is at `path`, as the kernel knows it without asking a server.
pub fn identity(path: &CStr) -> Result<Identity> {
    let (path, flags) = (path.as_ptr(), libc::AT_STATX_DONT_SYNC);
    // SAFETY: as in `attributes`.
    unsafe {
        let mut buf: libc::statx = std::mem::zeroed();
        let (fd, mask) = (libc::AT_FDCWD, libc::STATX_INO | libc::STATX_TYPE);
        check(libc::syscall(libc::SYS_statx, fd, path, flags, mask, &mut buf))?;
        let device = libc::makedev(buf.stx_dev_major, buf.stx_dev_minor);
        let special = libc::makedev(buf.stx_rdev_major, buf.stx_rdev_minor);
        Ok(Identity { device, inode: buf.stx_ino, special })
    }
}

/// statx(2): the number of the mount that the file is on (Linux 5.8). It is no other's for as long as
/// the descriptor is open. The file system's server is not asked.
pub fn mount_id(file: BorrowedFd<'_>) -> Result<u64> {
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC);
    // SAFETY: as in `attributes`.
    unsafe {
        let mut buf: libc::statx = std::mem::zeroed();
        let (fd, mask) = (file.as_raw_fd(), libc::STATX_MNT_ID);
        check(libc::syscall(libc::SYS_statx, fd, path, flags, mask, &mut buf))?;
        if buf.stx_mask & mask == 0 { Err(crate::Errno::EOPNOTSUPP) } else { Ok(buf.stx_mnt_id) }
    }
}

/// memfd_create(2) of a file that can be sealed and, unlike most, executed.
pub fn sealable_memfd(name: &CStr) -> Result<OwnedFd> {
    const MFD_EXEC: u32 = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a terminated string that lives across the call; the descriptor is new and ours.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags | MFD_EXEC))
            // MFD_EXEC is Linux 6.3; before, it is the default.
            .or_else(|_| check(libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags)))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Brings the `lo` interface of the current network namespace up (netdevice(7)).
pub fn loopback_up() -> Result<()> {
    // SAFETY: the request is plain data, zeroed and filled here; the socket is new and ours.
    unsafe {
        let fd =
            check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0).into())?;
        let socket = OwnedFd::from_raw_fd(fd as i32);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request).into()).map(drop)
    }
}

/// dup2(2) of `fd` onto one of the three standard descriptors, or in a child about to exec onto one that
/// nobody there uses any more.
pub fn dup_onto(fd: BorrowedFd<'_>, target: i32) -> Result<()> {
    // SAFETY: the standard descriptors are not owned by any OwnedFd, and other owners never come to use
    // or drop theirs.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into()).map(drop)
}

/// Whether the caller of the program passed on this descriptor number: it is open, and not one of
/// our own, which all close on exec.
pub fn is_inherited(fd: i32) -> bool {
    // SAFETY: asks for flags only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// Clears close-on-exec of a descriptor number that the caller passed on.
pub fn keep_on_exec(fd: i32) -> Result<()> {
    // SAFETY: sets flags only.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into()).map(drop)
}

/// accept4(2) with close-on-exec, as an owned descriptor.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    let none = std::ptr::null_mut();
    // SAFETY: the peer's address is not asked for; the descriptor is new and ours.
    unsafe {
        let fd =
            libc::accept4(listener.as_raw_fd(), none, std::ptr::null_mut(), libc::SOCK_CLOEXEC);
        Ok(OwnedFd::from_raw_fd(check(fd.into())? as i32))
    }
}

/// fchown(2) of a descriptor number to `uid`, unless it is that user's already, or /dev/null.
pub fn give_to(fd: i32, uid: u32) -> Result<()> {
    // SAFETY: the kernel fills the zeroed structure; plain integers else.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::fstat(fd, &mut stat).into())?;
        let is_null =
            stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3);
        if is_null || stat.st_uid == uid {
            return Ok(());
        }
        check(libc::fchown(fd, uid, libc::gid_t::MAX).into()).map(drop)
    }
}

/// fsetxattr(2): sets the extended attribute `name` to `value`, without its terminating NUL byte.
pub fn set_attribute(file: BorrowedFd<'_>, name: &CStr, value: &CStr) -> Result<()> {
    let value = value.to_bytes();
    // SAFETY: the name is terminated, the length goes with the value.
    check(
        unsafe {
            let data = value.as_ptr().cast();
            libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), data, value.len(), 0)
        }
        .into(),
    )
    .map(drop)
}

/// recv(2) of one message of at most `max` bytes, empty when the other side has gone. Room for the
/// longest costs nothing where the message is a short one: what is not written to is not touched.
pub fn receive(socket: BorrowedFd<'_>, max: usize) -> Result<Vec<u8>> {
    let mut text: Vec<u8> = Vec::with_capacity(max);
    // SAFETY: the buffer has room for `max` bytes, and the kernel has written those it counts.
    unsafe {
        let received = libc::recv(socket.as_raw_fd(), text.as_mut_ptr().cast(), max, 0);
        text.set_len(check(received as libc::c_long)? as usize);
    }
    Ok(text)
}

/// recvmsg(2) of one message with at most one descriptor; none when the message has none, or the
/// other side has gone. What else is in the message is not of interest.
pub fn receive_fd(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    receive_packet(socket, &mut [0u8; 4096]).map(|(_, fd)| fd)
}

/// recvmsg(2) of one message, with at most one descriptor; its length, 0 when the other side has gone.
pub fn receive_packet(socket: BorrowedFd<'_>, text: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    const DESCRIPTOR: u32 = size_of::<libc::c_int>() as u32;
    // As u64s, because control messages are aligned so.
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    // SAFETY: all buffers live across the call and go with their lengths. A control message of
    // type SCM_RIGHTS, checked for its length, holds a new descriptor that nobody else owns; the
    // kernel closes those that don't fit.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        // Without the padding, in which there would be room for a second one.
        message.msg_controllen = libc::CMSG_LEN(DESCRIPTOR) as usize;
        let flags = libc::MSG_CMSG_CLOEXEC;
        let received = libc::recvmsg(socket.as_raw_fd(), &mut message, flags);
        let length = check(received as libc::c_long)? as usize;
        let header = libc::CMSG_FIRSTHDR(&message);
        if header.is_null()
            || (*header).cmsg_level != libc::SOL_SOCKET
            || (*header).cmsg_type != libc::SCM_RIGHTS
            || (*header).cmsg_len < libc::CMSG_LEN(DESCRIPTOR) as usize
        {
            return Ok((length, None));
        }
        let fd = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::c_int>());
        Ok((length, Some(OwnedFd::from_raw_fd(fd))))
    }
}
