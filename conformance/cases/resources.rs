//! Every limit of `linux.resources` that the areas of cgroups v1 and v2 don't have: it is in the
//! kernel's file, or, where this kernel has no such file, refused with the name of the field.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{cgroups_v1, cgroups_v2};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const OWN_WAY: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc does not name the field"),
    (Peer::Crun, "ghost only: crun does not name the field"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("resources/v1-memory", |env| all(env, true, V1_MEMORY))
        .needs(&[Need::V1])
        .not_on(OWN_WAY),
    Case::new("resources/v1-cpu", |env| all(env, true, V1_CPU)).needs(&[Need::V1]).not_on(OWN_WAY),
    Case::new("resources/v1-throttles", |env| all(env, true, V1_THROTTLES))
        .needs(&[Need::V1])
        .not_on(OWN_WAY),
    Case::new("resources/v1-weights", |env| all(env, true, V1_WEIGHTS))
        .needs(&[Need::V1])
        .not_on(OWN_WAY),
    Case::new("resources/v1-network", |env| all(env, true, V1_NETWORK))
        .needs(&[Need::V1])
        .not_on(OWN_WAY),
    Case::new("resources/v1-huge-pages", |env| all(env, true, V1_HUGE_PAGES))
        .needs(&[Need::V1])
        .not_on(OWN_WAY),
    Case::new("resources/v1-rdma", |env| all(env, true, RDMA)).needs(&[Need::V1]).not_on(OWN_WAY),
    Case::new("resources/v1-left-out", |env| left_out(env, V1_LEFT_OUT))
        .needs(&[Need::V1])
        .not_on(OWN_WAY),
    Case::new("resources/v2-memory", |env| all(env, false, V2_MEMORY))
        .needs(&[Need::V2Controllers])
        .not_on(OWN_WAY),
    Case::new("resources/v2-cpu", |env| all(env, false, V2_CPU))
        .needs(&[Need::V2Controllers])
        .not_on(OWN_WAY),
    Case::new("resources/v2-throttles", |env| all(env, false, V2_THROTTLES))
        .needs(&[Need::V2])
        .not_on(OWN_WAY),
    Case::new("resources/v2-weights", |env| all(env, false, V2_WEIGHTS))
        .needs(&[Need::V2])
        .not_on(OWN_WAY),
    Case::new("resources/v2-huge-pages", |env| all(env, false, V2_HUGE_PAGES))
        .needs(&[Need::V2])
        .not_on(OWN_WAY),
    Case::new("resources/v2-rdma", |env| all(env, false, RDMA)).needs(&[Need::V2]).not_on(OWN_WAY),
    Case::new("resources/v2-left-out", |env| left_out(env, V2_LEFT_OUT))
        .needs(&[Need::V2])
        .not_on(OWN_WAY),
];

