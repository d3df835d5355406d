//! The rest of `linux.resources` on cgroup v1: every field's file, or the refusal that names it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::cgroups_v1::group;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const V1: &[Need] = &[Need::V1];
const NEWER: &[(Peer, &str)] = &[(Peer::Runc, "runc 1.1 does not know it")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("cgroups-v1/swap", swap).needs(V1),
    Case::new("cgroups-v1/kernel-memory-is-left-alone", kernel_memory).needs(V1),
    Case::new("cgroups-v1/out-of-memory-killer", oom_killer).needs(V1),
    Case::new("cgroups-v1/memory-in-use-is-not-cut", in_use).needs(V1),
    Case::new("cgroups-v1/memory-limit-too-low", too_low).needs(V1),
    Case::new("cgroups-v1/burst", burst).needs(V1).not_on(NEWER),
    Case::new("cgroups-v1/idle", idle).needs(V1).not_on(NEWER),
    Case::new("cgroups-v1/real-time", real_time).needs(&[Need::V1, Need::RealTimeGroups]),
    Case::new("cgroups-v1/block-weight", block_weight).needs(V1),
    Case::new("cgroups-v1/block-weights-that-no-disk-takes", refused_weights).needs(V1),
    Case::new("cgroups-v1/block-throttles", throttles).needs(V1),
    Case::new("cgroups-v1/limits-without-a-controller", no_controller)
        .needs(V1)
        .not_on(&[(Peer::Runc, "runc leaves these out")]),
];

/// Set limits by their keys.
pub fn set(bundle: &mut Bundle, resources: &Value) -> Outcome {
    for (key, value) in resources.as_object().into_iter().flatten() {
        bundle.set(&format!("/linux/resources/{key}"), value.clone())?;
    }
    Ok(())
}

/// Start a container with these limits.
fn limited(env: &Env, name: &str, resources: Value) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    set(&mut bundle, &resources)?;
    env.detach(&bundle, name, &[])
}

/// A container with these limits can't be made; the error has these words.
pub fn refused(env: &Env, resources: &Value, words: &[&str]) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    set(&mut bundle, resources)?;
    let output = env.run(&bundle)?.exits(1)?;
    for word in words {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    env.nothing_left()
}

fn check(env: &Env, id: &str, controller: &str, table: &[(&str, &str)]) -> Outcome {
    let dir = group(env, id, controller)?;
    for (file, wanted) in table {
        let text = fs::read_to_string(dir.join(file))
            .map_err(|error| Failure(format!("read {file}: {error}")))?;
        ensure_eq!(text.trim(), *wanted, "{file}");
    }
    Ok(())
}

/// The largest number of pages that the kernel counts, in bytes.
const UNLIMITED: &str = "9223372036854771712";

fn swap(env: &mut Env) -> Outcome {
    // Memory and swap together.
    let memory = json!({"limit": 67_108_864, "swap": 100_663_296});
    let id = limited(env, "both", json!({"memory": memory}))?;
    check(
        env,
        &id,
        "memory",
        &[("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "100663296")],
    )?;
    let id = limited(env, "no", json!({"memory": {"limit": 67_108_864, "swap": -1}}))?;
    check(env, &id, "memory", &[("memory.memsw.limit_in_bytes", UNLIMITED)])
}

fn kernel_memory(env: &mut Env) -> Outcome {
    // As in runc: the kernel has no such limits any more. The hierarchical accounting is all there is.
    let memory = json!({"kernel": 16_777_216, "kernelTCP": 16_777_216, "useHierarchy": true});
    let id = limited(env, "c", json!({"memory": memory}))?;
    let files = ["memory.kmem.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"];
    check(env, &id, "memory", &files.map(|file| (file, UNLIMITED)))?;
    check(env, &id, "memory", &[("memory.use_hierarchy", "1")])
}

fn oom_killer(env: &mut Env) -> Outcome {
    for (disabled, line) in [(true, "oom_kill_disable 1"), (false, "oom_kill_disable 0")] {
        let memory = json!({"limit": 67_108_864, "disableOOMKiller": disabled});
        let id = limited(env, if disabled { "off" } else { "on" }, json!({"memory": memory}))?;
        let control = group(env, &id, "memory")?.join("memory.oom_control");
        let text = fs::read_to_string(control)?;
        ensure!(text.lines().any(|one| one == line), "no {line:?} in {text:?}");
    }
    Ok(())
}

/// A limit below what is in use is refused, and the one before stays: on v1 by the kernel, on v2,
/// which would kill, by `checkBeforeUpdate`.
pub fn in_use(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/memory", json!({"limit": 134_217_728}))?;
    // A shell with 12 MB in a variable, which it would lose by becoming its last command.
    bundle.shell(
        "x=$(head -c 12000000 /dev/zero | tr '\\0' x); echo ${#x} > /tmp/size; sleep 1000; true",
    );
    bundle.writable();
    let id = env.detach(&bundle, "c", &[])?;
    env.wait_file(&bundle.rootfs().join("tmp/size"))?;
    let file = env.dir.join("resources.json");
    let resources = json!({"memory": {"limit": 4_194_304, "checkBeforeUpdate": true}});
    fs::write(&file, resources.to_string())?;
    let words = ["update", "--resources", &file.to_string_lossy(), &id];
    let output = env.runtime(&words).exits(1)?;
    let named = output.stderr.contains("4194304") || !env.is(Peer::Ghost);
    ensure!(named, "the line does not name the limit: {output}");
    ensure_eq!(env.status(&id)?, "running", "status");
    let (dir, file) = match env.shared.host.v2 {
        true => (super::cgroups_v2::group_of(env.pid(&id)?)?, "memory.max"),
        false => (group(env, &id, "memory")?, "memory.limit_in_bytes"),
    };
    ensure_eq!(fs::read_to_string(dir.join(file))?.trim(), "134217728", "{file}");
    Ok(())
}

fn burst(env: &mut Env) -> Outcome {
    let cpu = json!({"quota": 50_000, "period": 100_000, "burst": 20_000});
    let id = limited(env, "c", json!({"cpu": cpu}))?;
    check(env, &id, "cpu", &[("cpu.cfs_quota_us", "50000"), ("cpu.cfs_burst_us", "20000")])
}

fn idle(env: &mut Env) -> Outcome {
    let id = limited(env, "c", json!({"cpu": {"idle": 1}}))?;
    check(env, &id, "cpu", &[("cpu.idle", "1")])
}

fn real_time(env: &mut Env) -> Outcome {
    let cpu = json!({"realtimePeriod": 500_000, "realtimeRuntime": 5000});
    let id = limited(env, "c", json!({"cpu": cpu}))?;
    check(env, &id, "cpu", &[("cpu.rt_period_us", "500000"), ("cpu.rt_runtime_us", "5000")])
}

fn block_weight(env: &mut Env) -> Outcome {
    let id = limited(env, "c", json!({"blockIO": {"weight": 500}}))?;
    check(env, &id, "blkio", &[("blkio.bfq.weight", "500")])
}

/// The numbers of a disk of the machine.
pub fn disk() -> Result<(u64, u64), Failure> {
    let names = fs::read_dir("/sys/block")?.flatten().map(|entry| entry.path());
    let mut disks: Vec<PathBuf> = names.filter(|path| path.join("queue").exists()).collect();
    // A loop or memory device only where there is no other.
    disks.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.starts_with("loop") || name.starts_with("zram"), name)
    });
    let disk = disks.first().ok_or_else(|| Failure("no disk in /sys/block".to_owned()))?;
    let text = fs::read_to_string(disk.join("dev"))?;
    let numbers =
        text.trim().split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| Failure(format!("{text:?} are no numbers")))
}

