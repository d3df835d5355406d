//! Images in files: archives of Docker and OCI and OCI layout directories, and images made of files.

mod bag;
mod compose;
mod docker;
mod load;
mod new_file;
mod oci;
mod save;

use crate::digest::Digest;

pub use compose::{Compression, Origin, Recipe, commit, import};
pub use load::{Request, Source, load};
pub use new_file::NewFile;
pub use save::{Format, save, save_directory};

/// An image that came into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The full name.
    pub name: String,
    /// The manifest's digest.
    pub digest: Digest,
}