/// A field below `linux.resources`, its value (`DISK` is some block device's major and minor), the
/// controller's v1 hierarchy, the file, and what is in it (`D` is the disk's "major:minor").
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const V1_MEMORY: &[Row] = &[
    ("memory", r#"{"reservation": 33554432}"#, "memory", "memory.soft_limit_in_bytes", "33554432"),
    (
        "memory",
        r#"{"limit": 33554432, "swap": 67108864}"#,
        "memory",
        "memory.memsw.limit_in_bytes",
        "67108864",
    ),
    ("memory", r#"{"swappiness": 7}"#, "memory", "memory.swappiness", "7"),
    (
        "memory",
        r#"{"disableOOMKiller": true}"#,
        "memory",
        "memory.oom_control",
        "oom_kill_disable 1",
    ),
    (
        "memory",
        r#"{"limit": 67108864, "checkBeforeUpdate": true}"#,
        "memory",
        "memory.limit_in_bytes",
        "67108864",
    ),
];
const V1_CPU: &[Row] = &[
    (
        "cpu",
        r#"{"quota": 50000, "period": 100000, "burst": 20000}"#,
        "cpu",
        "cpu.cfs_burst_us",
        "20000",
    ),
    ("cpu", r#"{"idle": 1}"#, "cpu", "cpu.idle", "1"),
    ("cpu", r#"{"realtimePeriod": 900000}"#, "cpu", "cpu.rt_period_us", "900000"),
    ("cpu", r#"{"realtimeRuntime": 1000}"#, "cpu", "cpu.rt_runtime_us", "1000"),
    ("cpu", r#"{"mems": "0"}"#, "cpuset", "cpuset.mems", "0"),
];
const V1_THROTTLES: &[Row] = &[
    (
        "blockIO",
        r#"{"throttleReadBpsDevice": [{DISK, "rate": 1048576}]}"#,
        "blkio",
        "blkio.throttle.read_bps_device",
        "D 1048576",
    ),
    (
        "blockIO",
        r#"{"throttleWriteBpsDevice": [{DISK, "rate": 2097152}]}"#,
        "blkio",
        "blkio.throttle.write_bps_device",
        "D 2097152",
    ),
    (
        "blockIO",
        r#"{"throttleReadIOPSDevice": [{DISK, "rate": 300}]}"#,
        "blkio",
        "blkio.throttle.read_iops_device",
        "D 300",
    ),
    (
        "blockIO",
        r#"{"throttleWriteIOPSDevice": [{DISK, "rate": 400}]}"#,
        "blkio",
        "blkio.throttle.write_iops_device",
        "D 400",
    ),
];
const V1_WEIGHTS: &[Row] = &[
    ("blockIO.weight", r#"300"#, "blkio", "blkio.bfq.weight", "300"),
    ("blockIO.leafWeight", r#"300"#, "blkio", "blkio.leaf_weight", "300"),
    (
        "blockIO.weightDevice",
        r#"[{DISK, "weight": 300}]"#,
        "blkio",
        "blkio.bfq.weight_device",
        "D 300",
    ),
    (
        "blockIO.weightDevice",
        r#"[{DISK, "leafWeight": 300}]"#,
        "blkio",
        "blkio.leaf_weight_device",
        "D 300",
    ),
];
/// Few hosts have these three hierarchies: `cgroups-hybrid` mounts them.
const V1_NETWORK: &[Row] = &[
    ("network.classID", r#"1048577"#, "net_cls", "net_cls.classid", "1048577"),
    (
        "network.priorities",
        r#"[{"name": "lo", "priority": 5}]"#,
        "net_prio",
        "net_prio.ifpriomap",
        "lo 5",
    ),
];
const V1_HUGE_PAGES: &[Row] = &[(
    "hugepageLimits",
    r#"[{"pageSize": "2MB", "limit": 4194304}]"#,
    "hugetlb",
    "hugetlb.2MB.limit_in_bytes",
    "4194304",
)];
const RDMA: &[Row] = &[
    ("rdma", r#"{"mlx5_7": {"hcaHandles": 3}}"#, "rdma", "rdma.max", "mlx5_7 hca_handle=3"),
    ("rdma", r#"{"mlx5_7": {"hcaObjects": 4}}"#, "rdma", "rdma.max", "mlx5_7 hca_object=4"),
];
const V2_MEMORY: &[Row] = &[
    ("memory", r#"{"reservation": 33554432}"#, "", "memory.low", "33554432"),
    ("memory", r#"{"limit": 33554432, "swap": 67108864}"#, "", "memory.swap.max", "33554432"),
    ("memory", r#"{"limit": 67108864, "checkBeforeUpdate": true}"#, "", "memory.max", "67108864"),
];
const V2_CPU: &[Row] = &[
    ("cpu", r#"{"quota": 50000, "period": 100000, "burst": 20000}"#, "", "cpu.max.burst", "20000"),
    ("cpu", r#"{"idle": 1}"#, "", "cpu.idle", "1"),
    ("cpu", r#"{"mems": "0"}"#, "", "cpuset.mems", "0"),
];
const V2_THROTTLES: &[Row] = &[
    (
        "blockIO.throttleReadBpsDevice",
        r#"[{DISK, "rate": 1048576}]"#,
        "",
        "io.max",
        "D rbps=1048576",
    ),
    (
        "blockIO.throttleWriteBpsDevice",
        r#"[{DISK, "rate": 2097152}]"#,
        "",
        "io.max",
        "wbps=2097152",
    ),
    ("blockIO.throttleReadIOPSDevice", r#"[{DISK, "rate": 300}]"#, "", "io.max", "riops=300"),
    ("blockIO.throttleWriteIOPSDevice", r#"[{DISK, "rate": 400}]"#, "", "io.max", "wiops=400"),
];
const V2_WEIGHTS: &[Row] = &[("blockIO.weight", r#"505"#, "", "io.weight", "default 5000")];
const V2_HUGE_PAGES: &[Row] = &[(
    "hugepageLimits",
    r#"[{"pageSize": "2MB", "limit": 4194304}]"#,
    "",
    "hugetlb.2MB.max",
    "4194304",
)];

/// What kernels that are still around don't have, or v2 has no file for: taken and left out, as runc
/// does it.
const V1_LEFT_OUT: &[(&str, &str)] = &[
    ("memory", r#"{"kernel": 16777216}"#),
    ("memory", r#"{"kernelTCP": 16777216}"#),
    ("memory", r#"{"useHierarchy": true}"#),
];
const V2_LEFT_OUT: &[(&str, &str)] = &[
    ("memory", r#"{"kernel": 16777216}"#),
    ("memory", r#"{"kernelTCP": 16777216}"#),
    ("memory", r#"{"useHierarchy": true}"#),
    ("memory", r#"{"swappiness": 10}"#),
    ("memory", r#"{"disableOOMKiller": true}"#),
    ("cpu", r#"{"realtimeRuntime": 1000, "realtimePeriod": 900000}"#),
    ("blockIO", r#"{"leafWeight": 300}"#),
    ("network", r#"{"classID": 7, "priorities": [{"name": "lo", "priority": 5}]}"#),
];

/// The numbers of some block device.
pub fn disk() -> Result<(u32, u32), Failure> {
    for entry in fs::read_dir("/sys/block")? {
        let text = fs::read_to_string(entry?.path().join("dev"))?;
        if let Some((major, minor)) = text.trim().split_once(':') {
            return Ok((major.parse()?, minor.parse()?));
        }
    }
    Err(Failure("no block device".to_owned()))
}

fn start(env: &Env, name: &str, field: &str, value: &str) -> Result<crate::call::Call, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    if !field.is_empty() {
        let pointer = format!("/linux/resources/{}", field.replace('.', "/"));
        super::bad_values::put(&mut bundle.config, &pointer, value)?;
    }
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id(name);
    env.adopt(&id);
    Ok(env.runtime(&["run", "-d", "-b", &dir, &id]))
}

fn directory(env: &Env, name: &str, v1: bool, controller: &str) -> Result<PathBuf, Failure> {
    let id = env.id(name);
    if v1 { cgroups_v1::group(env, &id, controller) } else { cgroups_v2::group_of(env.pid(&id)?) }
}

fn all(env: &mut Env, v1: bool, rows: &[Row]) -> Outcome {
    let (major, minor) = disk()?;
    start(env, "plain", "", "")?.ok()?;
    for (index, (field, value, controller, file, content)) in rows.iter().enumerate() {
        let value = value.replace("DISK", &format!("\"major\": {major}, \"minor\": {minor}"));
        let content = content.replace("D ", &format!("{major}:{minor} "));
        // A hierarchy that is not mounted has no directory.
        let plain = directory(env, "plain", v1, controller).ok();
        let known = plain.is_some_and(|dir| dir.join(file).exists());
        let name = format!("r{index}");
        let output = start(env, &name, field, &value)?.output()?;
        if !known {
            ensure!(output.code() == 1, "{file} is not there, and {field} not refused: {output}");
            let path = format!("linux.resources.{field}");
            ensure!(output.stderr.contains(&path), "stderr lacks {path}: {output}");
            continue;
        }
        if output.code() == 0 {
            let text = fs::read_to_string(directory(env, &name, v1, controller)?.join(file))?;
            ensure!(text.contains(&content), "{file} has {text:?}, not {content:?}");
        } else {
            // There is no such device, or its scheduler knows no weights.
            let unsupported =
                *controller == "rdma" || output.stderr.contains("operation not supported");
            let named = output.stderr.contains(&format!("linux.resources.{field}"));
            let written = output.stderr.contains(&content);
            ensure!(unsupported && named && written, "{field} = {value}: {output}");
        }
    }
    Ok(())
}

fn left_out(env: &mut Env, rows: &[(&str, &str)]) -> Outcome {
    for (index, (field, value)) in rows.iter().enumerate() {
        let output = start(env, &format!("r{index}"), field, value)?.output()?;
        ensure_eq!(output.code(), 0, "{field} = {value}: {output}");
        let state: Value = env.state(&env.id(&format!("r{index}")))?;
        ensure_eq!(state["status"], json!("running"), "status");
    }
    Ok(())
}
