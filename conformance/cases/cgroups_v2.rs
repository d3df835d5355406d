//! Limits on cgroup v2. What needs no controller runs in any v2 view, the rest in the VM.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::cgroups_v1::{device_rules, memory_kills, pids_hold, remove_parents};
use crate::bundle::Bundle;
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const V2: &[Need] = &[Need::V2];
const CONTROLLERS: &[Need] = &[Need::V2Controllers];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("cgroups-v2/own-group", own_group).needs(V2),
    Case::new("cgroups-v2/absolute-path", absolute_path).needs(V2),
    Case::new("cgroups-v2/device-rules", device_rules).needs(V2),
    Case::new("cgroups-v2/device-program-is-attached", device_program).needs(V2),
    Case::new("cgroups-v2/unknown-controller-is-an-error", no_controller)
        .needs(V2)
        .not_on(&[(Peer::Crun, "crun goes on")]),
    Case::new("cgroups-v2/groups-that-the-container-made-are-removed", inner_groups).needs(V2),
    Case::new("cgroups-v2/exec-of-a-container-with-inner-groups", exec_inner).needs(V2).not_on(&[
        (Peer::Runc, "runs only on cgroup v1 here"),
        (Peer::Crun, "crun 1.8.1 fails with EBUSY"),
    ]),
    Case::new("cgroups-v2/host-mount-keeps-its-options", host_options)
        .needs(CONTROLLERS)
        .not_on(&[(Peer::Runc, "runc 1.1 resets them")]),
    Case::new("cgroups-v2/memory", memory).needs(CONTROLLERS),
    Case::new("cgroups-v2/memory-limit-kills", memory_kills).needs(CONTROLLERS),
    Case::new("cgroups-v2/cpu", cpu).needs(CONTROLLERS),
    Case::new("cgroups-v2/cpuset", cpuset).needs(CONTROLLERS),
    Case::new("cgroups-v2/pids", pids).needs(CONTROLLERS),
    Case::new("cgroups-v2/pids-limit-holds", pids_hold).needs(CONTROLLERS),
    Case::new("cgroups-v2/unified", unified).needs(CONTROLLERS),
];

/// The v2 directory of a process.
pub fn group_of(pid: i32) -> Result<PathBuf, Failure> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = table.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.ok_or_else(|| Failure(format!("no v2 group in {table}")))?;
    Ok(PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/')))
}

fn own_group(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let pid = env.pid(&id)?;
    let group = group_of(pid)?;
    ensure!(group.to_string_lossy().contains(&id), "group {}", group.display());
    let procs = fs::read_to_string(group.join("cgroup.procs"))?;
    ensure_eq!(procs.trim(), pid.to_string(), "cgroup.procs");
    env.runtime(&["delete", "-f", &id]).ok()?;
    ensure!(!group.exists(), "{} is left", group.display());
    Ok(())
}

fn absolute_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let path = format!("/{}/inner", env.id("outer"));
    bundle.args(&["sleep", "1000"]).set("/linux/cgroupsPath", json!(path))?;
    let id = env.detach(&bundle, "d", &[])?;
    let group = group_of(env.pid(&id)?)?;
    let wanted = PathBuf::from(format!("/sys/fs/cgroup{path}"));
    // crun puts the process one level below.
    ensure!(group == wanted || env.is(Peer::Crun), "group {}", group.display());
    env.runtime(&["delete", "-f", &id]).ok()?;
    ensure!(!wanted.exists(), "{} is left", wanted.display());
    remove_parents(env)
}

fn device_program(env: &mut Env) -> Outcome {
    // A node that is there, with a mode that lets everybody in.
    let mut bundle = env.bundle()?;
    bundle.writable().capabilities(&["bounding", "effective", "permitted"], &["CAP_MKNOD"]);
    bundle.set(
        "/linux/devices",
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]),
    )?;
    bundle.set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]))?;
    bundle.shell("(: < /dev/fuse) 2>&1; (: < /dev/zero) && echo zero");
    let output = env.run(&bundle)?.ok()?;
    ensure!(output.stdout.contains("Operation not permitted"), "{output}");
    ensure!(output.stdout.ends_with("zero\n"), "{output}");
    Ok(())
}

fn no_controller(env: &mut Env) -> Outcome {
    if env.shared.host.controllers.iter().any(|c| c == "memory") {
        // Only a view without controllers can show it; a made-up file does it elsewhere.
        let mut bundle = env.bundle()?;
        bundle.args(&["true"]);
        bundle.set("/linux/resources/unified", json!({"nonsense.max": "1"}))?;
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("nonsense.max"), "{output}");
        return env.nothing_left();
    }
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864}))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("memory"), "{output}");
    env.nothing_left()
}

fn delegated(env: &Env, script: &str) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.namespace("cgroup", None)?;
    writable_cgroups(&mut bundle);
    bundle.shell(script);
    Ok(bundle)
}

