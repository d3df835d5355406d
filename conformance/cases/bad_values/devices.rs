//! `linux.devices` and the rules of the devices' cgroup.

use super::{Bad, bad};

const TYPED: &[(&str, &str)] =
    &[("/linux/devices/0", r#"{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}"#)];
const BLOCK: &[(&str, &str)] =
    &[("/linux/devices/0", r#"{"path": "/dev/x", "type": "b", "major": 8, "minor": 1}"#)];
const UNBUFFERED: &[(&str, &str)] =
    &[("/linux/devices/0", r#"{"path": "/dev/x", "type": "u", "major": 1, "minor": 3}"#)];
const RULE: &[(&str, &str)] = &[(
    "/linux/resources/devices/0",
    r#"{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}"#,
)];

/// Rules that v1's controller can't express.
pub const V1: &[Bad] = &[bad(
    "/linux/resources/devices/1",
    r#"{"allow": false, "type": "c", "major": 10, "minor": 200, "access": "w"}"#,
    &["c 10:200 w", "wider rule"],
)
.with(&[(
    "/linux/resources/devices/0",
    r#"{"allow": true, "type": "c", "major": 10, "access": "rw"}"#,
)])
.field("linux.resources.devices")];

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/linux/devices/0/path", "\"dev/x\"", &["dev/x"]).with(TYPED),
    bad("/linux/devices/0/path", "\"/dev/a\\u0000b\"", &["NUL"]).with(TYPED),
    bad("/linux/devices/0/type", "\"q\"", &["q"]).with(TYPED),
    bad("/linux/devices/0/type", "\"a\"", &["a"]).with(TYPED),
    bad("/linux/devices/0/major", "-3", &["-3"]).with(TYPED),
    bad("/linux/devices/0/minor", "-3", &["-3"]).with(TYPED),
    bad("/linux/devices/0/major", "4294967296", &["4294967296"]).with(TYPED),
    bad("/linux/devices/0/minor", "4294967296", &["4294967296"]).with(TYPED),
    bad("/linux/devices/0/fileMode", "\"0666\"", &["0666"]).with(TYPED),
    // A type that is the node's own is good: devices/*.
    bad("/linux/devices/0/fileMode", "262582", &["262582"]).with(TYPED),
    bad("/linux/devices/0/fileMode", "25014", &["25014"]).with(TYPED),
    bad("/linux/devices/0/fileMode", "8630", &["8630"]).with(BLOCK),
    bad("/linux/devices/0/fileMode", "4294967296", &["4294967296"]).with(TYPED),
    bad("/linux/devices/0/major", "null", &["missing"]).with(TYPED),
    bad("/linux/devices/0/minor", "null", &["missing"]).with(TYPED),
    bad("/linux/devices/0/major", "null", &["missing"]).with(BLOCK),
    bad("/linux/devices/0/minor", "null", &["missing"]).with(BLOCK),
    bad("/linux/devices/0/major", "null", &["missing"]).with(UNBUFFERED),
    bad("/linux/devices/0/minor", "null", &["missing"]).with(UNBUFFERED),
    bad("/linux/devices/0/uid", "-1", &["-1"]).with(TYPED),
    bad("/linux/devices/0/uid", "4294967295", &["4294967295"]).with(TYPED),
    bad("/linux/devices/0/gid", "\"root\"", &["root"]).with(TYPED),
    bad("/linux/devices/0/gid", "4294967295", &["4294967295"]).with(TYPED),
    bad("/linux/resources/devices/0/allow", "1", &["1"]).with(RULE),
    bad("/linux/resources/devices/0/type", "\"q\"", &["q"]).with(RULE),
    bad("/linux/resources/devices/0/type", "\"p\"", &["p"]).with(RULE),
    bad("/linux/resources/devices/0/major", "-2", &["-2"]).with(RULE),
    bad("/linux/resources/devices/0/minor", "4294967296", &["4294967296"]).with(RULE),
    bad("/linux/resources/devices/0/access", "\"rx\"", &["rx"]).with(RULE),
    bad("/linux/resources/devices/0/access", "\"\"", &["\"\""]).with(RULE),
];
