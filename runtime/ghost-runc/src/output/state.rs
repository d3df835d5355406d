//! A container's state in runc's form, which `state` and `list` print.

use std::collections::BTreeMap;

use container::{Container, Status};
use serde::Serialize;

use crate::error::Error;

/// The keys in runc's order. CRI-O decodes this over its own struct: nothing may be added whose
/// name is a field there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    oci_version: &'a str,
    /// The container's id.
    pub id: &'a str,
    /// The process on the host; 0 when stopped.
    pub pid: i32,
    /// One of the spec's, or paused.
    pub status: &'static str,
    /// Absolute.
    pub bundle: String,
    rootfs: String,
    /// RFC 3339, UTC, with nanoseconds.
    pub created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    /// A user's name, or `#` and a uid.
    pub owner: String,
}

impl<'a> State<'a> {
    /// The state at this moment.
    pub fn of(container: &'a Container, owner: String) -> Result<State<'a>, Error> {
        let status = container.status()?;
        Ok(State {
            oci_version: container.oci_version(),
            id: container.id(),
            pid: if status == Status::Stopped { 0 } else { container.pid() },
            status: status.as_str(),
            bundle: container.bundle().display().to_string(),
            rootfs: container.rootfs().display().to_string(),
            created: container.created(),
            annotations: container.annotations(),
            owner,
        })
    }
}
