//! The container's place among the cgroups, and what config.json says of it. Makes nothing.

use cgroup::{Cgroup, Manager, ScopePlan};
use seccomp::Encoded;

use crate::bundle::Bundle;
use crate::create::CreateOptions;
use crate::error::{Error, Violation};
use crate::plan::{self, InitPlan};
use crate::report::Report;

/// What is found out and checked before anything is made.
pub(crate) struct Planned {
    pub cgroup: Cgroup,
    pub init: InitPlan,
    /// How systemd is to make the cgroup, where it does.
    pub scope: Option<ScopePlan>,
}

impl Planned {
    /// The error is all that is wrong, with its lines. When nothing is, [`filter`] may still find it in
    /// the seccomp profile.
    pub fn new(options: &CreateOptions<'_>) -> Result<Planned, Error> {
        let (planned, mut report) = Planned::look(options);
        if report.is_empty() {
            return report.finish(planned);
        }
        report.take(plan::compile(&options.bundle.spec));
        report.finish(planned).map_err(|error| options.bundle.locate(error))
    }

    fn look(options: &CreateOptions<'_>) -> (Option<Planned>, Report) {
        let mut report = Report::default();
        let planned = locate(options, &mut report).and_then(|cgroup| {
            let init = report.keep(plan::build(&plan::Input::new(options, &cgroup)));
            let scope = report.keep(plan_scope(options.bundle, &cgroup));
            let (init, scope) = init.zip(scope)?;
            Some(Planned { cgroup, init, scope })
        });
        (planned, report)
    }
}

/// The seccomp profile, compiled; the error is all that is wrong with it, with its lines.
pub(crate) fn filter(bundle: &Bundle) -> Result<Option<Encoded>, Error> {
    let mut report = Report::default();
    let filter = report.keep(plan::compile(&bundle.spec));
    report.finish(filter).map_err(|error| bundle.locate(error))
}

/// The container's place among the cgroups. Where there can't be one, that is reported, and the place is
/// one that all the rest can be checked for.
pub(crate) fn locate(options: &CreateOptions<'_>, report: &mut Report) -> Option<Cgroup> {
    let linux = options.bundle.spec.linux().as_ref();
    let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let mode = report.keep(cgroup::Mode::detect())?;
    let manager = if cgroup::is_rootless() { Manager::User } else { Manager::System };
    let scope = |path| Cgroup::locate_scope(mode, path, options.id, manager);
    let plain = |path| Cgroup::locate(mode, path, options.id);
    let located = if options.systemd_cgroup { scope(path) } else { plain(path) };
    report.keep(located).or_else(|| {
        let other = options.systemd_cgroup.then(|| report.keep(scope(None))).flatten();
        other.or_else(|| plain(None).ok())
    })
}

/// How systemd is to make the cgroup, where it does.
pub(crate) fn plan_scope(bundle: &Bundle, cgroup: &Cgroup) -> Result<Option<ScopePlan>, Error> {
    let resources = bundle.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    Ok(cgroup.plan_scope(resources, bundle.spec.annotations().iter().flatten())?)
}

/// What the plan of a bundle finds wrong.
pub(crate) fn violations(bundle: &Bundle, systemd_cgroup: bool) -> Vec<Violation> {
    let (_, mut report) = Planned::look(&CreateOptions::trial("check", bundle, systemd_cgroup));
    report.take(plan::compile(&bundle.spec));
    report.found()
}
