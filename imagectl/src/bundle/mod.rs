//! Bundles: a rootfs and a config.json that an OCI runtime runs.

mod create;
mod defaults;
mod layers;
mod overlay;
mod remove;
mod rootfs;
mod spec;
mod user;

use serde::{Deserialize, Serialize};

pub use create::{Created, Options, create};
pub use layers::unpack_missing;
pub use remove::remove;
pub use rootfs::{unpack, unpack_into};
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
}
