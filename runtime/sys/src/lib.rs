//! One thin function a system call: typed arguments in, `Errno` out, no policy.
//!
//! This is the only crate of the workspace that may hold `unsafe` code. What `nix` wraps already
//! is used from there, not wrapped again.

pub mod bpf;
#[cfg(target_arch = "x86_64")]
mod entry;
pub mod file;
pub mod identity;
pub mod kernel;
pub mod mount;
pub mod process;
pub mod scheduling;
pub mod seccomp;
pub mod tty;

pub use nix::errno::Errno;

/// The result of one system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// What the C library's calls answer: -1 and `errno`, or a value.
fn check(value: libc::c_long) -> Result<libc::c_long> {
    if value == -1 { Err(Errno::last()) } else { Ok(value) }
}
