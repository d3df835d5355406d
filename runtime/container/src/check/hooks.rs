//! Hooks whose program is not there or can't be run.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::finding::Finding;
use crate::bundle::Bundle;
use crate::error::Error;

/// Looks up the programs whose paths are the runtime's; those of startContainer hooks are the
/// container's. Without a poststart hook's program `create` succeeds and `start` does not; without a
/// poststop hook's, `delete` warns.
pub(super) fn missing(bundle: &Bundle) -> Vec<Finding> {
    let Some(hooks) = bundle.spec.hooks() else { return Vec::new() };
    // What is mounted there only init sees.
    let rootfs = bundle.rootfs().ok();
    let inside = |path: &Path| {
        joins_mounts(&bundle.spec) || rootfs.as_ref().is_some_and(|root| path.starts_with(root))
    };
    #[allow(deprecated)] // prestart is deprecated, and Docker's networking is made of it
    let kinds = [
        ("prestart", hooks.prestart(), true),
        ("createRuntime", hooks.create_runtime(), true),
        ("createContainer", hooks.create_container(), true),
        ("poststart", hooks.poststart(), false),
        ("poststop", hooks.poststop(), false),
    ];
    let mut findings = Vec::new();
    for (kind, list, fatal) in kinds {
        for (index, hook) in list.iter().flatten().enumerate() {
            let path = hook.path();
            if kind == "createContainer" && inside(path) {
                continue;
            }
            let Err(errno) = runnable(path) else { continue };
            let field = format!("hooks.{kind}[{index}].path");
            let error = Error::host(field, format!("run {path:?}"), errno);
            let found = Finding::new(error.into());
            findings.push(if fatal { found } else { Finding::warning(found.path, found.message) });
        }
    }
    findings
}

/// Whether the container is in the mount namespace of another.
fn joins_mounts(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mount = namespaces
        .into_iter()
        .flatten()
        .find(|namespace| namespace.typ() == LinuxNamespaceType::Mount);
    mount.is_none_or(|namespace| namespace.path().is_some())
}

/// Other paths than absolute ones the plan has told.
fn runnable(path: &Path) -> Result<(), Errno> {
    if !path.is_absolute() || path.to_string_lossy().contains('\0') {
        return Ok(());
    }
    access(path, AccessFlags::X_OK)?;
    if path.is_dir() { Err(Errno::EACCES) } else { Ok(()) }
}
