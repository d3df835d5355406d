//! Limits and device rules of containers in scopes of systemd: its properties and the files of the
//! cgroup say the same, also after it has read its configuration anew.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::cgroups_v2::group_of;
use super::resources::disk;
use super::systemd::{bundle, property, start, unit};
use crate::call::Call;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const SYSTEMD: &[Need] = &[Need::Systemd];
const NEWER: &[(Peer, &str)] =
    &[(Peer::Runc, "runc 1.1 does not round, and converts weights in another way")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("systemd-limits/limits", limits).needs(SYSTEMD).not_on(NEWER),
    Case::new("systemd-limits/unlimited", unlimited).needs(SYSTEMD),
    Case::new("systemd-limits/unified", unified).needs(SYSTEMD),
    Case::new("systemd-limits/limits-without-a-property", beside).needs(SYSTEMD),
    Case::new("systemd-limits/idle", idle)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 has no cpu.idle")]),
    Case::new("systemd-limits/out-of-memory-policy", oom_policy)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves the policy alone")]),
    Case::new("systemd-limits/idle-no-more", idle_no_more)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc has no way to tell systemd")]),
    Case::new("systemd-limits/block-devices", block_devices)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc writes these limits to the cgroup alone")]),
    Case::new("systemd-limits/limits-outlive-a-daemon-reload", reload_limits)
        .needs(SYSTEMD)
        .not_on(NEWER),
    Case::new("systemd-limits/device-rules-outlive-a-daemon-reload", reload_devices).needs(SYSTEMD),
    Case::new("systemd-limits/device-rules-that-systemd-has-no-words-for", odd_devices)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 denies more, or warns")]),
    Case::new("systemd-limits/update", update).needs(SYSTEMD).not_on(NEWER),
    Case::new("systemd-limits/update-of-device-rules", update_devices)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "ghost only: runc leaves device rules alone")]),
    Case::new("systemd-limits/failed-update", failed_update)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc leaves half of an update that fails")]),
];

/// Start a container with these limits; the directory of its cgroup.
fn limited(env: &Env, resources: Value) -> Result<(String, PathBuf), Failure> {
    let mut bundle = bundle(env)?;
    for (key, value) in resources.as_object().into_iter().flatten() {
        bundle.set(&format!("/linux/resources/{key}"), value.clone())?;
    }
    let id = start(env, &bundle, "c")?;
    let group = group_of(env.pid(&id)?)?;
    Ok((id, group))
}

fn properties(env: &Env, table: &[(&str, &str)]) -> Outcome {
    // All at once: each call takes its time in an emulated machine.
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    let (list, unit) = (names.join(","), unit(env));
    let text = env.command(&["systemctl", "show", "-p", &list, &unit]).ok()?.stdout;
    for (name, value) in table {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        ensure_eq!(found, Some(*value), "{name}");
    }
    Ok(())
}

fn files(group: &std::path::Path, table: &[(&str, &str)]) -> Outcome {
    for (file, value) in table {
        let text = fs::read_to_string(group.join(file))
            .map_err(|error| Failure(format!("read {file}: {error}")))?;
        ensure_eq!(text.trim(), *value, "{file}");
    }
    Ok(())
}

const RESOURCES: &str = r#"{
    "memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432},
    "cpu": {"shares": 512, "quota": 33300, "period": 100000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 33},
    "blockIO": {"weight": 500}
}"#;
const PROPERTIES: &[(&str, &str)] = &[
    ("MemoryMax", "67108864"),
    ("MemorySwapMax", "33554432"),
    ("MemoryLow", "33554432"),
    ("CPUWeight", "59"),
    ("CPUQuotaPerSecUSec", "340ms"),
    ("CPUQuotaPeriodUSec", "100ms"),
    ("AllowedCPUs", "0"),
    ("AllowedMemoryNodes", "0"),
    ("TasksMax", "33"),
    ("IOWeight", "4950"),
];
const FILES: &[(&str, &str)] = &[
    ("memory.max", "67108864"),
    ("memory.swap.max", "33554432"),
    ("memory.low", "33554432"),
    ("cpu.weight", "59"),
    // As systemd keeps it, in whole per cents.
    ("cpu.max", "34000 100000"),
    ("cpuset.cpus", "0"),
    ("cpuset.mems", "0"),
    ("pids.max", "33"),
    ("io.weight", "default 4950"),
];

