//! What is said of a kernel that lacks what the runtime needs, or has it turned off.

use std::fs;

/// How the kernel's answer to an unknown call reads, whoever words it.
const UNKNOWN_CALL: &str = "unction not implemented";
/// How it reads where there may be no more namespaces of a kind.
const NO_MORE: &str = "o space left on device";
/// The kinds, as sysctls name them: user.max_KIND_namespaces, of Linux 4.9.
const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The error's text; where a call was not there, with those that this kernel has not, and where a
/// namespace could not be made, with those that are turned off.
pub fn explained(text: String) -> String {
    let remark = if text.contains(UNKNOWN_CALL) {
        let calls = missing_calls();
        (!calls.is_empty())
            .then(|| format!("this kernel, or a filter, has no {}", calls.join(", no ")))
    } else if text.contains(NO_MORE) && (text.contains("clone3") || text.contains("namespace")) {
        let sysctls = turned_off();
        (!sysctls.is_empty()).then(|| sysctls.join(", "))
    } else {
        None
    };
    match remark {
        Some(remark) => format!("{text} ({remark})"),
        None => text,
    }
}

fn missing_calls() -> Vec<String> {
    let missing = sys::kernel::CALLS.iter().filter(|call| call.is_missing());
    missing.map(|call| format!("{} of Linux {}", call.name, call.since)).collect()
}

fn turned_off() -> Vec<String> {
    let sysctls = NAMESPACES.iter().map(|kind| format!("user/max_{kind}_namespaces"));
    let zero = |sysctl: &String| {
        fs::read_to_string(format!("/proc/sys/{sysctl}")).is_ok_and(|text| text.trim() == "0")
    };
    sysctls.filter(zero).map(|sysctl| format!("{} is 0", sysctl.replace('/', "."))).collect()
}
