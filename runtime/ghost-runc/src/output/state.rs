//! A container's state in runc's form, which `state` and `list` print.

use std::collections::BTreeMap;

use container::Container;
use serde::Serialize;

use crate::error::Error;

/// The keys in runc's order. CRI-O decodes this over its own struct: nothing may be added whose
/// name is a field there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    oci_version: String,
    /// The container's id.
    pub id: String,
    /// The process on the host; 0 when stopped.
    pub pid: i32,
    /// One of the spec's, or paused.
    pub status: &'static str,
    /// Absolute.
    pub bundle: String,
    rootfs: String,
    /// RFC 3339, UTC, with nanoseconds.
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// A user's name, or `#` and a uid.
    pub owner: String,
}

impl State {
    /// The state at this moment.
    pub fn of(container: &Container, owner: String) -> Result<State, Error> {
        let status = container.status()?;
        Ok(State {
            oci_version: container.oci_version().to_owned(),
            id: container.id().to_owned(),
            pid: container.pid(status),
            status: status.as_str(),
            bundle: container.bundle().display().to_string(),
            rootfs: container.rootfs().display().to_string(),
            created: container.created().to_owned(),
            annotations: container.annotations().clone(),
            owner,
        })
    }
}