fn limits(env: &mut Env) -> Outcome {
    let (_, group) = limited(env, serde_json::from_str(RESOURCES)?)?;
    properties(env, PROPERTIES)?;
    files(&group, FILES)
}

fn unlimited(env: &mut Env) -> Outcome {
    let resources = json!({"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}});
    let (_, group) = limited(env, resources)?;
    properties(
        env,
        &[("MemoryMax", "infinity"), ("CPUQuotaPerSecUSec", "infinity"), ("TasksMax", "infinity")],
    )?;
    files(&group, &[("memory.max", "max"), ("cpu.max", "max 100000"), ("pids.max", "max")])
}

fn unified(env: &mut Env) -> Outcome {
    let resources = json!({"unified": {
        "memory.high": "50331648",
        "memory.min": "1048576",
        "memory.max": "max",
        "pids.max": "44",
        "cpu.max": "20000 50000",
        "cpu.weight": "200",
        "cpuset.cpus": "0",
    }});
    let (_, group) = limited(env, resources)?;
    properties(
        env,
        &[
            ("MemoryHigh", "50331648"),
            ("MemoryMin", "1048576"),
            ("MemoryMax", "infinity"),
            ("TasksMax", "44"),
            ("CPUQuotaPerSecUSec", "400ms"),
            ("CPUQuotaPeriodUSec", "50ms"),
            ("CPUWeight", "200"),
            ("AllowedCPUs", "0"),
        ],
    )?;
    files(
        &group,
        &[
            ("memory.high", "50331648"),
            ("memory.min", "1048576"),
            ("pids.max", "44"),
            ("cpu.max", "20000 50000"),
            ("cpu.weight", "200"),
            ("cpuset.cpus", "0"),
        ],
    )
}

fn beside(env: &mut Env) -> Outcome {
    // systemd knows no such controller at all, and the controller has to be handed down to the scope.
    let resources = json!({
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
        "unified": {"memory.swap.high": "1048576"},
    });
    let (_, group) = limited(env, resources)?;
    files(&group, &[("hugetlb.2MB.max", "4194304"), ("memory.swap.high", "1048576")])
}

fn idle(env: &mut Env) -> Outcome {
    let (_, group) = limited(env, json!({"cpu": {"idle": 1}}))?;
    properties(env, &[("CPUWeight", "idle")])?;
    files(&group, &[("cpu.idle", "1")])
}

fn idle_no_more(env: &mut Env) -> Outcome {
    let (id, group) = limited(env, json!({"cpu": {"idle": 1, "shares": 512}}))?;
    properties(env, &[("CPUWeight", "idle")])?;
    for (flag, value, property, idle, weight) in [
        ("--cpu-idle", "0", "59", "0", "59"),
        ("--cpu-idle", "1", "idle", "1", "0"),
        ("--cpu-share", "1024", "idle", "1", "0"),
        ("--cpu-idle", "0", "100", "0", "100"),
    ] {
        env.runtime(&["update", flag, value, &id]).ok()?;
        properties(env, &[("CPUWeight", property)])?;
        files(&group, &[("cpu.idle", idle), ("cpu.weight", weight)])?;
    }
    reload(env)?;
    files(&group, &[("cpu.idle", "0"), ("cpu.weight", "100")])
}

fn block_devices(env: &mut Env) -> Outcome {
    let (major, minor) = disk()?;
    // For weights, the kernel has to be asked to keep accounts of a device. This is a throwaway one.
    fs::write("/sys/fs/cgroup/io.cost.qos", format!("{major}:{minor} enable=1"))?;
    let throttle = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let (id, group) = limited(
        env,
        json!({"blockIO": {
            "weightDevice": [{"major": major, "minor": minor, "weight": 500}],
            "throttleReadBpsDevice": throttle(1_048_576),
            "throttleWriteBpsDevice": throttle(2_097_152),
            "throttleReadIOPSDevice": throttle(300),
            "throttleWriteIOPSDevice": throttle(400),
        }}),
    )?;
    let node = format!("/dev/block/{major}:{minor}");
    let check = |table: &[(&str, &str)], throttles: &str| -> Outcome {
        let table: Vec<_> =
            table.iter().map(|(name, value)| (*name, format!("{node} {value}"))).collect();
        let table: Vec<_> = table.iter().map(|(name, value)| (*name, value.as_str())).collect();
        properties(env, &table)?;
        let weight = format!("default 100\n{major}:{minor} 4950");
        files(
            &group,
            &[("io.max", &*format!("{major}:{minor} {throttles}")), ("io.weight", &*weight)],
        )
    };
    let given = [
        ("IODeviceWeight", "4950"),
        ("IOReadBandwidthMax", "1048576"),
        ("IOWriteBandwidthMax", "2097152"),
        ("IOReadIOPSMax", "300"),
        ("IOWriteIOPSMax", "400"),
    ];
    check(&given, "rbps=1048576 wbps=2097152 riops=300 wiops=400")?;
    let resources = env.dir.join("resources.json");
    fs::write(&resources, json!({"blockIO": {"throttleReadBpsDevice": throttle(7)}}).to_string())?;
    let resources = resources.to_string_lossy().into_owned();
    env.runtime(&["update", "--resources", &resources, &id]).ok()?;
    let changed = [("IOReadBandwidthMax", "7"), ("IOWriteBandwidthMax", "2097152")];
    check(&changed, "rbps=7 wbps=2097152 riops=300 wiops=400")?;
    reload(env)?;
    check(&changed, "rbps=7 wbps=2097152 riops=300 wiops=400")
}

fn oom_policy(env: &mut Env) -> Outcome {
    let (_, group) = limited(env, json!({"unified": {"memory.oom.group": "1"}}))?;
    properties(env, &[("OOMPolicy", "kill")])?;
    files(&group, &[("memory.oom.group", "1")])
}

fn reload(env: &Env) -> Outcome {
    // Limits are written again as well once a property changes.
    env.command(&["systemctl", "daemon-reload"]).ok()?;
    let change = ["systemctl", "set-property", "--runtime", &unit(env), "IOAccounting=yes"];
    env.command(&change).ok()?;
    Ok(())
}

fn reload_limits(env: &mut Env) -> Outcome {
    let (_, group) = limited(env, serde_json::from_str(RESOURCES)?)?;
    reload(env)?;
    properties(env, PROPERTIES)?;
    files(&group, FILES)
}

/// Start a container with these rules that may make nodes.
fn devices(env: &Env, rules: Value) -> Result<String, Failure> {
    let mut bundle = bundle(env)?;
    bundle.writable();
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_MKNOD"]);
    bundle.set("/linux/resources/devices", rules)?;
    start(env, &bundle, "c")
}

/// What its processes may do with fuse and the control of loop devices, by a line each.
fn try_devices(env: &Env, id: &str) -> Call {
    let script = "rm -f /fuse /loop; mknod /fuse c 10 229 && mknod /loop c 10 237; \
                  (: < /fuse) && echo fuse; (: < /loop) && echo loop; \
                  (: > /loop) && echo write; (: < /dev/zero) && echo zero; true";
    env.exec(id, &[], &["sh", "-c", script])
}

fn reload_devices(env: &mut Env) -> Outcome {
    let id = devices(
        env,
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        ]),
    )?;
    ensure_eq!(property(env, &unit(env), "DevicePolicy")?, "strict", "DevicePolicy");
    let allowed = property(env, &unit(env), "DeviceAllow")?;
    ensure!(allowed.contains("/dev/char/10:229 rwm"), "DeviceAllow {allowed:?}");
    ensure_eq!(try_devices(env, &id).ok()?.stdout, "fuse\nzero\n", "before");
    reload(env)?;
    ensure_eq!(try_devices(env, &id).ok()?.stdout, "fuse\nzero\n", "after a daemon-reload");
    env.command(&["systemctl", "daemon-reexec"]).ok()?;
    ensure_eq!(try_devices(env, &id).ok()?.stdout, "fuse\nzero\n", "after a daemon-reexec");
    Ok(())
}

