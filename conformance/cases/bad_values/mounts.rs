//! `mounts`.

use super::{Bad, bad};

const MAPPED: &[(&str, &str)] = &[(
    "/mounts/7",
    r#"{"destination": "/x", "source": "/etc", "options": ["bind"],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}]}"#,
)];

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/mounts/7/uidMappings/0/containerID", "\"root\"", &["root"]).with(MAPPED),
    bad("/mounts/7/uidMappings/0/hostID", "-3", &["-3"]).with(MAPPED),
    bad("/mounts/7/uidMappings/0/hostID", "4294967295", &["4294967295"])
        .with(MAPPED)
        .field("mounts[7].uidMappings[0]"),
    bad("/mounts/7/uidMappings/0/size", "0", &["0"]).with(MAPPED),
    bad("/mounts/7/uidMappings", "[]", &["missing"]).with(MAPPED),
    bad("/mounts/7/gidMappings/0/containerID", "4294967296", &["4294967296"]).with(MAPPED),
    bad("/mounts/7/gidMappings/0/hostID", "\"wheel\"", &["wheel"]).with(MAPPED),
    bad("/mounts/7/gidMappings/0/size", "-1", &["-1"]).with(MAPPED),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=1\u0000"]}"#,
        &["NUL"],
    )
    .field("mounts[7].options"),
    bad("/mounts/0", r#"{"type": "proc", "source": "proc"}"#, &["missing"])
        .field("mounts[0].destination"),
    bad("/mounts/0", r#"{"destination": ["/x"]}"#, &["sequence"]).field("mounts[0].destination"),
    bad("/mounts/0/destination", "\"/proc/self\"", &["/proc/self"]),
    bad("/mounts/0/destination", "\"/a\\u0000b\"", &["NUL"]),
    bad(
        "/mounts/8",
        r#"{"destination": "/mnt/made", "type": "tmpfs", "source": "tmpfs"}"#,
        &["/mnt/made", "read-only file system"],
    )
    .with(&[(
        "/mounts/7",
        r#"{"destination": "/mnt", "source": "/etc", "options": ["rbind", "ro"]}"#,
    )])
    .field("mounts[8].destination"),
    bad("/mounts/0/type", "\"dreamfs\"", &["dreamfs"]).field("mounts[0]"),
    bad("/mounts/0/type", "null", &["missing"]),
    bad("/mounts/0/type", "7", &["7"]),
    bad("/mounts/0/type", "\"a\\u0000b\"", &["NUL"]),
    bad("/mounts/7", r#"{"destination": "/x", "type": "bind"}"#, &["missing"])
        .field("mounts[7].source"),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "source": "/no/such/source", "options": ["bind"]}"#,
        &["/no/such/source", "no such file or directory"],
    )
    .field("mounts[7]"),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "source": "a\u0000b", "options": ["bind"]}"#,
        &["NUL"],
    )
    .field("mounts[7].source"),
    bad("/mounts/7", r#"{"destination": "/x", "type": "tmpfs", "source": 4}"#, &["4"])
        .field("mounts[7].source"),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["dream=1"]}"#,
        &["dream"],
    )
    .field("mounts[7]"),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=much"]}"#,
        &["size"],
    )
    .field("mounts[7]"),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": "ro"}"#,
        &["ro"],
    )
    .field("mounts[7].options"),
    bad(
        "/mounts/7",
        r#"{"destination": "/x", "type": "proc", "source": "proc", "options": ["tmpcopyup"]}"#,
        &["tmpcopyup"],
    )
    .field("mounts[7].options"),
];
