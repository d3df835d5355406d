//! `linux.resources`, but for the devices.

use super::{Bad, bad};

macro_rules! throttle {
    ($kind:literal) => {
        [
            bad(concat!("/linux/resources/blockIO/", $kind, "/0/major"), "\"x\"", &["x"])
                .with(&[(concat!("/linux/resources/blockIO/", $kind, "/0"), DISK)]),
            bad(concat!("/linux/resources/blockIO/", $kind, "/0/minor"), "-1.5", &["-1.5"])
                .with(&[(concat!("/linux/resources/blockIO/", $kind, "/0"), DISK)]),
            bad(concat!("/linux/resources/blockIO/", $kind, "/0/rate"), "-1", &["-1"])
                .with(&[(concat!("/linux/resources/blockIO/", $kind, "/0"), DISK)]),
            bad(
                concat!("/linux/resources/blockIO/", $kind, "/0/rate"),
                "18446744073709551616",
                &["1.8446744073709552e+19"],
            )
            .with(&[(concat!("/linux/resources/blockIO/", $kind, "/0"), DISK)]),
            bad(
                concat!("/linux/resources/blockIO/", $kind, "/0/major"),
                "9223372036854775808",
                &["9223372036854775808"],
            )
            .with(&[(concat!("/linux/resources/blockIO/", $kind, "/0"), DISK)]),
            bad(
                concat!("/linux/resources/blockIO/", $kind, "/0/minor"),
                "9223372036854775808",
                &["9223372036854775808"],
            )
            .with(&[(concat!("/linux/resources/blockIO/", $kind, "/0"), DISK)]),
        ]
    };
}

const DISK: &str = r#"{"major": 8, "minor": 0, "rate": 1}"#;
const WEIGHED: &[(&str, &str)] = &[(
    "/linux/resources/blockIO/weightDevice/0",
    r#"{"major": 8, "minor": 0, "weight": 100, "leafWeight": 100}"#,
)];

/// A disk that is not there.
const ABSENT: &str = r#"{"major": 99, "minor": 9, "rate": 1}"#;
const UNWEIGHED: &str = r#"{"major": 99, "minor": 9, "weight": 100}"#;

/// Disks, on either version.
pub const THROTTLES: &[Bad] = [
    throttle!("throttleReadBpsDevice"),
    throttle!("throttleWriteBpsDevice"),
    throttle!("throttleReadIOPSDevice"),
    throttle!("throttleWriteIOPSDevice"),
]
.as_flattened();

