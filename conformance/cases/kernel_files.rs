//! Kernels without a file of /sys or /proc: what is gone without, and what is refused by field and file.

use serde_json::{Value, json};

use super::kernel::OURS;
use crate::case::{Case, Need, Outcome};
use crate::env::Env;
use crate::shim::{was_asked_for, without_file};
use crate::{ensure, ensure_eq};

const STRACE: Need = Need::Command("strace");

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("kernel/cpu-files-of-a-newer-one", cpu_files)
        .needs(&[Need::Controllers, STRACE])
        .not_on(OURS),
    Case::new("kernel/pause-without-cgroup-freeze", no_freezer)
        .needs(&[Need::V2, STRACE])
        .not_on(OURS),
    Case::new("kernel/goes-without-cgroup-kill", no_cgroup_kill)
        .needs(&[Need::V2, STRACE])
        .not_on(OURS),
    Case::new("kernel/goes-without-pressure", no_pressure)
        .needs(&[Need::V2Controllers, STRACE])
        .not_on(OURS),
    Case::new("kernel/goes-without-reserved-huge-pages", no_reservations)
        .needs(&[Need::V2Controllers, STRACE])
        .not_on(OURS),
];

fn cpu_files(env: &mut Env) -> Outcome {
    let burst = if env.shared.host.v2 { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
    for (cpu, field, file) in [
        (json!({"quota": 20_000, "period": 100_000, "burst": 10_000}), "cpu.burst", burst),
        (json!({"idle": 1}), "cpu.idle", "cpu.idle"),
    ] {
        let mut bundle = env.bundle_with(&["/bin/true"])?;
        bundle.set("/linux/resources/cpu", cpu)?;
        let output = without_file(env, env.run(&bundle)?, file).exits(1)?;
        for word in [&format!("linux.resources.{field}"), file] {
            ensure!(output.stderr.contains(word), "no {word}: {output}");
        }
        env.nothing_left()?;
    }
    Ok(())
}

fn no_freezer(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    let output = without_file(env, env.verb("pause", &id), "cgroup.freeze").exits(1)?;
    ensure!(output.stderr.contains("freez"), "{output}");
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

/// The processes are frozen, signalled one by one, and thawed.
fn no_cgroup_kill(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("sleep 1000 & sleep 1000 & wait");
    let id = env.detach(&bundle, "d", &[])?;
    without_file(env, env.runtime(&["kill", "--all", &id, "KILL"]), "cgroup.kill").ok()?;
    ensure!(was_asked_for(env), "cgroup.kill was not opened");
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn no_pressure(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    for (file, section) in [("cpu.pressure", "cpu"), ("memory.pressure", "memory")] {
        let call = env.runtime(&["events", "--stats", &id]);
        let stats: Value = serde_json::from_str(&without_file(env, call, file).ok()?.stdout)?;
        ensure!(was_asked_for(env), "{file} was not opened");
        let section = &stats["data"][section];
        ensure!(section.is_object() && section["psi"].is_null(), "without {file}: {section}");
    }
    Ok(())
}

fn no_reservations(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["cat", "/sys/fs/cgroup/hugetlb.2MB.max"])?;
    let limits = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
    bundle.namespace("cgroup", None)?.set("/linux/resources/hugepageLimits", limits)?;
    let output = without_file(env, env.run(&bundle)?, "hugetlb.2MB.rsvd.max").ok()?;
    ensure!(was_asked_for(env), "the file of reservations was not opened");
    ensure_eq!(output.stdout, "4194304\n", "the limit");
    env.nothing_left()
}
