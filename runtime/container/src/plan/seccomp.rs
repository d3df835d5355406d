//! The seccomp profile, compiled, and the agent that it leaves system calls to.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxSeccomp};

use crate::agent::Agent;
use crate::error::Error;
use crate::report::Report;

/// Compiles `linux.seccomp`; a relative path in it is one below `bundle`.
pub(crate) fn plan(
    linux: &Linux,
    bundle: &Path,
) -> Result<(Option<::seccomp::Filter>, Option<Agent>), Error> {
    let Some(profile) = linux.seccomp() else { return Ok((None, None)) };
    let mut report = Report::default();
    let agent = report.take(agent(profile, bundle));
    let filter = report.keep(::seccomp::compile(profile));
    let notify = filter.as_ref().is_some_and(|filter| filter.notify);
    if notify && profile.listener_path().as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
        let reason = "missing: SCMP_ACT_NOTIFY needs an agent that answers";
        report.add("linux.seccomp.listenerPath", reason);
    }
    // Without the action, nobody is to be told (runtime-spec).
    let agent = agent.filter(|_| notify);
    report.finish(filter.map(|filter| (Some(filter), agent)))
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
        (Some(path), metadata) => Ok(Some(Agent { path: bundle.join(path), metadata })),
    }
}
