//! `update`: limits of a container that runs, on v1 and v2, by flags and from JSON.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{cgroups_v1, cgroups_v2};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const LIMITS: &[Need] = &[Need::Controllers];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun words its errors in its own way")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("update/memory", memory).needs(LIMITS),
    Case::new("update/cpu", cpu).needs(LIMITS),
    Case::new("update/quota-and-period-apart", apart).needs(LIMITS),
    Case::new("update/cpuset-and-pids", cpuset_and_pids).needs(LIMITS),
    Case::new("update/unlimited", unlimited).needs(LIMITS),
    Case::new("update/resources-from-a-file", from_file).needs(LIMITS),
    Case::new("update/resources-from-standard-input", from_input).needs(LIMITS),
    Case::new("update/device-rules-stay", devices_stay),
    Case::new("update/limit-that-is-refused", refused)
        .needs(LIMITS)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves half of an update that fails")]),
    Case::new("update/bad-values", bad_values).not_on(CRUN),
    Case::new("update/of-a-created-and-a-paused-container", other_statuses).needs(LIMITS),
    Case::new("update/of-a-stopped-container", stopped).not_on(CRUN),
];

/// A container's limit, by the name of its file on v1 and on v2.
fn read(env: &Env, id: &str, v1: (&str, &str), v2: &str) -> Result<String, Failure> {
    let path: PathBuf = if is_v1() {
        cgroups_v1::group(env, id, v1.0)?.join(v1.1)
    } else {
        cgroups_v2::group_of(env.pid(id)?)?.join(v2)
    };
    let text =
        fs::read_to_string(&path).map_err(|e| Failure(format!("read {}: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}

fn is_v1() -> bool {
    !PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists()
}

const MEMORY: (&str, &str) = ("memory", "memory.limit_in_bytes");
const PIDS: (&str, &str) = ("pids", "pids.max");

fn running(
    env: &Env,
    name: &str,
    resources: &[(&str, serde_json::Value)],
) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    for (key, value) in resources {
        bundle.set(&format!("/linux/resources/{key}"), value.clone())?;
    }
    env.detach(&bundle, name, &[])
}

fn memory(env: &mut Env) -> Outcome {
    let id = running(env, "m", &[("memory", json!({"limit": 67_108_864}))])?;
    for (value, bytes) in [("128M", "134217728"), ("33554432", "33554432")] {
        env.runtime(&["update", "--memory", value, &id]).ok()?;
        ensure_eq!(read(env, &id, MEMORY, "memory.max")?, bytes, "limit after {value}");
    }
    env.runtime(&["update", "--memory-reservation=16m", &id]).ok()?;
    let soft = read(env, &id, ("memory", "memory.soft_limit_in_bytes"), "memory.low")?;
    ensure_eq!(soft, "16777216", "reservation");
    ensure_eq!(read(env, &id, MEMORY, "memory.max")?, "33554432", "limit beside the reservation");
    Ok(())
}

fn cpu(env: &mut Env) -> Outcome {
    let id = running(env, "c", &[])?;
    let words =
        ["update", "--cpu-quota", "50000", "--cpu-period", "200000", "--cpu-share", "2048", &id];
    env.runtime(&words).ok()?;
    if is_v1() {
        ensure_eq!(read(env, &id, ("cpu", "cpu.shares"), "")?, "2048", "shares");
        ensure_eq!(read(env, &id, ("cpu", "cpu.cfs_period_us"), "")?, "200000", "period");
    } else {
        let weight = if env.is(Peer::Ghost) { "174" } else { "79" };
        ensure_eq!(read(env, &id, ("", ""), "cpu.weight")?, weight, "weight");
    }
    let quota = read(env, &id, ("cpu", "cpu.cfs_quota_us"), "cpu.max")?;
    ensure!(quota == "50000" || quota == "50000 200000", "quota {quota}");
    Ok(())
}

fn apart(env: &mut Env) -> Outcome {
    let given = [("cpu", json!({"quota": 50_000, "period": 100_000}))];
    let id = running(env, "a", &given)?;
    for (flag, value, v1, v2) in [
        ("--cpu-quota", "30000", ["30000", "100000"], "30000 100000"),
        ("--cpu-period", "60000", ["30000", "60000"], "30000 60000"),
        ("--cpu-quota", "20000", ["20000", "60000"], "20000 60000"),
    ] {
        env.runtime(&["update", flag, value, &id]).ok()?;
        if is_v1() {
            let quota = read(env, &id, ("cpu", "cpu.cfs_quota_us"), "")?;
            let period = read(env, &id, ("cpu", "cpu.cfs_period_us"), "")?;
            ensure_eq!([&*quota, &*period], v1, "after {flag} {value}");
        } else {
            ensure_eq!(read(env, &id, ("", ""), "cpu.max")?, v2, "after {flag} {value}");
        }
    }
    Ok(())
}

fn cpuset_and_pids(env: &mut Env) -> Outcome {
    let id = running(env, "p", &[("pids", json!({"limit": 20}))])?;
    let words = ["update", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "44", &id];
    env.runtime(&words).ok()?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        ensure_eq!(read(env, &id, ("cpuset", file), file)?, "0", "{file}");
    }
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "44", "pids");
    Ok(())
}

fn unlimited(env: &mut Env) -> Outcome {
    let given = [("memory", json!({"limit": 67_108_864})), ("pids", json!({"limit": 20}))];
    let id = running(env, "u", &given)?;
    env.runtime(&["update", "--memory", "-1", "--pids-limit", "-1", &id]).ok()?;
    let memory = read(env, &id, MEMORY, "memory.max")?;
    ensure!(memory == "max" || memory == "9223372036854771712", "memory limit {memory}");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "max", "pids");
    Ok(())
}

