//! Making, finding, signalling and ending processes; namespaces.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::{Errno, Result, check};

/// `CLONE_NEWTIME` of unshare(2), setns(2) and clone3(2) (Linux 5.6).
pub const CLONE_NEWTIME: u64 = 0x80;

/// Wider than the type libc gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a new process gets, see clone3(2).
#[derive(Debug, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` and `CLONE_PARENT`.
    pub flags: u64,
    /// The v2 cgroup the child is born in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of a clone3 the caller finds itself on.
#[derive(Debug)]
pub enum Cloned {
    /// The caller: the child's pid in the caller's pid namespace, and a pidfd for it.
    Parent {
        /// The child's process ID.
        pid: i32,
        /// Refers to the child whatever happens to its pid.
        pidfd: OwnedFd,
    },
    /// The new process, which runs on a copy of the caller's memory.
    Child,
}

/// clone3(2) with `CLONE_PIDFD` and SIGCHLD, as fork(2) does it: the child has a copy of the memory.
///
/// The process must have one thread: a lock held by another would stay locked in the child.
pub fn clone3(args: &CloneArgs<'_>) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let mut raw = libc::clone_args {
        flags: args.flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        // A CLONE_PARENT child takes over its sibling's signal; the kernel wants 0 here.
        exit_signal: if args.flags & libc::CLONE_PARENT as u64 == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = args.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM, so the child works on its own copy of the memory and the same stack;
    // `raw` and `pidfd` live across the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut raw, size_of_val(&raw)) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}

/// ioctl_ns(2), NS_GET_NSTYPE (Linux 4.11): the `CLONE_NEW*` flag of an opened namespace. ENOTTY: the
/// file is none.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the call takes no argument and changes nothing.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) }.into()).map(|flag| flag as u64)
}

/// setns(2): `fd` is a namespace, or a pidfd of which `flags` names the namespaces to join.
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags as libc::c_int) }.into()).map(drop)
}

/// unshare(2).
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: plain integers; the caller's memory stays as it is (CLONE_VM is implied).
    check(unsafe { libc::unshare(flags as libc::c_int) }.into()).map(drop)
}

/// pidfd_open(2), Linux 5.3.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor is new and ours.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// pidfd_send_signal(2), Linux 5.1. Signal 0 asks whether the process is there.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo means the same as kill(2).
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// pidfd_getfd(2), Linux 5.6: a copy of descriptor `fd` of that process. Takes the right to ptrace it.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor is new and ours.
    unsafe {
        let copy = check(libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0))?;
        Ok(OwnedFd::from_raw_fd(copy as i32))
    }
}

/// execveat(2) with `AT_EMPTY_PATH`: runs the file behind `fd`. Returns only on failure.
pub fn fexecve(fd: BorrowedFd<'_>, args: &[&CStr], env: &[&CStr]) -> Errno {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    Errno::last()
}

/// execve(2). Returns only on failure.
pub fn execve(path: &CStr, args: &[&CStr], env: &[&CStr]) -> Errno {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::last()
}

fn pointers(strings: &[&CStr]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// _exit(2): ends the process without running what the parent registered for its own end.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(status) }
}

/// close_range(2) from `first` to `last` (Linux 5.9). For a child after clone3, whose copies of the
/// owners of these descriptors are never dropped.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the caller gives up what owns these descriptors, as the contract says.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC` (Linux 5.11): descriptors from `first` on are closed by the
/// next exec.
pub fn close_on_exec(first: u32) -> Result<()> {
    const CLOEXEC: u32 = 1 << 2;
    // SAFETY: nothing is closed yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOEXEC) }).map(drop)
}

/// Gives every signal that would end a process by default a handler that ends it: the first process
/// of a pid namespace is spared by those without. exec takes the handlers away again.
pub fn end_on_signals() -> Result<()> {
    extern "C" fn end(signal: libc::c_int) {
        exit_now(128 + signal);
    }
    // SAFETY: the handler does nothing but _exit, which is safe in one; the structures are plain data.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = end as *const () as libc::sighandler_t;
        for signal in
            [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2]
        {
            check(libc::sigaction(signal, &action, ptr::null_mut()).into())?;
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut()).into()).map(drop)
    }
}

/// Unblocks every signal and gives each its default action, whatever our caller ignored or blocked:
/// what a program expects.
pub fn reset_signals() -> Result<()> {
    /// One past the highest signal of Linux.
    const END: i32 = 65;
    // SAFETY: the sets and actions are plain data, zeroed and then filled by the C library.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..END {
            match check(libc::sigaction(signal, &action, ptr::null_mut()).into()) {
                // SIGKILL, SIGSTOP, and the two that the C library keeps for itself.
                Ok(_) | Err(Errno::EINVAL) => {}
                Err(errno) => return Err(errno),
            }
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut()).into()).map(drop)
    }
}

/// prctl(2) `PR_SET_DUMPABLE`: with false, processes of the container can't ptrace or read us.
pub fn set_dumpable(on: bool) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(on), 0, 0, 0) }.into())
        .map(drop)
}

/// prctl(2) `PR_SET_CHILD_SUBREAPER`: orphaned descendants become our children.
pub fn set_child_subreaper(on: bool) -> Result<()> {
    let on = libc::c_ulong::from(on);
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, on, 0, 0, 0) }.into()).map(drop)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal of this number killed it, real-time ones included.
    Signal(i32),
}

/// waitid(2) by pidfd (Linux 5.4): waits for the end of a child and reaps it.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        // SAFETY: the kernel fills the zeroed structure; for an ended child, it has a status.
        let (result, code, status) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let id = pidfd.as_raw_fd() as libc::id_t;
            let result = libc::waitid(libc::P_PIDFD, id, &mut info, libc::WEXITED);
            (check(result.into()), info.si_code, info.si_status())
        };
        match result {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) if code == libc::CLD_EXITED => return Ok(Exit::Code(status)),
            Ok(_) => return Ok(Exit::Signal(status)),
        }
    }
}
