//! The rest of `linux.resources` on cgroup v2, and who owns a container's cgroup.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use super::cgroups_v2::{check, group_of, writable_cgroups};
use super::limits_v1::{disk, in_use, refused, throttled, too_low};
use crate::bundle::Bundle;
use crate::case::{Case, Need, Outcome, Peer};
use crate::ensure_eq;
use crate::env::Env;

const V2: &[Need] = &[Need::V2];
const CONTROLLERS: &[Need] = &[Need::V2Controllers];
const NEWER: &[(Peer, &str)] = &[(Peer::Runc, "runc 1.1 does not know it")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("cgroups-v2/swap", swap).needs(CONTROLLERS),
    Case::new("cgroups-v2/what-v2-has-no-limit-for", without_effect).needs(CONTROLLERS),
    Case::new("cgroups-v2/memory-in-use-is-not-cut", in_use)
        .needs(CONTROLLERS)
        .not_on(&[(Peer::Runc, "runc 1.1 does not check")]),
    Case::new("cgroups-v2/memory-limit-too-low", too_low).needs(CONTROLLERS),
    Case::new("cgroups-v2/burst", burst).needs(CONTROLLERS).not_on(NEWER),
    Case::new("cgroups-v2/idle", idle).needs(CONTROLLERS).not_on(NEWER),
    Case::new("cgroups-v2/block-throttles", throttles).needs(CONTROLLERS),
    Case::new("cgroups-v2/block-weights", weights).needs(CONTROLLERS),
    Case::new("cgroups-v2/huge-pages", huge_pages)
        .needs(CONTROLLERS)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves the reservations alone")]),
    Case::new("cgroups-v2/rdma", rdma).needs(CONTROLLERS),
    Case::new("cgroups-v2/unified-lines", unified_lines)
        .needs(CONTROLLERS)
        .not_on(&[(Peer::Runc, "runc 1.1 writes all lines at once, which the kernel refuses")]),
    Case::new("cgroups-v2/owner", owner).needs(V2).not_on(&[
        (Peer::Runc, "runc does so in systemd scopes only"),
        (Peer::Crun, "crun has other rules"),
    ]),
];

fn swap(env: &mut Env) -> Outcome {
    refused(env, &json!({"memory": {"limit": 67_108_864, "swap": 1_048_576}}), &["swap"])?;
    // v2's limit is of swap alone: what v1's has beyond memory.
    for (name, memory, max) in [
        ("some", json!({"limit": 67_108_864, "swap": 100_663_296}), "33554432"),
        ("none", json!({"limit": 67_108_864, "swap": 67_108_864}), "0"),
        ("all", json!({"limit": 67_108_864, "swap": -1}), "max"),
        ("unset", json!({"limit": 67_108_864}), "max"),
    ] {
        check(env, name, json!({"memory": memory}), &[("memory.swap.max", max)])?;
    }
    Ok(())
}

fn without_effect(env: &mut Env) -> Outcome {
    // As in runc: these are of v1, and a configuration for both is to run on both.
    let resources = json!({
        "memory": {
            "limit": 67_108_864, "kernel": 16_777_216, "kernelTCP": 16_777_216,
            "swappiness": 10, "disableOOMKiller": true, "useHierarchy": true,
        },
        "cpu": {"realtimePeriod": 500_000, "realtimeRuntime": 5000},
        "blockIO": {"leafWeight": 300},
        "network": {"classID": 7, "priorities": [{"name": "lo", "priority": 5}]},
    });
    check(env, "c", resources, &[("memory.max", "67108864"), ("cpu.max", "max 100000")])
}

fn burst(env: &mut Env) -> Outcome {
    let cpu = json!({"quota": 50_000, "period": 100_000, "burst": 20_000});
    check(env, "c", json!({"cpu": cpu}), &[("cpu.max.burst", "20000"), ("cpu.max", "50000 100000")])
}

fn idle(env: &mut Env) -> Outcome {
    check(env, "c", json!({"cpu": {"idle": 1}}), &[("cpu.idle", "1")])
}

fn throttles(env: &mut Env) -> Outcome {
    let (major, minor) = disk()?;
    let block = throttled(major, minor);
    let line = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200");
    check(env, "c", json!({"blockIO": block}), &[("io.max", &line)])
}