fn refused_weights(env: &mut Env) -> Outcome {
    // Weights of disks take a scheduler that this machine's disks do not have; leaf weights went with
    // CFQ. What is tried shows in what the kernel refuses.
    let (major, minor) = disk()?;
    let one = |key: &str| json!([{"major": major, "minor": minor, key: 300}]);
    let device = format!("{major}:{minor} 300");
    let entry = "linux.resources.blockIO.weightDevice[0]";
    for (block, file, field) in [
        (json!({"weightDevice": one("weight")}), "weight_device", entry),
        (json!({"weightDevice": one("leafWeight")}), "leaf_weight_device", entry),
        (json!({"leafWeight": 300}), "leaf_weight", "linux.resources.blockIO.leafWeight"),
    ] {
        let words: &[&str] = match (env.is(Peer::Ghost), file.ends_with("device")) {
            (true, true) => &[file, field, &device],
            (true, false) => &[file, field],
            (false, _) => &[file],
        };
        refused(env, &json!({"blockIO": block}), words)?;
    }
    Ok(())
}

/// The container's process does not live to run the program.
pub fn too_low(env: &mut Env) -> Outcome {
    let words: &[&str] = match env.is(Peer::Ghost) {
        true => &["linux.resources.memory.limit", "4096"],
        false => &[],
    };
    refused(env, &json!({"memory": {"limit": 4096}}), words)
}

/// `blockIO` with another rate for each of a disk's four throttles.
pub fn throttled(major: u64, minor: u64) -> serde_json::Value {
    let one = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    json!({
        "throttleReadBpsDevice": one(1_048_576),
        "throttleWriteBpsDevice": one(2_097_152),
        "throttleReadIOPSDevice": one(100),
        "throttleWriteIOPSDevice": one(200),
    })
}

fn throttles(env: &mut Env) -> Outcome {
    let (major, minor) = disk()?;
    let rates = json!([
        {"major": major, "minor": minor, "rate": 1_048_576},
        {"major": 4000, "minor": 0, "rate": 7},
    ]);
    let field = "linux.resources.blockIO.throttleReadBpsDevice[1]";
    let words = ["blkio.throttle.read_bps_device", field, "4000:0 7"];
    let words = if env.is(Peer::Ghost) { &words[..] } else { &words[..1] };
    refused(env, &json!({"blockIO": {"throttleReadBpsDevice": rates}}), words)?;
    let block = throttled(major, minor);
    let id = limited(env, "c", json!({"blockIO": block}))?;
    let line = |rate: u64| format!("{major}:{minor} {rate}");
    check(
        env,
        &id,
        "blkio",
        &[
            ("blkio.throttle.read_bps_device", &line(1_048_576)),
            ("blkio.throttle.write_bps_device", &line(2_097_152)),
            ("blkio.throttle.read_iops_device", &line(100)),
            ("blkio.throttle.write_iops_device", &line(200)),
        ],
    )
}

fn no_controller(env: &mut Env) -> Outcome {
    for (controller, resources) in [
        ("hugetlb", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]})),
        ("net_cls", json!({"network": {"classID": 7}})),
        ("net_prio", json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}})),
        ("rdma", json!({"rdma": {"mlx5_0": {"hcaHandles": 3}}})),
    ] {
        let mounted = env.shared.host.cgroup_roots().iter().any(|root| {
            root.file_name().is_some_and(|name| name.to_string_lossy().contains(controller))
        });
        if !mounted {
            refused(env, &resources, &[controller, "not available"])?;
        }
    }
    Ok(())
}
