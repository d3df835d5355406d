//! `mounts`.

use super::{Bad, bad};

/// Field by field.
pub const ROWS: &[Bad] = &[
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