fn weights(env: &mut Env) -> Outcome {
    // Without BFQ there is one weight of another range, and none of a disk.
    if !Path::new("/sys/module/bfq").exists() {
        let file = [("io.weight", "default 4950")];
        check(env, "plain", json!({"blockIO": {"weight": 500}}), &file)?;
    }
    env.command(&["modprobe", "bfq"]).ok()?;
    fs::write("/sys/block/loop0/queue/scheduler", "bfq")?;
    let block = json!({"weight": 500, "weightDevice": [{"major": 7, "minor": 0, "weight": 300}]});
    check(env, "bfq", json!({"blockIO": block}), &[("io.bfq.weight", "default 500\n7:0 300")])
}

fn huge_pages(env: &mut Env) -> Outcome {
    let limits = json!({"hugepageLimits": [
        {"pageSize": "2MB", "limit": 4_194_304},
        {"pageSize": "3MB", "limit": 4_194_304},
    ]});
    let words = ["hugetlb.3MB.max", "linux.resources.hugepageLimits[1]"];
    refused(env, &limits, if env.is(Peer::Ghost) { &words } else { &[] })?;
    let limits = json!({"hugepageLimits": [
        {"pageSize": "2MB", "limit": 4_194_304},
        {"pageSize": "1GB", "limit": 1_073_741_824},
    ]});
    let files = [
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
        ("hugetlb.1GB.max", "1073741824"),
        ("hugetlb.1GB.rsvd.max", "1073741824"),
    ];
    check(env, "c", limits, &files)
}

fn rdma(env: &mut Env) -> Outcome {
    // Without such a device the kernel refuses the line, which shows that it was written.
    let resources = json!({"rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10_000}}});
    let words: &[&str] = match env.is(Peer::Ghost) {
        true => &["rdma.max", "mlx5_0 hca_handle=3 hca_object=10000"],
        false => &["rdma.max"],
    };
    refused(env, &resources, words)
}

fn unified_lines(env: &mut Env) -> Outcome {
    let (major, minor) = disk()?;
    let lines = format!("{major}:{minor} rbps=1048576\n{major}:{minor} wiops=120");
    let written = format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=120");
    let resources = json!({"unified": {"io.max": lines, "hugetlb.2MB.max": "4194304"}});
    let files = [("io.max", &*written), ("hugetlb.2MB.max", "4194304")];
    check(env, "c", resources, &files)
}

/// A container that sees its cgroup as a root, with ids of its own.
fn divided(env: &Env, user: Value) -> Result<Bundle, crate::case::Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    bundle.namespace("cgroup", None)?.namespace("user", None)?;
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone())?.set("/linux/gidMappings", map)?;
    bundle.set("/process/user", user)?;
    env.command(&["chown", "-R", "100000:100000", &bundle.dir.to_string_lossy()]).ok()?;
    let mut dir: Option<&Path> = Some(&env.dir);
    while let Some(one) = dir.filter(|dir| dir.starts_with(std::env::temp_dir())) {
        env.command(&["chmod", "a+x", &one.to_string_lossy()]).ok()?;
        dir = one.parent();
    }
    Ok(bundle)
}

fn owner(env: &mut Env) -> Outcome {
    let root = json!({"uid": 0, "gid": 0});
    for (name, user, writable, uid) in [
        ("root", &root, true, 100_000),
        ("user", &json!({"uid": 7, "gid": 7}), true, 100_007),
        ("ro", &root, false, 0),
    ] {
        let mut bundle = divided(env, user.clone())?;
        if writable {
            writable_cgroups(&mut bundle);
        }
        let id = env.detach(&bundle, name, &[])?;
        let group = group_of(env.pid(&id)?)?;
        for file in [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            ensure_eq!(fs::metadata(group.join(file))?.uid(), uid, "owner of {file} of {name}");
        }
        // Its limits are not its to lift.
        let limits = ["memory.max", "pids.max", "cpu.max", "cgroup.freeze", "cgroup.max.depth"];
        for file in limits.iter().filter(|file| group.join(file).exists()) {
            ensure_eq!(fs::metadata(group.join(file))?.uid(), 0, "owner of {file} of {name}");
        }
        let listed = fs::read_to_string("/sys/kernel/cgroup/delegate")?;
        for file in listed.lines().filter(|file| group.join(file).exists()) {
            ensure_eq!(fs::metadata(group.join(file))?.uid(), uid, "owner of {file} of {name}");
        }
        if name == "root" {
            let script = "mkdir /sys/fs/cgroup/a && echo $$ > /sys/fs/cgroup/a/cgroup.procs && \
                          grep ^0:: /proc/self/cgroup";
            let output = env.exec(&id, &[], &["sh", "-c", script]).ok()?;
            ensure_eq!(output.stdout, "0::/a\n", "its own view");
        }
    }
    Ok(())
}
