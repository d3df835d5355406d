//! The seccomp profile, and the agent that it leaves system calls to.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ::seccomp::Encoded;
use nix::sys::socket::UnixAddr;
use oci_spec::runtime::{Linux, LinuxSeccomp, LinuxSeccompAction, Spec};

use crate::agent::Agent;
use crate::error::Error;
use crate::report::Report;

/// Compiles `linux.seccomp`, for which there is time while init works.
pub(crate) fn compile(spec: &Spec) -> Result<Option<Encoded>, Error> {
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    Ok(profile.map(::seccomp::compile).transpose()?.map(|filter| filter.encode()))
}

/// Checks what `linux.seccomp` says of an agent; a relative path in it is one below `bundle`.
pub(crate) fn plan(linux: &Linux, bundle: &Path) -> Result<Option<Agent>, Error> {
    let Some(profile) = linux.seccomp() else { return Ok(None) };
    let mut report = Report::default();
    let agent = report.take(agent(profile, bundle));
    let mut rules = profile.syscalls().iter().flatten();
    let notify = rules.any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify);
    if notify && profile.listener_path().as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
        let reason = "missing: SCMP_ACT_NOTIFY needs an agent that answers";
        report.add("linux.seccomp.listenerPath", reason);
    }
    if notify && !nix::unistd::geteuid().is_root() {
        report.take(refuse_prctl(profile));
    }
    if notify {
        report.take(check_flags(profile));
    }
    // Without the action, nobody is to be told (runtime-spec).
    let agent = agent.filter(|_| notify);
    report.finish(Some(agent))
}

/// The processes of a caller who is not root become dumpable under the filter, so that their listener
/// can be taken over: before that, nobody could answer.
fn refuse_prctl(profile: &LinuxSeccomp) -> Result<(), Error> {
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        let name = rule.names().iter().position(|name| name == "prctl");
        if let (LinuxSeccompAction::ScmpActNotify, Some(place)) = (rule.action(), name) {
            let field = format!("linux.seccomp.syscalls[{index}].names[{place}]");
            let reason = "only root can use SCMP_ACT_NOTIFY for the prctl syscall";
            return Err(Error::invalid(field, reason));
        }
    }
    Ok(())
}

/// WAIT_KILLABLE_RECV, which goes with an agent alone, is younger than our oldest kernel.
fn check_flags(profile: &LinuxSeccomp) -> Result<(), Error> {
    for (index, flag) in profile.flags().iter().flatten().enumerate() {
        let name = flag.to_string();
        if ::seccomp::flag_bits(&name).is_some_and(|bits| !sys::seccomp::knows_flag(bits)) {
            let field = format!("linux.seccomp.flags[{index}]");
            return Err(Error::invalid(field, format!("this kernel does not know {name}")));
        }
    }
    Ok(())
}

fn agent(profile: &LinuxSeccomp, bundle: &Path) -> Result<Option<Agent>, Error> {
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let metadata = profile.listener_metadata().clone().filter(|text| !text.is_empty());
    match (path, metadata) {
        (None, None) => Ok(None),
        (None, Some(text)) => {
            let reason = format!("{text:?} is given without a listenerPath");
            Err(Error::invalid("linux.seccomp.listenerMetadata", reason))
        }
        (Some(path), metadata) => {
            let path = bundle.join(path);
            let why = match UnixAddr::new(&path) {
                _ if path.as_os_str().as_bytes().contains(&0) => "has a NUL byte",
                Err(_) => "file name too long for a socket",
                Ok(_) => return Ok(Some(Agent { path, metadata })),
            };
            Err(Error::invalid("linux.seccomp.listenerPath", format!("{path:?}: {why}")))
        }
    }
}
