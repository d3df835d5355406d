//! Puts the device program of a v2 cgroup in place, and another in its place.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use super::{Rule, program};
use crate::dir::Dir;
use crate::{Error, Result};

/// The kernel's own limit on programs attached to one cgroup.
const MOST: usize = 64;

/// What bpftool shows, and what tells our program from others.
const NAME: &CStr = c"oci_devices";

/// Attaches the rules to a directory that has none yet, as one that was just made.
pub(crate) fn attach(dir: &Dir, rules: &[Rule]) -> Result<()> {
    let new = load(dir, rules)?;
    sys::bpf::attach_device_filter(dir.fd.as_fd(), new.as_fd(), sys::bpf::F_ALLOW_MULTI, None)
        .map_err(|source| failed(dir, "attach", source))
}

/// Puts the rules in the place of those attached.
///
/// At no time is the directory without a program: one is replaced in a single step; of several, as
/// systemd leaves them, each stays until the new one, which only can restrict further, is there.
///
/// Where systemd keeps a program of its own beside ours, only ours is replaced.
pub(crate) fn replace(dir: &Dir, rules: &[Rule], shared: bool) -> Result<()> {
    let mut ids = [0; MOST];
    let count = sys::bpf::device_filters(dir.fd.as_fd(), &mut ids)
        .map_err(|source| failed(dir, "list", source))?;
    let mut old = Vec::with_capacity(count);
    for id in &ids[..count] {
        let program = sys::bpf::program_by_id(*id).map_err(|source| failed(dir, "open", source))?;
        if !shared || is_ours(dir, &program)? {
            old.push(program);
        }
    }
    if let [old] = old.as_slice() {
        let new = load(dir, rules)?;
        let flags = sys::bpf::F_ALLOW_MULTI | sys::bpf::F_REPLACE;
        return sys::bpf::attach_device_filter(
            dir.fd.as_fd(),
            new.as_fd(),
            flags,
            Some(old.as_fd()),
        )
        .map_err(|source| failed(dir, "replace", source));
    }
    attach(dir, rules)?;
    for old in old {
        sys::bpf::detach_device_filter(dir.fd.as_fd(), old.as_fd())
            .map_err(|source| failed(dir, "detach", source))?;
    }
    Ok(())
}

fn is_ours(dir: &Dir, program: &OwnedFd) -> Result<bool> {
    let name = sys::bpf::program_name(program.as_fd());
    Ok(name.map_err(|source| failed(dir, "look at", source))?.as_bytes() == NAME.to_bytes())
}

fn load(dir: &Dir, rules: &[Rule]) -> Result<OwnedFd> {
    let program = program::assemble(rules);
    sys::bpf::load_device_filter(&program, c"Apache-2.0", NAME).map_err(|source| {
        Error::LoadFilter { path: dir.path.clone(), instructions: program.len(), source }
    })
}

fn failed(dir: &Dir, action: &'static str, source: sys::Errno) -> Error {
    Error::Filter { path: dir.path.clone(), action, source }
}
