//! `linux.seccomp`.

use super::{Bad, bad};

const ALLOW: &[(&str, &str)] = &[("/linux/seccomp/defaultAction", "\"SCMP_ACT_ALLOW\"")];
const RULE: &[(&str, &str)] = &[(
    "/linux/seccomp",
    r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO",
                      "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
)];
const NOTIFY: &[(&str, &str)] = &[(
    "/linux/seccomp",
    r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent",
        "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}]}"#,
)];
const LONG: &str = concat!(
    "\"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""
);

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/linux/seccomp", "{}", &["missing"]).field("linux.seccomp.defaultAction"),
    bad("/linux/seccomp/defaultAction", "\"SCMP_ACT_DREAM\"", &["SCMP_ACT_DREAM"]),
    bad("/linux/seccomp/defaultAction", "\"SCMP_ACT_NOTIFY\"", &["SCMP_ACT_NOTIFY"]),
    bad("/linux/seccomp/defaultErrnoRet", "1", &["1"]).with(ALLOW),
    bad("/linux/seccomp/defaultErrnoRet", "4096", &["4096"])
        .with(&[("/linux/seccomp/defaultAction", "\"SCMP_ACT_ERRNO\"")]),
    bad("/linux/seccomp/defaultErrnoRet", "65536", &["65536"])
        .with(&[("/linux/seccomp/defaultAction", "\"SCMP_ACT_TRACE\"")]),
    bad("/linux/seccomp/architectures/0", "\"SCMP_ARCH_DREAM\"", &["SCMP_ARCH_DREAM"]).with(ALLOW),
    bad("/linux/seccomp/architectures/0", "\"SCMP_ARCH_PARISC\"", &["SCMP_ARCH_PARISC"])
        .with(ALLOW),
    bad("/linux/seccomp/architectures/0", "\"SCMP_ARCH_S390X\"", &["SCMP_ARCH_S390X"]).with(ALLOW),
    bad("/linux/seccomp/flags/0", "\"SECCOMP_FILTER_FLAG_DREAM\"", &["SECCOMP_FILTER_FLAG_DREAM"])
        .with(ALLOW),
    bad("/linux/seccomp/listenerPath", "7", &["7"]).with(NOTIFY),
    bad("/linux/seccomp/listenerPath", "null", &["missing"]).with(NOTIFY),
    bad("/linux/seccomp/listenerPath", "\"/a\\u0000b\"", &["NUL"]).with(NOTIFY),
    bad("/linux/seccomp/listenerPath", LONG, &["aaaa", "name too long"]).with(NOTIFY),
    bad("/linux/seccomp/listenerMetadata", "7", &["7"]).with(ALLOW),
    bad("/linux/seccomp/listenerMetadata", "\"of nobody\"", &["of nobody"]).with(ALLOW),
    bad("/linux/seccomp/syscalls/0/names", "[\"getpid\", \"\"]", &["empty string"])
        .with(RULE)
        .field("linux.seccomp.syscalls[0].names[1]"),
    bad("/linux/seccomp/syscalls/0/names", "\"getpid\"", &["getpid"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/action", "\"SCMP_ACT_DREAM\"", &["SCMP_ACT_DREAM"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/names", "[]", &["empty"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/errnoRet", "4096", &["4096"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/errnoRet", "70000", &["70000"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/errnoRet", "-1", &["-1"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/args/0/index", "6", &["6"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/args/0/value", "-1", &["-1"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/args/0/valueTwo", "\"x\"", &["x"]).with(RULE),
    bad("/linux/seccomp/syscalls/0/args/0/op", "\"SCMP_CMP_DREAM\"", &["SCMP_CMP_DREAM"])
        .with(RULE),
    bad(
        "/linux/seccomp/syscalls/1",
        r#"{"names": ["getpid"], "action": "SCMP_ACT_KILL",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}"#,
        &["conflicts"],
    )
    .with(RULE),
];
