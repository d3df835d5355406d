//! `process.scheduler`, `ioPriority` and `execCPUAffinity`; `linux.personality` and `memoryPolicy`.

use super::{Bad, bad};

const OTHER: &[(&str, &str)] = &[("/process/scheduler/policy", "\"SCHED_OTHER\"")];
const FIFO: &[(&str, &str)] = &[("/process/scheduler/policy", "\"SCHED_FIFO\"")];
const DEADLINE: &[(&str, &str)] = &[(
    "/process/scheduler",
    r#"{"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 9000, "period": 10000}"#,
)];
const BEST_EFFORT: &[(&str, &str)] =
    &[("/process/ioPriority", r#"{"class": "IOPRIO_CLASS_BE", "priority": 4}"#)];
const BIND: &[(&str, &str)] = &[("/linux/memoryPolicy", r#"{"mode": "MPOL_BIND", "nodes": "0"}"#)];
const LINUX: &[(&str, &str)] = &[("/linux/personality/domain", "\"LINUX\"")];

/// Field by field.
pub const ROWS: &[Bad] = &[
    bad("/process/scheduler", "{}", &["missing"]).field("process.scheduler.policy"),
    bad("/process/scheduler/policy", "\"SCHED_DREAM\"", &["SCHED_DREAM"]),
    bad("/process/scheduler/nice", "20", &["20"]).with(OTHER),
    bad("/process/scheduler/nice", "\"low\"", &["low"]).with(OTHER),
    bad("/process/scheduler/priority", "1", &["SCHED_OTHER"]).with(OTHER),
    bad("/process/scheduler/priority", "100", &["100"]).with(FIFO),
    bad("/process/scheduler/flags/0", "\"FLAG_DREAM\"", &["FLAG_DREAM"]).with(OTHER),
    bad("/process/scheduler/runtime", "5", &["5"]).with(OTHER),
    bad("/process/scheduler/runtime", "9500", &["9500"]).with(DEADLINE),
    bad("/process/scheduler/deadline", "5", &["5"]).with(OTHER),
    bad("/process/scheduler/deadline", "-1", &["-1"]).with(DEADLINE),
    bad("/process/scheduler/period", "5", &["5"]).with(OTHER),
    bad("/process/scheduler/period", "\"x\"", &["x"]).with(DEADLINE),
    bad("/process/ioPriority", r#"{"priority": 1}"#, &["missing"])
        .field("process.ioPriority.class"),
    bad("/process/ioPriority/class", "\"IOPRIO_CLASS_DREAM\"", &["IOPRIO_CLASS_DREAM"])
        .with(BEST_EFFORT),
    bad("/process/ioPriority/priority", "8", &["8"]).with(BEST_EFFORT),
    bad("/process/ioPriority/priority", "-1", &["-1"]).with(BEST_EFFORT),
    bad("/process/execCPUAffinity/initial", "\"one\"", &["one"]),
    bad("/process/execCPUAffinity/initial", "7", &["7"]),
    bad("/process/execCPUAffinity/final", "\"7-3\"", &["7-3"]),
    bad("/linux/personality/domain", "\"SOLARIS\"", &["SOLARIS"]),
    bad("/linux/personality/flags/0", "\"ADDR_NO_RANDOMIZE\"", &["ADDR_NO_RANDOMIZE"])
        .with(LINUX)
        .field("linux.personality.flags"),
    bad("/linux/memoryPolicy/mode", "\"MPOL_DREAM\"", &["MPOL_DREAM"]).with(BIND),
    bad("/linux/memoryPolicy/nodes", "\"\"", &["MPOL_BIND"]).with(BIND),
    bad("/linux/memoryPolicy/nodes", "\"2-1\"", &["2-1"]).with(BIND),
    bad("/linux/memoryPolicy/nodes", "0", &["0"]).with(BIND),
    bad("/linux/memoryPolicy/flags/0", "\"MPOL_F_DREAM\"", &["MPOL_F_DREAM"]).with(BIND),
    bad(
        "/linux/memoryPolicy/flags",
        r#"["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]"#,
        &["MPOL_F_STATIC_NODES"],
    )
    .with(BIND),
];
