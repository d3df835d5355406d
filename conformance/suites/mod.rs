//! Real engines that drive the runtime.

mod podman;
mod podman_rootless;

use crate::case::Case;

/// Every suite's cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    podman::CASES.iter().chain(podman_rootless::CASES)
}
