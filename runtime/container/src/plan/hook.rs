//! The hooks: which run where, and what is wrong with them.

use oci_spec::runtime::{Hook, Hooks};

use super::environment;
use crate::error::Error;
use crate::report::Report;

/// prestart and createRuntime hooks: both run at the same point, in this order.
pub(crate) fn runtime_hooks(hooks: &Hooks) -> Vec<(&'static str, Vec<Hook>)> {
    #[allow(deprecated)] // prestart is deprecated, and Docker's networking is made of it
    let prestart = hooks.prestart();
    [("prestart", prestart), ("createRuntime", hooks.create_runtime())]
        .into_iter()
        .filter_map(|(kind, list)| Some((kind, list.clone().filter(|list| !list.is_empty())?)))
        .collect()
}

/// A copy of the hooks of one kind.
pub(super) fn list(hooks: Option<&Hooks>, kind: fn(&Hooks) -> &Option<Vec<Hook>>) -> Vec<Hook> {
    hooks.and_then(|hooks| kind(hooks).clone()).unwrap_or_default()
}

/// Tells what no hook can be, by its field.
pub(super) fn check(hooks: Option<&Hooks>) -> Result<(), Error> {
    let Some(hooks) = hooks else { return Ok(()) };
    let mut report = Report::default();
    #[allow(deprecated)]
    let kinds = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (kind, list) in kinds {
        for (index, hook) in list.iter().flatten().enumerate() {
            let field = |name: &str| format!("hooks.{kind}[{index}].{name}");
            if !hook.path().is_absolute() {
                let reason = format!("{:?} is not an absolute path", hook.path());
                report.add(field("path"), reason);
            }
            let nul = |text: &str| format!("{text:?} has a NUL byte");
            let path = hook.path().to_string_lossy();
            if path.contains('\0') {
                report.add(field("path"), nul(&path));
            }
            for (at, argument) in hook.args().iter().flatten().enumerate() {
                if argument.contains('\0') {
                    report.add(field(&format!("args[{at}]")), nul(argument));
                }
            }
            for (at, variable) in hook.env().iter().flatten().enumerate() {
                if let Some(why) = environment::refusal(variable) {
                    report.add(field(&format!("env[{at}]")), why);
                }
            }
            if let Some(seconds) = hook.timeout().filter(|seconds| *seconds <= 0) {
                report.add(field("timeout"), format!("{seconds} must be greater than zero"));
            }
        }
    }
    report.finish(Some(()))
}