fn odd_devices(env: &mut Env) -> Outcome {
    for (rules, answers) in [
        (json!([{"allow": true, "access": "rwm"}]), "fuse\nloop\nwrite\nzero\n"),
        // All but one.
        (
            json!([
                {"allow": true, "access": "rwm"},
                {"allow": false, "type": "c", "major": 10, "minor": 237, "access": "w"},
            ]),
            "fuse\nloop\nzero\n",
        ),
        // One minor number of every major.
        (
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "minor": 229, "access": "r"},
            ]),
            "fuse\nzero\n",
        ),
        // A part of a wider rule.
        (
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "access": "rw"},
                {"allow": false, "type": "c", "major": 10, "minor": 237, "access": "w"},
            ]),
            "fuse\nloop\nzero\n",
        ),
    ] {
        let id = devices(env, rules.clone())?;
        ensure_eq!(try_devices(env, &id).ok()?.stdout, answers, "{rules}");
        env.runtime(&["delete", "--force", &id]).ok()?;
    }
    Ok(())
}

fn update(env: &mut Env) -> Outcome {
    let (id, group) = limited(env, serde_json::from_str(RESOURCES)?)?;
    env.runtime(&["update", "--memory", "48m", "--memory-swap", "64m", "--pids-limit", "-1", &id])
        .ok()?;
    env.runtime(&["update", "--cpu-quota", "50100", "--cpu-share", "1024", &id]).ok()?;
    let changed = [
        ("MemoryMax", "50331648"),
        ("MemorySwapMax", "16777216"),
        ("TasksMax", "infinity"),
        ("CPUQuotaPerSecUSec", "510ms"),
        ("CPUWeight", "100"),
        // These stay.
        ("MemoryLow", "33554432"),
        ("AllowedCPUs", "0"),
    ];
    properties(env, &changed)?;
    let written = [
        ("memory.max", "50331648"),
        ("memory.swap.max", "16777216"),
        ("pids.max", "max"),
        ("cpu.max", "51000 100000"),
        ("cpu.weight", "100"),
        ("memory.low", "33554432"),
        ("cpuset.cpus", "0"),
    ];
    files(&group, &written)?;
    reload(env)?;
    properties(env, &changed)?;
    files(&group, &written)
}