/// Let the container write to its mount of the control groups.
pub fn writable_cgroups(bundle: &mut Bundle) {
    let mounts = bundle.config["mounts"].as_array_mut();
    if let Some(mount) = mounts.into_iter().flatten().find(|m| m["destination"] == "/sys/fs/cgroup")
    {
        mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime", "rw"]);
    }
}

fn inner_groups(env: &mut Env) -> Outcome {
    let bundle = delegated(env, "mkdir -p /sys/fs/cgroup/a/b && echo made")?;
    let output = env.run(&bundle)?.ok()?;
    ensure_eq!(output.stdout, "made\n", "stdout");
    env.nothing_left()
}

fn exec_inner(env: &mut Env) -> Outcome {
    // Once its process moved below and controllers are handed down, the container's own group
    // takes no process any more.
    let script = "mkdir /sys/fs/cgroup/init && echo $$ > /sys/fs/cgroup/init/cgroup.procs && \
                  (echo +hugetlb > /sys/fs/cgroup/cgroup.subtree_control || \
                   echo +pids > /sys/fs/cgroup/cgroup.subtree_control); \
                  cat /sys/fs/cgroup/cgroup.subtree_control; echo ready; sleep 1000";
    let bundle = delegated(env, script)?;
    let id = env.detach(&bundle, "d", &[])?;
    let pid = env.pid(&id)?;
    wait_until(env.shared.limit, "the process to move", || {
        Ok(group_of(pid)?.ends_with("init").then_some(()))
    })?;
    env.exec(&id, &[], &["echo", "in"]).ok()?;
    Ok(())
}

fn host_options(env: &mut Env) -> Outcome {
    // A mount of cgroup2 from the host's cgroup namespace sets the options of all of them anew.
    let options = || -> Result<String, Failure> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let line = table.lines().find(|line| line.contains(" /sys/fs/cgroup "));
        Ok(line.and_then(|l| l.rsplit(' ').next()).unwrap_or_default().to_owned())
    };
    // What systemd mounts it with; an earlier case may have been one that lost it.
    env.command(&["mount", "-o", "remount,nsdelegate", "/sys/fs/cgroup"]).ok()?;
    let before = options()?;
    ensure!(before.contains("nsdelegate"), "the machine itself lacks the option: {before}");
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("cgroup")?.args(&["cat", "/sys/fs/cgroup/cgroup.controllers"]);
    let output = env.run(&bundle)?.ok()?;
    ensure!(output.stdout.contains("memory"), "no cgroup file system inside: {output}");
    ensure_eq!(options()?, before, "options of the host's mount");
    Ok(())
}

/// The files of a container with these limits.
pub fn check(env: &Env, name: &str, resources: Value, table: &[(&str, &str)]) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    for (key, value) in resources.as_object().into_iter().flatten() {
        bundle.set(&format!("/linux/resources/{key}"), value.clone())?;
    }
    let id = env.detach(&bundle, name, &[])?;
    let dir = group_of(env.pid(&id)?)?;
    for (file, wanted) in table {
        let text =
            fs::read_to_string(dir.join(file)).map_err(|e| Failure(format!("read {file}: {e}")))?;
        ensure_eq!(text.trim(), *wanted, "{file}");
    }
    Ok(())
}

fn memory(env: &mut Env) -> Outcome {
    check(
        env,
        "limit",
        json!({"memory": {"limit": 67_108_864, "swap": 100_663_296, "reservation": 33_554_432}}),
        &[("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")],
    )?;
    check(env, "unlimited", json!({"memory": {"limit": -1}}), &[("memory.max", "max")])
}

fn cpu(env: &mut Env) -> Outcome {
    check(
        env,
        "quota",
        json!({"cpu": {"shares": 1024, "quota": 50_000, "period": 200_000}}),
        &[("cpu.max", "50000 200000")],
    )?;
    // runc 1.1's linear conversion; later ones map 1024 to 100.
    let weight = if env.is(Peer::Ghost) { "100" } else { "39" };
    check(env, "weight", json!({"cpu": {"shares": 1024}}), &[("cpu.weight", weight)])?;
    check(env, "unlimited", json!({"cpu": {"quota": -1}}), &[("cpu.max", "max 100000")])
}

fn cpuset(env: &mut Env) -> Outcome {
    check(
        env,
        "set",
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    )
}

fn pids(env: &mut Env) -> Outcome {
    check(env, "limit", json!({"pids": {"limit": 33}}), &[("pids.max", "33")])?;
    check(env, "unlimited", json!({"pids": {"limit": -1}}), &[("pids.max", "max")])
}

fn unified(env: &mut Env) -> Outcome {
    check(
        env,
        "unified",
        json!({"unified": {"memory.high": "50331648", "pids.max": "44"}}),
        &[("memory.high", "50331648"), ("pids.max", "44")],
    )
}
