//! Bundles: a rootfs and a config.json that an OCI runtime runs.

mod capabilities;
mod create;
mod defaults;
mod id_map;
mod layers;
mod mounted;
mod mounts;
mod overlay;
mod remove;
mod rootfs;
mod rootless;
mod seccomp;
mod settings;
mod spec;
mod user;
mod working_dir;

use serde::{Deserialize, Serialize};

pub use capabilities::Capabilities;
pub use create::{Created, Options, create};
pub use id_map::{IdMaps, Range};
pub use layers::unpack_missing;
pub use mounted::{Mounted, mount, mounts, unmount};
pub use mounts::Mount;
pub use remove::remove;
pub use rootfs::{unpack, unpack_into};
pub use seccomp::Seccomp;
pub use settings::{Network, Resources, Settings};
pub use spec::{Conversion, convert};
pub use user::{ProcessUser, resolve};

use crate::store::MARK;

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The image's full name.
    image: String,
    /// Its manifest's digest.
    digest: crate::digest::Digest,
    /// The store that the rootfs stands on, if it does.
    store: Option<std::path::PathBuf>,
    /// The IDs that the files' owners stand for, where the rootfs was made without root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ids: Option<IdMaps>,
}
