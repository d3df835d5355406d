//! Compiles the seccomp section of an OCI config into a classic BPF program.
//!
//! The crate is pure: it reads a profile and returns instructions. Loading them is the caller's.
//! It is laid out as its passes:
//!
//! ```text
//! profile       the OCI types, checked, as plain rules and actions
//!   rules       what the rules mean on one architecture: numbers, word size, multiplexed calls
//!     order     which of several rules for one system call is asked first
//!   spans       the whole number space of one audit architecture, cut where the verdict changes
//!   arguments   code for the rules that look at arguments
//!   search      balanced binary search over spans
//!   assembly    instructions and jump distances
//! ```
//!
//! The meaning is libseccomp's as runc uses it, runc's ENOSYS answer for system calls younger
//! than the profile included; `runtime/docs/adr/0003-seccomp-compiler.md` lists the differences.

mod architecture;
mod arguments;
mod assembly;
mod error;
mod filter;
mod known;
mod order;
mod profile;
mod rules;
mod search;
mod spans;
mod tables;

pub use architecture::Architecture;
pub use error::Error;
pub use filter::{Encoded, Filter, Instruction};
pub use known::{flag_bits, known_actions, known_archs, known_flags, known_operators};

use oci_spec::runtime::LinuxSeccomp;

/// The longest program the kernel takes, in instructions (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Compiles `profile` for the architecture this crate was built for.
///
/// # Errors
///
/// Every variant of [`Error`] but [`Error::Encoding`]; each names the offending place in the
/// profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, Error> {
    compile_for(profile, Architecture::NATIVE)
}

/// Compiles `profile` for a kernel whose native architecture is `native`.
///
/// The native architecture is always part of the filter, whether or not the profile names it.
///
/// # Errors
///
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, native: Architecture) -> Result<Filter, Error> {
    let profile = profile::Profile::read(profile, native)?;
    let mut assembler = assembly::Assembler::default();
    // Code is laid down from its end, so that every jump goes to a known place.
    let mut entry = assembler.ret(profile::KILL_THREAD);
    for group in spans::groups(&profile)?.iter().rev() {
        entry = group.assemble(&mut assembler, profile.default_action, entry);
    }
    let entry = assembler.load(assembly::ARCHITECTURE, entry);
    let instructions = assembler.finish(entry);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong { instructions: instructions.len() });
    }
    Ok(Filter { instructions, flags: profile.flags, notify: profile.notify })
}
