//! Real engines that drive the runtime.

mod asked;
mod buildah;
mod channels;
mod conmon;
mod containerd;
mod containerd_run;
mod cri;
mod cri_run;
mod crowd;
mod docker;
mod docker_run;
mod engine;
mod grpc;
mod image;
mod manual;
mod podman;
mod podman_isolation;
mod podman_life;
mod podman_network;
mod podman_places;
mod podman_rootless;
mod podman_run;
mod protobuf;
mod systemd;

use crate::case::Case;

/// Every suite's cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        buildah::CASES,
        conmon::CASES,
        containerd_run::CASES,
        cri_run::CASES,
        crowd::CASES,
        docker_run::CASES,
        podman_isolation::CASES,
        podman_life::CASES,
        podman_network::CASES,
        podman_places::CASES,
        podman_rootless::CASES,
        podman_run::CASES,
        systemd::CASES,
    ]
    .into_iter()
    .flatten()
}
