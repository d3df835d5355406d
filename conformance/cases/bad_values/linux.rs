//! `linux`, but for its devices, resources and seccomp.

use super::{Bad, bad};

const USER: (&str, &str) = (
    "/linux/namespaces",
    r#"[{"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]"#,
);
const MAP: &str = r#"[{"containerID": 0, "hostID": 100000, "size": 1000}]"#;

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/linux/namespaces/5/type", "\"dream\"", &["dream"]),
    bad("/linux/namespaces/5", r#"{"type": "pid"}"#, &["pid"]).field("linux.namespaces[5].type"),
    bad(
        "/linux/namespaces/5",
        r#"{"type": "user", "path": "/no/such/ns"}"#,
        &["/no/such/ns", "no such file or directory"],
    )
    .field("linux.namespaces[5].path"),
    bad(
        "/linux/namespaces/5",
        r#"{"type": "user", "path": "/etc/passwd"}"#,
        &["/etc/passwd"],
    )
    .field("linux.namespaces[5].path"),
    bad("/linux/namespaces/5", r#"{"type": "user", "path": 3}"#, &["3"])
        .field("linux.namespaces[5].path"),
    bad("/linux/namespaces", r#"[{"type": "pid"}]"#, &["mount namespace"]).with(&[("/hostname", "null")]),
    bad("/linux/uidMappings", MAP, &["user namespace"]),
    bad("/linux/gidMappings", MAP, &["user namespace"]),
    bad("/linux/uidMappings", "null", &["missing"]).with(&[USER, ("/linux/gidMappings", MAP)]),
    bad("/linux/gidMappings", "[]", &["missing"]).with(&[USER, ("/linux/uidMappings", MAP)]),
    bad("/linux/uidMappings", r#"[{"containerID": 5, "hostID": 100000, "size": 10}]"#, &["id 0"])
        .with(&[USER, ("/linux/gidMappings", MAP)]),
    bad("/linux/gidMappings/0/hostID", "-3", &["-3"]).with(&[USER, ("/linux/uidMappings", MAP)]),
    bad("/linux/uidMappings/0/containerID", "\"root\"", &["root"])
        .with(&[USER, ("/linux/gidMappings", MAP)]),
    bad("/linux/uidMappings/0/hostID", "4294967296", &["4294967296"])
        .with(&[USER, ("/linux/gidMappings", MAP)]),
    bad("/linux/gidMappings/0/containerID", "-3", &["-3"])
        .with(&[USER, ("/linux/uidMappings", MAP)]),
    bad("/linux/gidMappings/0/size", "\"all\"", &["all"])
        .with(&[USER, ("/linux/uidMappings", MAP)]),
    bad("/linux/uidMappings/0/size", "4294967296", &["4294967296"])
        .with(&[USER, ("/linux/gidMappings", MAP)]),
    bad("/linux/uidMappings/0", r#"{"containerID": 0, "hostID": 1, "size": 0}"#, &["0"])
        .with(&[USER, ("/linux/gidMappings", MAP)])
        .field("linux.uidMappings"),
    bad(
        "/linux/uidMappings",
        r#"[{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 5, "hostID": 200000, "size": 10}]"#,
        &["5"],
    )
    .with(&[USER, ("/linux/gidMappings", MAP)])
    .field("linux.uidMappings[1]"),
    bad(
        "/linux/gidMappings",
        r#"[{"containerID": 0, "hostID": 4294967290, "size": 10}]"#,
        &["4294967290"],
    )
    .with(&[USER, ("/linux/uidMappings", MAP)])
    .field("linux.gidMappings[0]"),
    bad("/linux/timeOffsets/monotonic/secs", "5", &["time namespace"])
        .field("linux.timeOffsets.monotonic"),
    bad("/linux/timeOffsets/dreamtime/secs", "5", &["dreamtime"])
        .with(&[("/linux/namespaces/5", r#"{"type": "time"}"#)])
        .field("linux.timeOffsets.dreamtime"),
    bad("/linux/timeOffsets/boottime/secs", "\"x\"", &["x"]),
    bad("/linux/timeOffsets/boottime/nanosecs", "1000000000", &["1000000000"])
        .with(&[("/linux/namespaces/5", r#"{"type": "time"}"#)]),
    bad("/linux/sysctl/kernel.panic", "\"1\"", &["namespace"]),
    bad("/linux/sysctl/net.core.no_such_thing", "\"1\"", &["net/core/no_such_thing"])
        .field("linux.sysctl[net.core.no_such_thing]"),
    bad("/linux/sysctl/net.ipv4.ip_forward", "\"maybe\"", &["maybe"]),
    bad("/linux/sysctl/net..x", "\"1\"", &["sysctl"]),
    bad("/linux/sysctl/net.ipv4.ip_forward", "1", &["1"]),
    bad("/linux/cgroupsPath", "7", &["7"]),
    bad("/linux/cgroupsPath", "\"/\"", &["/: not a cgroup"]),
    bad("/linux/rootfsPropagation", "\"sideways\"", &["sideways"]),
    bad("/linux/maskedPaths/0", "\"proc/x\"", &["proc/x"]),
    bad("/linux/maskedPaths/0", "7", &["7"]),
    bad("/linux/readonlyPaths/0", "\"proc/x\"", &["proc/x"]),
    bad("/linux/readonlyPaths/0", "false", &["false"]),
    bad("/linux/mountLabel", "7", &["7"]),
    bad("/linux/mountLabel", "\"a\\u0000b\"", &["NUL"]),
    bad("/linux/cgroupsPath", "\"/a\\u0000b\"", &["NUL"]),
    bad("/linux/maskedPaths/0", "\"/a\\u0000b\"", &["NUL"]),
    bad("/linux/readonlyPaths/0", "\"/a\\u0000b\"", &["NUL"]),
    bad("/linux/namespaces/5", r#"{"type": "user", "path": "/a\u0000b"}"#, &["open /a"])
        .field("linux.namespaces[5].path"),
    bad("/linux/sysctl/net.ipv4.ip_forward", "\"1\\u0000\"", &["=1"]),
    bad("/linux/intelRdt/closID", "\"a\\u0000b\"", &["can't be the name"]),
    bad("/linux/netDevices", "[\"h0\"]", &["sequence"]),
    bad("/linux/netDevices/h0/name", "7", &["7"]),
    bad("/linux/netDevices/h0/name", "\"a/b\"", &["a/b"]).field("linux.netDevices[h0].name"),
    bad("/linux/netDevices/h0/name", "\"1234567890123456\"", &["1234567890123456"])
        .field("linux.netDevices[h0].name"),
    bad("/linux/netDevices/a:b/name", "\"eth0\"", &["a:b"]).field("linux.netDevices[a:b]"),
    bad("/linux/netDevices/nosuch0/name", "\"eth0\"", &["no such device"])
        .field("linux.netDevices[nosuch0]"),
    bad("/linux/netDevices/lo/name", "\"lo\"", &["lo", "already"])
        .field("linux.netDevices[lo].name"),
    bad("/linux/netDevices/h0", "{}", &["network"])
        .with(&[("/linux/namespaces", r#"[{"type": "mount"}, {"type": "pid"}, {"type": "uts"}]"#)])
        .field("linux.netDevices"),
    bad("/linux/intelRdt/closID", "\"a/b\"", &["a/b"]),
    bad("/linux/intelRdt/closID", "7", &["7"]),
    bad("/linux/intelRdt/l3CacheSchema", "\"L3\"", &["L3"]),
    bad("/linux/intelRdt/memBwSchema", "\"MB:0\"", &["MB:0"]),
    bad("/linux/intelRdt/schemata", "\"L3:0=f\"", &["L3:0=f"]),
    bad("/linux/intelRdt/enableMonitoring", "\"yes\"", &["yes"]),
    bad("/linux/intelRdt/enableCMT", "\"yes\"", &["yes"]),
    bad("/linux/intelRdt/enableMBM", "1", &["1"]),
];
