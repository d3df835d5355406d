//! check: whether a bundle can be created here, without creating anything.
//!
//! The plan is built as `create` builds it. Then its init runs, in namespaces of its own and on an
//! overlay of the rootfs that nobody else sees, up to the point where it is ready (`trial`): what
//! the kernel refuses is known from the kernel. Control groups, which a trial would leave traces
//! in, are judged by what there is.

mod finding;
mod hooks;
mod left_out;
mod overlay;
mod trial;

use std::os::fd::AsFd;
use std::path::Path;

use cgroup::Cgroup;
use nix::errno::Errno;

pub use finding::{Finding, Kind};

use crate::bundle::Bundle;
use crate::create::CreateOptions;
use crate::error::Error;
use crate::network;
use crate::place;
use crate::plan::{self, capability, flag, namespace, net_device};
use crate::report::Report;

/// Everything that keeps `dir` from becoming a container, and what the container will go without.
///
/// The calling process moves to a mount namespace of its own; it is of no further use than to print.
pub fn check(store: &Path, dir: &Path, systemd_cgroup: bool) -> Vec<Finding> {
    let mut findings = match Bundle::load(dir, systemd_cgroup) {
        Ok(bundle) => check_bundle(&bundle, systemd_cgroup),
        Err(error) => error.violations().into_iter().map(Finding::new).collect(),
    };
    findings.extend(unusable_store(store));
    findings.sort_by_key(|finding| (finding.kind, finding.line));
    findings
}

fn check_bundle(bundle: &Bundle, systemd_cgroup: bool) -> Vec<Finding> {
    let id = format!("check-{}", std::process::id());
    let options = CreateOptions::trial(&id, bundle, systemd_cgroup);
    let mut report = Report::default();
    let mut others = ungranted(bundle);
    others.extend(hooks::missing(bundle));
    if let Some(cgroup) = place::locate(&options, &mut report) {
        let planned = report.keep(plan::build(&plan::Input::new(&options, &cgroup)));
        report.take(plan::compile(&bundle.spec));
        report.keep(place::plan_scope(bundle, &cgroup));
        report.take(devices(bundle));
        if let Some(init) = planned {
            // In our own mount namespace, as create does it: the trial has one where it may do more.
            let copied: Result<(), Error> =
                if init.rootfs.opened_by_init { Ok(()) } else { init.rootfs.open_root() };
            if report.keep(copied).is_some()
                && let Err(why) = trial::run(&options, &cgroup, &mut report)
            {
                others.push(Finding::warning("root.path", why));
            }
        }
        let resources = bundle.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        if let Some(resources) = resources {
            others.extend(left_out::limits(cgroup.mode(), resources));
        }
        lacking(bundle, &cgroup).into_iter().for_each(|error| report.push(error));
    }
    let errors = report.found().into_iter().map(Finding::new);
    let mut findings: Vec<Finding> = errors.chain(others).collect();
    findings.iter_mut().for_each(|finding| finding.locate(bundle));
    findings
}

/// Network devices that are not there, or that have no place in the container.
fn devices(bundle: &Bundle) -> Result<(), Error> {
    let Some(linux) = bundle.spec.linux() else { return Ok(()) };
    let devices = net_device::valid(linux);
    if devices.is_empty() || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    // What is wrong with them is told by the plan.
    let namespaces = namespace::plan(linux, &mut Report::default());
    if !namespaces.has(flag::NET) {
        return Ok(());
    }
    let joined = namespaces.join.iter().find(|(kind, ..)| *kind == flag::NET);
    network::lacks(&devices, joined.map(|(_, _, namespace)| namespace.as_fd()))
}

/// What the control groups here can't do.
fn lacking(bundle: &Bundle, cgroup: &Cgroup) -> Vec<Error> {
    let linux = bundle.spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    cgroup.lacks(resources).into_iter().map(Error::from).collect()
}

/// Capabilities that nobody knows, and those that the runtime does not have itself.
fn ungranted(bundle: &Bundle) -> Vec<Finding> {
    let unknown = bundle.unknown.iter().filter_map(|violation| match &violation.error {
        Error::Parse { field, message, .. } => Some((field.clone(), message)),
        _ => None,
    });
    let mut findings: Vec<Finding> = unknown
        .map(|(field, message)| Finding::warning(field, format!("{message} is left out")))
        .collect();
    let process = bundle.spec.process().as_ref();
    let Some(sets) = process.and_then(|process| process.capabilities().as_ref()) else {
        return findings;
    };
    for (name, set) in [
        ("bounding", sets.bounding()),
        ("effective", sets.effective()),
        ("permitted", sets.permitted()),
        ("inheritable", sets.inheritable()),
        ("ambient", sets.ambient()),
    ] {
        if let Ok((_, missing)) = capability::grantable(capability::bits(set.as_ref()))
            && !missing.is_empty()
        {
            let message = format!("can't be granted here and are left out: {}", missing.join(" "));
            findings.push(Finding::warning(format!("process.capabilities.{name}"), message));
        }
    }
    findings
}

/// The state directory, or the directory it would be made in, can't be written to.
fn unusable_store(store: &Path) -> Option<Finding> {
    let there = store.ancestors().find(|path| path.exists())?;
    let access = nix::unistd::access(there, nix::unistd::AccessFlags::W_OK);
    let errno = access.err().or_else(|| (!there.is_dir()).then_some(Errno::ENOTDIR))?;
    let error = Error::system(format!("state directory {}", store.display()), errno);
    Some(Finding::new(error.into()))
}
