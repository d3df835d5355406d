//! A kernel that lacks something: calls of the runtime under a filter that answers for it.

use crate::call::Call;
use crate::env::Env;

/// The call on a kernel whose answers to some system calls are error numbers: `NUMBER=ERRNO`, or for a
/// flag `NUMBER/ARGUMENT&MASK=ERRNO`, or for a command `NUMBER/ARGUMENT:VALUE=ERRNO`, with commas between.
pub fn without(env: &Env, call: Call, answers: &str) -> Call {
    let program = env.shared.probe.with_file_name("shim");
    call.under(&[&program.to_string_lossy(), answers])
}

/// The call on a kernel that has no file of this name, as it is given to open(2): under strace.
pub fn without_file(env: &Env, call: Call, name: &str) -> Call {
    let trace = env.dir.join("opened");
    let trace = trace.to_string_lossy();
    let inject = "inject=open,openat,openat2:error=ENOENT";
    call.under(&["strace", "-f", "-o", &trace, "-P", name, "-e", inject])
}

/// Whether the last such call asked for the file.
pub fn was_asked_for(env: &Env) -> bool {
    std::fs::read_to_string(env.dir.join("opened")).is_ok_and(|text| text.contains("(INJECTED)"))
}
