//! `process`.

use super::{Bad, bad};

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/process/terminal", "\"yes\"", &["yes"]),
    bad("/process/consoleSize", r#"{"height": -1, "width": 80}"#, &["-1"])
        .field("process.consoleSize.height"),
    bad("/process/consoleSize", r#"{"height": 25, "width": "wide"}"#, &["wide"])
        .field("process.consoleSize.width"),
    bad("/process/user", "null", &["missing"]),
    bad("/process/user/uid", "4294967295", &["4294967295"]),
    bad("/process/user/uid", "4294967296", &["4294967296"]),
    bad("/process/user/uid", "-1", &["-1"]),
    bad("/process/user/gid", "4294967295", &["4294967295"]),
    bad("/process/user/gid", "\"root\"", &["root"]),
    bad("/process/user/username", "7", &["7"]),
    bad("/process/commandLine", "7", &["7"]),
    bad("/process/user/umask", "\"022\"", &["022"]),
    bad("/process/user/additionalGids", "[7, 4294967295]", &["4294967295"]),
    bad("/process/user/additionalGids/0", "\"wheel\"", &["wheel"]),
    bad("/process/args", "[]", &["empty"]),
    bad("/process/args", "null", &["empty"]),
    bad("/process/args/0", "\"a\\u0000b\"", &["NUL"]),
    bad("/process/args/0", "3", &["3"]),
    bad("/process/args/0", "\"no-such-program\"", &["no-such-program"]).field("exec:"),
    bad("/process/env/0", "\"A=\\u0000\"", &["NUL"]),
    bad("/process/env/0", "true", &["true"]),
    bad("/process/env/1", "\"NOEQ\"", &["\"NOEQ\"", "'='"]),
    bad("/process/env/1", "\"=value\"", &["=value", "name"]),
    bad("/process/cwd", "\"relative\"", &["relative"]),
    bad("/process/cwd", "\"\"", &["\"\""]),
    bad("/process/cwd", "\"/\\u0000\"", &["NUL"]),
    bad("/process/cwd", "null", &["missing"]),
    bad("/process/capabilities/bounding/0", "7", &["7"]),
    bad("/process/capabilities/effective/0", "7", &["7"]),
    bad("/process/capabilities/inheritable/0", "7", &["7"]),
    bad("/process/capabilities/permitted/0", "7", &["7"]),
    bad("/process/capabilities/ambient/0", "7", &["7"]),
    bad("/process/rlimits/0/type", "\"RLIMIT_DREAM\"", &["RLIMIT_DREAM"]),
    bad(
        "/process/rlimits",
        r#"[{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]"#,
        &["RLIMIT_CPU"],
    )
    .field("process.rlimits[1].type"),
    bad("/process/rlimits/0", r#"{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}"#, &["RLIMIT_NOFILE", "9"])
        .field("process.rlimits[0].soft"),
    bad("/process/rlimits/0/soft", "-1", &["-1"]),
    bad("/process/rlimits/0/hard", "\"unlimited\"", &["unlimited"]),
    bad("/process/noNewPrivileges", "1", &["1"]),
    bad("/process/apparmorProfile", "\"no-such-profile\"", &["no-such-profile"]),
    bad("/process/selinuxLabel", "\"no:such:label\"", &["no:such:label"]),
    bad("/process/apparmorProfile", "\"a\\u0000b\"", &["a"]),
    bad("/process/apparmorProfile", "7", &["7"]),
    bad("/process/selinuxLabel", "\"a\\u0000b\"", &["a"]),
    bad("/process/selinuxLabel", "7", &["7"]),
    bad("/process/oomScoreAdj", "1001", &["1001"]),
    bad("/process/oomScoreAdj", "-1001", &["-1001"]),
    bad("/process/oomScoreAdj", "\"high\"", &["high"]),
];
