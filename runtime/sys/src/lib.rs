//! One thin function a system call: typed arguments in, `Errno` out, no policy.
//!
//! This is the only crate of the workspace that may hold `unsafe` code. What `nix` wraps already
//! is used from there, not wrapped again.

pub use nix::errno::Errno;
/// The result of one system call.
pub type Result<T> = std::result::Result<T, Errno>;
