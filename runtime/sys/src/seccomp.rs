//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Result, check};

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` (Linux 5.0): the call answers with a notification descriptor.
pub const NEW_LISTENER: u32 = 1 << 3;

#[repr(C)]
struct Program {
    len: u16,
    filter: *const u8,
}

/// Whether the kernel knows a `SECCOMP_FILTER_FLAG_*`: it looks at the flags before it reads the
/// program, of which there is none here.
pub fn knows_flag(flag: u32) -> bool {
    let none = std::ptr::null::<Program>();
    // SAFETY: the null address is not followed: the kernel copies from it, and answers EFAULT.
    let result = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flag, none)
    });
    result == Err(crate::Errno::EFAULT)
}

/// seccomp(2) `SECCOMP_SET_MODE_FILTER`: `filter` is a sequence of 8-byte `sock_filter`s.
/// Answers with the listener when `flags` has [`NEW_LISTENER`].
pub fn load(filter: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    let program = Program { len: (filter.len() / 8) as u16, filter: filter.as_ptr() };
    // SAFETY: the length goes with the pointer, both live across the call; the kernel copies and
    // checks the program.
    let value = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program)
    })?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(value as i32) }))
}