fn update_devices(env: &mut Env) -> Outcome {
    let rules = |minor: u32| {
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": minor, "access": "rwm"},
        ])
    };
    let id = devices(env, rules(229))?;
    ensure_eq!(try_devices(env, &id).ok()?.stdout, "fuse\nzero\n", "before");
    let file = env.dir.join("resources.json");
    fs::write(&file, json!({"devices": rules(237)}).to_string())?;
    env.runtime(&["update", "--resources", &file.to_string_lossy(), &id]).ok()?;
    let unit = unit(env);
    for after in ["the update", "a daemon-reload"] {
        ensure_eq!(try_devices(env, &id).ok()?.stdout, "loop\nwrite\nzero\n", "after {after}");
        let allowed = property(env, &unit, "DeviceAllow")?;
        ensure!(allowed.contains("/dev/char/10:237 rwm"), "after {after}: DeviceAllow {allowed:?}");
        ensure!(!allowed.contains("10:229"), "after {after}: DeviceAllow {allowed:?}");
        reload(env)?;
    }
    Ok(())
}

/// What systemd was told is taken back, too.
fn failed_update(env: &mut Env) -> Outcome {
    let (id, group) = limited(env, serde_json::from_str(RESOURCES)?)?;
    let file = env.dir.join("resources.json");
    let resources = json!({
        "memory": {"limit": 134_217_728, "swap": 134_217_728},
        "cpu": {"shares": 2048, "quota": 20_000},
        "pids": {"limit": 99},
        "hugepageLimits": [{"pageSize": "3MB", "limit": 1}],
    });
    fs::write(&file, resources.to_string())?;
    let output = env.runtime(&["update", "--resources", &file.to_string_lossy(), &id]).exits(1)?;
    ensure!(output.stderr.contains("3MB"), "the value is not named: {output}");
    properties(env, PROPERTIES)?;
    files(&group, FILES)?;
    reload(env)?;
    files(&group, FILES)
}
