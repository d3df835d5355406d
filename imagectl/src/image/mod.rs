//! The documents an image is made of: descriptors, manifests, indexes, configs, platforms.
//! Parsing and rules only; nothing here does I/O.

mod bounds;
mod choice;
mod config;
mod descriptor;
mod manifest;
mod platform;
mod search;

pub use bounds::Bounds;
pub use choice::{Choice, is_index};
pub use config::{Execution, ImageConfig};
pub use descriptor::{Descriptor, media_type};
pub use manifest::{Document, Index, Manifest};
pub(crate) use manifest::{from_json, null_is_default};
pub use platform::Platform;
pub use search::{DOCUMENT_COUNT, Search};

/// The largest manifest, index or config that is read if nobody says otherwise, in bytes.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;
