//! A kernel that lacks something: calls of the runtime under a filter that answers for it.

use crate::call::Call;
use crate::env::Env;

/// The call on a kernel whose answers to some system calls are error numbers: `NUMBER=ERRNO`, or for a
/// flag `NUMBER/ARGUMENT&MASK=ERRNO`, with commas between them.
pub fn without(env: &Env, call: Call, answers: &str) -> Call {
    let program = env.shared.probe.with_file_name("shim");
    call.under(&[&program.to_string_lossy(), answers])
}
