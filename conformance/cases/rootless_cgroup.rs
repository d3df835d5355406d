//! Control groups of a caller without privileges: none of the container's own, or a delegated one.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::rootless::{CRUN, RUNC_ALONE, refused};
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::delegated::Delegated;
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("rootless-cgroup/stays-in-the-callers-cgroup", own_cgroup).not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/cgroups-path-without-permission", cgroups_path).not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/limit-without-a-cgroup", limit_without_cgroup).not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/pause-without-a-cgroup", pause).not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/ps-and-kill-all-without-a-cgroup", census)
        .not_on(&[(Peer::Runc, "runc needs a cgroup for both"), CRUN]),
    Case::new("rootless-cgroup/delegated-cgroup", delegated).needs(&[Need::V2]).not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/limits-in-a-delegated-cgroup", delegated_limits)
        .needs(&[Need::V2Controllers])
        .not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/exec-from-outside-a-delegated-cgroup", delegated_exec)
        .needs(&[Need::V2])
        .not_on(RUNC_ALONE),
    Case::new("rootless-cgroup/create-from-outside-a-delegated-cgroup", delegated_outside)
        .needs(&[Need::V2])
        .not_on(&[(Peer::Runc, "runc says which path may not be written"), CRUN]),
];

fn own_cgroup(env: &mut Env) -> Outcome {
    env.become_user()?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mut bundle = env.bundle()?;
    bundle.shell("cat /proc/self/cgroup");
    bundle.drop_namespace("cgroup")?;
    let output = env.run(&bundle)?.ok()?;
    ensure_eq!(output.stdout, own, "cgroups");
    // Device rules are for those who could make nodes.
    bundle.config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, own, "cgroups");
    Ok(())
}

fn cgroups_path(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", env.mark));
    refused(env, bundle.args(&["/bin/true"]), &["mkdir", &env.mark, "permission denied"])
}

fn limit_without_cgroup(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["linux"]["resources"] = json!({"pids": {"limit": 10}});
    refused(env, bundle.args(&["/bin/true"]), &["pids"])
}

fn pause(env: &mut Env) -> Outcome {
    env.become_user()?;
    let id = env.detach(&env.bundle_with(&["sleep", "100"])?, "a", &[])?;
    let output = env.verb("pause", &id).exits(1)?;
    ensure!(output.stderr.contains("freez"), "{output}");
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

fn census(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.shell(
        "trap 'echo 1 > /tmp/first' USR1; \
         (trap 'echo 2 > /tmp/second' USR1; echo > /tmp/ready; while :; do sleep 0.1; done) & \
         while :; do sleep 0.1; done",
    );
    let id = env.detach(&bundle, "a", &[])?;
    env.wait_file(&bundle.rootfs().join("tmp/ready"))?;
    let pids: Vec<i32> =
        serde_json::from_str(&env.runtime(&["ps", "--format", "json", &id]).ok()?.stdout)?;
    ensure!(pids.len() >= 2 && pids.contains(&env.pid(&id)?), "processes {pids:?}");
    env.runtime(&["kill", "--all", &id, "USR1"]).ok()?;
    for (file, text) in [("tmp/first", "1\n"), ("tmp/second", "2\n")] {
        ensure_eq!(env.wait_file(&bundle.rootfs().join(file))?, text, "{file}");
    }
    env.runtime(&["kill", "--all", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")
}

/// A container in a delegated cgroup.
fn start_inside(env: &Env, place: &Delegated, bundle: &Bundle) -> Result<String, Failure> {
    bundle.save()?;
    let id = env.id("d");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    place.inside(env.runtime(&["run", "-d", "-b", &dir, &id])).ok()?;
    Ok(id)
}

fn cgroup_of(pid: i32) -> Result<String, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(format!("/sys/fs/cgroup{}", line.unwrap_or_default()))
}

fn delegated(env: &mut Env) -> Outcome {
    env.become_user()?;
    let place = Delegated::new(&env.mark)?;
    let mut bundle = env.bundle()?;
    let id = start_inside(env, &place, bundle.shell("sleep 100 & sleep 100"))?;
    let own = place.of(&id);
    ensure_eq!(cgroup_of(env.pid(&id)?)?, own.to_string_lossy(), "cgroup of init");
    let pid_file = env.dir.join("pid");
    let flags = ["exec", "-d", "--pid-file", &pid_file.to_string_lossy(), &id, "sleep", "100"];
    place.inside(env.runtime(&flags)).ok()?;
    let pid: i32 = fs::read_to_string(&pid_file)?.parse()?;
    ensure_eq!(cgroup_of(pid)?, own.to_string_lossy(), "cgroup of the exec'ed process");
    env.verb("pause", &id).ok()?;
    ensure_eq!(env.status(&id)?, "paused", "status");
    env.verb("resume", &id).ok()?;
    let pids: Vec<i32> =
        serde_json::from_str(&env.runtime(&["ps", "--format", "json", &id]).ok()?.stdout)?;
    ensure!(pids.contains(&pid) && pids.len() >= 3, "processes {pids:?}");
    env.runtime(&["kill", "--all", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    ensure!(!own.exists(), "{} is left", own.display());
    Ok(())
}

fn delegated_limits(env: &mut Env) -> Outcome {
    env.become_user()?;
    let place = Delegated::new(&env.mark)?;
    let mut bundle = env.bundle()?;
    bundle.config["linux"]["resources"] =
        json!({"pids": {"limit": 123}, "memory": {"limit": 100 << 20}});
    let id = start_inside(env, &place, bundle.args(&["sleep", "100"]))?;
    for (file, value) in [("pids.max", "123\n"), ("memory.max", "104857600\n")] {
        ensure_eq!(fs::read_to_string(place.of(&id).join(file))?, value, "{file}");
    }
    env.runtime(&["update", "--pids-limit", "50", &id]).ok()?;
    ensure_eq!(fs::read_to_string(place.of(&id).join("pids.max"))?, "50\n", "pids.max");
    env.runtime(&["delete", "--force", &id]).ok()?;
    Ok(())
}

fn delegated_exec(env: &mut Env) -> Outcome {
    env.become_user()?;
    let place = Delegated::new(&env.mark)?;
    let id = start_inside(env, &place, env.bundle()?.args(&["sleep", "100"]))?;
    // From the runner's own cgroup, no process may be moved there.
    let output = env.exec(&id, &[], &["echo", "ran"]).ok()?;
    ensure_eq!(output.stdout, "ran\n", "output");
    env.runtime(&["delete", "--force", &id]).ok()?;
    Ok(())
}

fn delegated_outside(env: &mut Env) -> Outcome {
    env.become_user()?;
    let place = Delegated::new(&env.mark)?;
    let mut bundle = env.bundle()?;
    let path = place.of("x");
    bundle.config["linux"]["cgroupsPath"] =
        json!(path.strip_prefix("/sys/fs/cgroup").map(|path| Path::new("/").join(path))?);
    let output = env.run(bundle.args(&["/bin/true"]))?.exits(1)?;
    for word in [&*path.to_string_lossy(), "permission denied"] {
        ensure!(output.stderr.contains(word), "{word} is missing: {output}");
    }
    ensure!(!path.exists(), "{} is left", path.display());
    Ok(())
}