/// On either version, without a controller being asked.
pub const ROWS: &[Bad] = &[
    bad("/linux/resources/memory/limit", "\"1G\"", &["1G"]),
    bad("/linux/resources/memory/reservation", "\"1G\"", &["1G"]),
    bad("/linux/resources/memory/swap", "\"1G\"", &["1G"]),
    bad("/linux/resources/memory/kernel", "\"1G\"", &["1G"]),
    bad("/linux/resources/memory/kernelTCP", "\"1G\"", &["1G"]),
    bad("/linux/resources/memory/swappiness", "-5", &["-5"]),
    bad("/linux/resources/memory/disableOOMKiller", "1", &["1"]),
    bad("/linux/resources/memory/useHierarchy", "1", &["1"]),
    bad("/linux/resources/memory/checkBeforeUpdate", "1", &["1"]),
    bad("/linux/resources/cpu/shares", "-1", &["-1"]),
    bad("/linux/resources/cpu/quota", "\"half\"", &["half"]),
    bad("/linux/resources/cpu/burst", "-1", &["-1"]),
    bad("/linux/resources/cpu/period", "-1", &["-1"]),
    bad("/linux/resources/cpu/realtimeRuntime", "\"x\"", &["x"]),
    bad("/linux/resources/cpu/realtimePeriod", "-1", &["-1"]),
    bad("/linux/resources/cpu/cpus", "7", &["7"]),
    bad("/linux/resources/cpu/mems", "7", &["7"]),
    bad("/linux/resources/cpu/idle", "\"x\"", &["x"]),
    bad("/linux/resources/pids/limit", "\"x\"", &["x"]),
    bad("/linux/resources/blockIO/weight", "65536", &["65536"]),
    bad("/linux/resources/blockIO/leafWeight", "-1", &["-1"]),
    bad("/linux/resources/blockIO/weightDevice/0/major", "\"x\"", &["x"]).with(WEIGHED),
    bad("/linux/resources/blockIO/weightDevice/0/minor", "\"x\"", &["x"]).with(WEIGHED),
    bad("/linux/resources/blockIO/weightDevice/0/weight", "65536", &["65536"]).with(WEIGHED),
    bad("/linux/resources/blockIO/weightDevice/0/leafWeight", "-1", &["-1"]).with(WEIGHED),
    bad("/linux/resources/hugepageLimits/0", r#"{"pageSize": "2 MB", "limit": 1}"#, &["2 MB"])
        .field("linux.resources.hugepageLimits[0].pageSize"),
    bad("/linux/resources/hugepageLimits/0", r#"{"pageSize": "2MB", "limit": "x"}"#, &["x"])
        .field("linux.resources.hugepageLimits[0].limit"),
    bad("/linux/resources/network/classID", "-1", &["-1"]),
    bad("/linux/resources/network/priorities/0", r#"{"name": 3, "priority": 1}"#, &["3"])
        .field("linux.resources.network.priorities[0].name"),
    bad("/linux/resources/network/priorities/0", r#"{"name": "lo", "priority": "x"}"#, &["x"])
        .field("linux.resources.network.priorities[0].priority"),
    bad("/linux/resources/rdma/mlx5_0/hcaHandles", "-1", &["-1"]),
    bad("/linux/resources/rdma/mlx5_0/hcaObjects", "-1", &["-1"]),
    bad("/linux/resources/rdma/mlx5_0/hcaHandles", "4294967296", &["4294967296"]),
    bad("/linux/resources/rdma/mlx5_0/hcaObjects", "4294967296", &["4294967296"]),
    bad("/linux/resources/network/classID", "4294967296", &["4294967296"]),
    bad(
        "/linux/resources/network/priorities/0",
        r#"{"name": "lo", "priority": 4294967296}"#,
        &["4294967296"],
    )
    .field("linux.resources.network.priorities[0].priority"),
    bad("/linux/resources/memory/kernel", "9223372036854775808", &["9223372036854775808"]),
    bad("/linux/resources/memory/kernelTCP", "9223372036854775808", &["9223372036854775808"]),
    bad("/linux/resources/unified/memory.high", "7", &["7"]),
    bad("/linux/resources/rdma/two words/hcaObjects", "1", &["two words"])
        .field("linux.resources.rdma[two words]"),
    bad("/linux/resources/cpu/cpus", "\"0\\u0000\"", &["0"]),
];

/// Values that v1's kernel or rules refuse.
pub const V1: &[Bad] = &[
    bad(
        "/linux/resources/network/priorities/0",
        r#"{"name": "two words", "priority": 1}"#,
        &["two words"],
    )
    .field("linux.resources.network.priorities[0].name"),
    bad("/linux/resources/unified/memory.high", "\"7\"", &["cgroup v1"])
        .field("linux.resources.unified"),
    bad("/linux/resources/memory/swappiness", "101", &["101"]),
    bad("/linux/resources/memory/limit", "-7", &["-7"]),
    bad("/linux/resources/memory/reservation", "-7", &["-7"]),
    bad("/linux/resources/cpu/shares", "1", &["1"]),
    bad("/linux/resources/cpu/shares", "262145", &["262145"]),
    bad("/linux/resources/cpu/quota", "5", &["5"]),
    bad("/linux/resources/cpu/period", "5", &["5"]),
    bad("/linux/resources/cpu/cpus", "\"9999\"", &["9999"]),
    bad("/linux/resources/cpu/cpus", "\"one\"", &["one"]),
    bad("/linux/resources/cpu/mems", "\"9999\"", &["9999"]),
    bad("/linux/resources/cpu/burst", "2001", &["2001", "quota"])
        .with(&[("/linux/resources/cpu/quota", "2000")]),
    bad("/linux/resources/pids/limit", "9223372036854775807", &["9223372036854775807"]),
    bad("/linux/resources/pids/limit", "4194305", &["4194305"]),
    bad("/linux/resources/memory/swap", "5", &["5", "memory limit"])
        .with(&[("/linux/resources/memory/limit", "50000000")]),
    bad("/linux/resources/memory/swap", "5", &["5", "memory limit"]),
    bad("/linux/resources/blockIO/leafWeight", "100", &["100", "no such file"]),
    bad("/linux/resources/blockIO/throttleReadBpsDevice/0", ABSENT, &["99:9", "no such device"])
        .field("linux.resources.blockIO.throttleReadBpsDevice"),
    bad("/linux/resources/blockIO/throttleWriteIOPSDevice/0", ABSENT, &["99:9", "no such device"])
        .field("linux.resources.blockIO.throttleWriteIOPSDevice"),
    bad("/linux/resources/blockIO/weightDevice/0", UNWEIGHED, &["99:9"])
        .field("linux.resources.blockIO.weightDevice"),
];

/// Values that v2's kernel or rules refuse.
pub const V2: &[Bad] = &[
    bad("/linux/resources/unified/memory.dream", "\"7\"", &["memory.dream"]),
    bad("/linux/resources/unified/memory.high", "\"much\"", &["much"]),
    bad("/linux/resources/unified/high", "\"7\"", &["high"]).field("linux.resources.unified[high]"),
    bad("/linux/resources/memory/swap", "7", &["7"]),
    bad("/linux/resources/memory/limit", "-7", &["-7"]),
    bad("/linux/resources/memory/reservation", "-7", &["-7"]),
    bad("/linux/resources/cpu/period", "5", &["5"]),
    bad("/linux/resources/cpu/quota", "5", &["5"]),
    bad("/linux/resources/cpu/idle", "7", &["7"]),
    bad("/linux/resources/cpu/cpus", "\"9999\"", &["9999"]),
    bad("/linux/resources/cpu/cpus", "\"one\"", &["one"]),
    bad("/linux/resources/cpu/mems", "\"9999\"", &["9999"]),
    bad("/linux/resources/blockIO/weight", "5", &["5"]),
    bad("/linux/resources/cpu/burst", "2001", &["2001", "quota"])
        .with(&[("/linux/resources/cpu/quota", "2000")]),
    bad("/linux/resources/pids/limit", "9223372036854775807", &["9223372036854775807"]),
    bad("/linux/resources/blockIO/throttleReadBpsDevice/0", ABSENT, &["99:9", "no such device"])
        .field("linux.resources.blockIO.throttleReadBpsDevice"),
    bad("/linux/resources/blockIO/weightDevice/0", UNWEIGHED, &["99:9"])
        .field("linux.resources.blockIO.weightDevice"),
];
