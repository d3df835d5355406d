//! What is said of a kernel that lacks what the runtime needs.

/// How the kernel's answer to an unknown call reads, whoever words it.
const UNKNOWN_CALL: &str = "unction not implemented";

/// The error's text; where a call was not there, with those that this kernel has not.
pub fn explained(text: String) -> String {
    if !text.contains(UNKNOWN_CALL) {
        return text;
    }
    let missing = sys::kernel::CALLS.iter().filter(|call| call.is_missing());
    let missing: Vec<String> =
        missing.map(|call| format!("{} of Linux {}", call.name, call.since)).collect();
    if missing.is_empty() {
        return text;
    }
    format!("{text} (this kernel, or a filter, has no {})", missing.join(", no "))
}
