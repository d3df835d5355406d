//! What the kernel must have, and which part of it this one has not.

use crate::{Errno, check};

/// A system call that the runtime uses, and that a kernel or a filter around us may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// The version of Linux that brought it.
    pub since: &'static str,
    number: libc::c_long,
}

const fn call(name: &'static str, since: &'static str, number: libc::c_long) -> Call {
    Call { name, since, number }
}

/// All of them, but those that every kernel has on which a static program runs.
pub const CALLS: &[Call] = &[
    call("bpf", "3.18", libc::SYS_bpf),
    call("clone3", "5.3", libc::SYS_clone3),
    call("close_range", "5.9", libc::SYS_close_range),
    call("execveat", "3.19", libc::SYS_execveat),
    call("fsconfig", "5.2", libc::SYS_fsconfig),
    call("fsmount", "5.2", libc::SYS_fsmount),
    call("fsopen", "5.2", libc::SYS_fsopen),
    call("fspick", "5.2", libc::SYS_fspick),
    call("memfd_create", "3.17", libc::SYS_memfd_create),
    call("mount_setattr", "5.12", libc::SYS_mount_setattr),
    call("move_mount", "5.2", libc::SYS_move_mount),
    call("open_tree", "5.2", libc::SYS_open_tree),
    call("openat2", "5.6", libc::SYS_openat2),
    call("pidfd_getfd", "5.6", libc::SYS_pidfd_getfd),
    call("pidfd_open", "5.3", libc::SYS_pidfd_open),
    call("pidfd_send_signal", "5.1", libc::SYS_pidfd_send_signal),
    call("sched_setattr", "3.14", libc::SYS_sched_setattr),
    call("seccomp", "3.17", libc::SYS_seccomp),
    call("set_mempolicy", "2.6.7", libc::SYS_set_mempolicy),
    call("statx", "4.11", libc::SYS_statx),
];

impl Call {
    /// The kernel answers ENOSYS to it.
    pub fn is_missing(&self) -> bool {
        // SAFETY: every one of these calls refuses -1 for its descriptor, flags, command or size before
        // it does anything, and copies from and to addresses with checks.
        check(unsafe { libc::syscall(self.number, -1, -1, -1, -1, -1, -1) }) == Err(Errno::ENOSYS)
    }
}
