//! Real engines that drive the runtime.

mod podman;

use crate::case::Case;

/// Every suite's cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    podman::CASES.iter()
}
