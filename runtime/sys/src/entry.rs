//! The program's first instructions, which run before the C library has started.
//!
//! glibc's start of a static program takes 0.3 ms in a virtual machine, where each of its 29 CPUID
//! instructions goes to the hypervisor. A command that goes on in a copy of the program which nobody
//! can write to (CVE-2019-5736) would pay that twice; from here it pays once. Whatever can't be done
//! here is left for the program proper, which looks again.
//!
//! There is no C library yet: no `errno`, no thread-local storage, no memcpy(3). So all memory is read
//! by volatile loads, which the compiler does not turn into calls.

use core::arch::{asm, global_asm};
use std::ffi::{CStr, c_char, c_int, c_long};
use std::mem::MaybeUninit;
use std::ptr;

use libc::{AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC};

use crate::file::{ATTR_IMMUTABLE, ATTR_VERITY};
use crate::mount::{OPEN_TREE_CLONE, attr};

const SELF: &CStr = c"/proc/self/exe";
/// The commands that go on in the copy.
const GUARDED: [&CStr; 3] = [c"create", c"run", c"exec"];
/// The kernel's `struct statfs` (asm-generic/statfs.h), and where its `f_flags` are.
const STATFS_WORDS: usize = 15;
const STATFS_FLAGS: usize = 10;
/// A container that tries to open the file for writing counts as a writer until it is refused.
const TRIES: usize = 1000;

// The kernel (or the dynamic linker) leaves the arguments at the stack pointer and in rdx a function
// to call at exit; `_start` is the C library's.
global_asm!(
    ".globl ghost_runc_entry",
    ".type ghost_runc_entry, @function",
    "ghost_runc_entry:",
    "mov rdi, rsp",
    "push rdx",
    "sub rsp, 8",
    "call {go_on_in_copy}",
    "add rsp, 8",
    "pop rdx",
    "jmp _start",
    ".size ghost_runc_entry, . - ghost_runc_entry",
    go_on_in_copy = sym go_on_in_copy,
);

/// Runs the program again from a detached read-only mount of its file, if the command is a guarded one
/// and the file can be written to. Returns else, and when it fails.
///
/// # Safety
///
/// `stack` is what the kernel gives a new program: argc, argv and a null pointer, the environment and
/// a null pointer (System V ABI, AMD64 supplement, 3.4.1).
unsafe extern "C" fn go_on_in_copy(stack: *const usize) {
    // SAFETY: the caller's promise.
    let (args, env) = unsafe {
        let args = stack.add(1).cast::<*const c_char>();
        (args, args.add(stack.read_volatile() + 1))
    };
    // SAFETY: the arguments are strings that end with a NUL byte, and a null pointer ends them.
    if !unsafe { is_guarded(args) } || !is_root() || can_not_be_written() {
        return;
    }
    let Some(mount) = read_only_mount() else { return };
    for _ in 0..TRIES {
        // SAFETY: both arrays end with a null pointer, and nothing else changes them.
        let failure = unsafe {
            let empty = c"".as_ptr() as usize;
            let (args, env) = (args as usize, env as usize);
            call(libc::SYS_execveat, [mount, empty, args, env, AT_EMPTY_PATH as usize])
        };
        if failure != -(libc::ETXTBSY as isize) {
            break;
        }
    }
    // SAFETY: the descriptor is ours, and nothing else knows it.
    unsafe { call(libc::SYS_close, [mount, 0, 0, 0, 0]) };
}

/// One of the words is a guarded command. It may mean something else there, which costs an exec.
///
/// # Safety
///
/// A null pointer ends `args`, which point to strings.
unsafe fn is_guarded(args: *const *const c_char) -> bool {
    let mut at = args;
    // SAFETY: up to the null pointer, as the caller promises.
    unsafe {
        loop {
            let arg = at.read_volatile();
            if arg.is_null() {
                return false;
            }
            for word in GUARDED {
                if is_same(arg, word.as_ptr()) {
                    return true;
                }
            }
            at = at.add(1);
        }
    }
}

/// # Safety
///
/// Both end with a NUL byte.
unsafe fn is_same(mut one: *const c_char, mut other: *const c_char) -> bool {
    // SAFETY: neither is read beyond its NUL byte: the first that differs ends the loop.
    unsafe {
        loop {
            let (a, b) = (one.read_volatile(), other.read_volatile());
            if a != b || a == 0 {
                return a == b;
            }
            (one, other) = (one.add(1), other.add(1));
        }
    }
}

fn is_root() -> bool {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_geteuid, [0; 5]) == 0 }
}

/// The file is on a read-only mount (the copy is), immutable, or protected by fs-verity.
fn can_not_be_written() -> bool {
    let path = SELF.as_ptr() as usize;
    let mut system = MaybeUninit::<[u64; STATFS_WORDS]>::uninit();
    let mut file = MaybeUninit::<libc::statx>::uninit();
    // SAFETY: a terminated string; the kernel fills the whole of each structure when it answers 0.
    unsafe {
        let at = system.as_mut_ptr();
        if call(libc::SYS_statfs, [path, at as usize, 0, 0, 0]) == 0
            && at.cast::<u64>().add(STATFS_FLAGS).read_volatile() & libc::ST_RDONLY != 0
        {
            return true;
        }
        let at = file.as_mut_ptr();
        // What it can't answer, the program proper asks again, and refuses to run without.
        call(libc::SYS_statx, [AT_FDCWD as usize, path, 0, 0, at as usize]) != 0
            || ptr::addr_of!((*at).stx_attributes).read_volatile() & (ATTR_IMMUTABLE | ATTR_VERITY)
                != 0
    }
}

fn read_only_mount() -> Option<usize> {
    let path = SELF.as_ptr() as usize;
    let flags = (OPEN_TREE_CLONE | O_CLOEXEC) as usize;
    let change =
        libc::mount_attr { attr_set: attr::RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: terminated strings and a structure that live across the calls; the descriptor is new.
    unsafe {
        let mount = call(libc::SYS_open_tree, [AT_FDCWD as usize, path, flags, 0, 0]);
        let mount = usize::try_from(mount).ok()?;
        let (empty, at) = (c"".as_ptr() as usize, ptr::from_ref(&change) as usize);
        let arguments = [mount, empty, AT_EMPTY_PATH as usize, at, size_of_val(&change)];
        if call(libc::SYS_mount_setattr, arguments) == 0 {
            return Some(mount);
        }
        call(libc::SYS_close, [mount, 0, 0, 0, 0]);
        None
    }
}

/// The standard library asks for the bounds of the first thread's stack, to be able to tell an overflow
/// from other faults. glibc would read /proc/self/maps for that.
///
/// Nothing in the runtime recurses without a limit, and an overflow still hits the guard page.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(
    _thread: libc::pthread_t,
    _attributes: *mut libc::pthread_attr_t,
) -> c_int {
    libc::ENOSYS
}

/// A system call: what it answers, or the negative error number.
///
/// # Safety
///
/// As the call demands of its arguments.
unsafe fn call(number: c_long, [a, b, c, d, e]: [usize; 5]) -> isize {
    let answer;
    // SAFETY: the kernel's convention; it changes rcx, r11 and what the caller answers for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    answer
}
