//! The version, the root, names, annotations, hooks.

use super::{Bad, bad};

const LONG: &str = concat!(
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""
);

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/ociVersion", "\"2.0.0\"", &["2.0.0"]),
    bad("/ociVersion", "\"one\"", &["one"]),
    bad("/ociVersion", "1", &["1"]),
    bad("/ociVersion", "null", &["ociVersion"]),
    bad("/root", "null", &["missing"]),
    bad("/root", "\"rootfs\"", &["rootfs"]),
    bad("/root/path", "\"\"", &["empty"]),
    bad("/root/path", "\"no-such-root\"", &["no-such-root", "no such file or directory"]),
    bad("/root/path", "\"config.json\"", &["config.json", "not a directory"]),
    bad("/root/path", "7", &["7"]),
    bad("/root/readonly", "\"yes\"", &["yes"]),
    bad("/mounts", "{}", &["map"]),
    bad("/process", "null", &["missing"]),
    bad("/linux", "null", &["missing"]),
    bad("/hostname", "\"box\"", &["UTS"])
        .with(&[("/linux/namespaces", r#"[{"type": "mount"}, {"type": "pid"}]"#)]),
    bad("/hostname", LONG, &["aaaa"]),
    bad("/hostname", "7", &["7"]),
    bad("/hostname", "\"a\\u0000b\"", &["NUL"]),
    bad("/domainname", "\"a\\u0000b\"", &["NUL"]),
    bad("/root/path", "\"a\\u0000b\"", &["NUL"]),
    bad("/domainname", LONG, &["aaaa"]),
    bad("/domainname", "7", &["7"]),
    bad("/domainname", "\"box\"", &["UTS"]).with(&[
        ("/linux/namespaces", r#"[{"type": "mount"}, {"type": "pid"}]"#),
        ("/hostname", "null"),
    ]),
    bad("/annotations", r#"{"": "x"}"#, &["empty"]).field("annotations"),
    bad("/annotations", r#"{"key": 1}"#, &["1"]).field("annotations.key"),
];
