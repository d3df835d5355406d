//! Real engines that drive the runtime.

mod containerd;
mod docker;
mod engine;
mod image;
mod manual;
mod podman;
mod podman_rootless;

use crate::case::Case;

/// Every suite's cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let suites = [containerd::CASES, docker::CASES, podman::CASES, podman_rootless::CASES];
    suites.into_iter().flatten()
}
