//! The cases, an area a file.

pub mod bad_values;
mod budget;
mod capabilities;
mod cgroups_hybrid;
mod cgroups_v1;
mod cgroups_v2;
mod check;
mod check_host;
mod check_lacks;
pub mod checkpoint;
mod checkpoint_flags;
mod checkpoint_mounts;
mod command_line;
mod completion;
mod deadlines;
mod devices;
mod differential;
mod engine_calls;
mod environment;
mod errors;
mod events;
mod exec;
mod exec_cgroup;
mod exec_paused;
mod formats;
mod frozen_children;
mod hardening;
mod hook_rules;
mod hooks;
mod idmapped_mounts;
mod intel_rdt;
mod intruders;
mod kernel;
mod kernel_files;
mod kernel_mounts;
mod labels;
mod lifecycle;
mod limits;
mod limits_v1;
mod limits_v2;
mod memory_policy;
mod mount_options;
mod mount_targets;
mod mounts;
mod namespace_mixes;
mod namespaces;
mod network;
mod notify;
mod numbers;
mod orphans;
mod other_platforms;
mod pidfd;
mod process;
mod propagation;
mod readiness;
mod resources;
mod rootless;
mod rootless_cgroup;
mod rootless_images;
mod scheduling;
mod seccomp;
mod security;
mod stress;
mod sysctl;
mod systemd;
mod systemd_limits;
mod systemd_user;
mod terminal;
mod update;
mod update_flags;
mod violations;

use crate::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        kernel::CASES,
        kernel_files::CASES,
        lifecycle::CASES,
        deadlines::CASES,
        formats::CASES,
        differential::CASES,
        completion::CASES,
        command_line::CASES,
        environment::CASES,
        engine_calls::CASES,
        errors::CASES,
        mounts::CASES,
        mount_options::CASES,
        mount_targets::CASES,
        propagation::CASES,
        kernel_mounts::CASES,
        idmapped_mounts::CASES,
        devices::CASES,
        namespaces::CASES,
        network::CASES,
        namespace_mixes::CASES,
        process::CASES,
        capabilities::CASES,
        limits::CASES,
        sysctl::CASES,
        labels::CASES,
        scheduling::CASES,
        memory_policy::CASES,
        numbers::CASES,
        intel_rdt::CASES,
        intruders::CASES,
        rootless::CASES,
        rootless_cgroup::CASES,
        rootless_images::CASES,
        terminal::CASES,
        exec::CASES,
        exec_cgroup::CASES,
        exec_paused::CASES,
        frozen_children::CASES,
        orphans::CASES,
        pidfd::CASES,
        readiness::CASES,
        cgroups_v1::CASES,
        cgroups_v2::CASES,
        limits_v1::CASES,
        limits_v2::CASES,
        cgroups_hybrid::CASES,
        systemd::CASES,
        systemd_limits::CASES,
        systemd_user::CASES,
        hooks::CASES,
        hook_rules::CASES,
        seccomp::CASES,
        notify::CASES,
        security::CASES,
        hardening::CASES,
        update::CASES,
        update_flags::CASES,
        violations::CASES,
        events::CASES,
        bad_values::CASES,
        check::CASES,
        check_host::CASES,
        check_lacks::CASES,
        checkpoint::CASES,
        checkpoint_flags::CASES,
        checkpoint_mounts::CASES,
        resources::CASES,
        other_platforms::CASES,
        budget::CASES,
        stress::CASES,
    ]
    .into_iter()
    .flatten()
}