fn from_file(env: &mut Env) -> Outcome {
    let id = running(env, "f", &[("memory", json!({"limit": 67_108_864}))])?;
    let file = env.dir.join("resources.json");
    fs::write(&file, r#"{"memory": {"limit": 33554432}, "pids": {"limit": 12}}"#)?;
    let file = file.to_string_lossy().into_owned();
    // Flags beside a file count for nothing.
    env.runtime(&["update", "--resources", &file, "--pids-limit", "99", &id]).ok()?;
    ensure_eq!(read(env, &id, MEMORY, "memory.max")?, "33554432", "memory");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "12", "pids");
    Ok(())
}

/// As containerd's shim and CRI-O call it.
fn from_input(env: &mut Env) -> Outcome {
    let id = running(env, "i", &[])?;
    let text = r#"{"devices": [{"allow": true, "access": "rwm"}], "cpu": {"shares": 512},
        "memory": {"limit": 50331648}}"#;
    env.runtime(&["update", "--resources=-", &id]).stdin(input(env, text)?).ok()?;
    ensure_eq!(read(env, &id, MEMORY, "memory.max")?, "50331648", "memory");
    Ok(())
}

/// A file with this text, as standard input.
fn input(env: &Env, text: &str) -> Result<fs::File, Failure> {
    let path = env.dir.join("input");
    fs::write(&path, text)?;
    Ok(fs::File::open(path)?)
}

fn devices_stay(env: &mut Env) -> Outcome {
    let id = running(env, "d", &[])?;
    let text = r#"{"devices": [{"allow": true, "access": "rwm"}]}"#;
    env.runtime(&["update", "--resources", "-", &id]).stdin(input(env, text)?).ok()?;
    let words = ["sh", "-c", "mknod /m c 1 1 && cat /m || echo kept"];
    let output = env.exec(&id, &["--cap", "CAP_MKNOD"], &words).output()?;
    ensure!(output.stdout.contains("kept"), "/dev/mem could be made or read: {output}");
    Ok(())
}

fn refused(env: &mut Env) -> Outcome {
    let id = running(env, "r", &[("pids", json!({"limit": 20}))])?;
    let text = r#"{"pids": {"limit": 30}, "cpu": {"cpus": "4000"}}"#;
    let output = env.runtime(&["update", "-r", "-", &id]).stdin(input(env, text)?).exits(1)?;
    ensure!(output.stderr.contains("4000"), "the value is not named: {output}");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "20", "pids after a failure");
    env.runtime(&["update", "--cpuset-cpus", "0", &id]).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "20", "pids after a later update");
    Ok(())
}

fn bad_values(env: &mut Env) -> Outcome {
    let id = running(env, "b", &[])?;
    for flag in
        ["--memory", "--memory-swap", "--cpu-quota", "--cpu-period", "--cpu-share", "--pids-limit"]
    {
        let output = env.runtime(&["update", flag, "1x7", &id]).exits(1)?;
        let name = flag.trim_start_matches('-');
        ensure!(output.stderr.contains(name), "{flag} is not named: {output}");
    }
    for text in ["", "{", r#"{"memory": {"limit": "1"}}"#, "[]"] {
        env.runtime(&["update", "--resources=-", &id]).stdin(input(env, text)?).exits(1)?;
    }
    let missing = env.dir.join("nope").to_string_lossy().into_owned();
    let output = env.runtime(&["update", "--resources", &missing, &id]).exits(1)?;
    ensure!(output.stderr.contains(&missing), "the file is not named: {output}");
    let output = env.runtime(&["update", "--memory", "1g", &env.id("nope")]).exits(1)?;
    ensure!(output.stderr.contains("container does not exist"), "words of {output}");
    Ok(())
}

fn other_statuses(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.create(&bundle, "c", &[])?;
    env.runtime(&["update", "--pids-limit", "21", &id]).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "21", "pids of a created container");
    env.verb("start", &id).ok()?;
    env.verb("pause", &id).ok()?;
    env.runtime(&["update", "--pids-limit", "22", &id]).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "22", "pids of a paused container");
    ensure_eq!(env.status(&id)?, "paused", "status");
    env.verb("resume", &id).ok().map(drop)
}

fn stopped(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let id = env.detach(&bundle, "s", &[])?;
    env.wait_status(&id, "stopped")?;
    let output = env.runtime(&["update", "--pids-limit", "21", &id]).exits(1)?;
    ensure!(output.stderr.contains("container not running"), "words of {output}");
    Ok(())
}
