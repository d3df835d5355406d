//! A command under strace: what it asks the kernel for, where the effect is not to be seen.

use std::fs;

use crate::call::Call;
use crate::case::{Failure, Need};
use crate::env::Env;

/// What the cases need.
pub const STRACE: &[Need] = &[Need::Command("strace")];

/// The calls that `call` and its children make, a line each; it must succeed. `words` are strace's.
pub fn trace(env: &Env, call: Call, words: &[&str]) -> Result<String, Failure> {
    let file = env.dir.join("trace");
    let name = file.to_string_lossy().into_owned();
    call.under(&[&["strace", "-f", "-o", &name], words].concat()).ok()?;
    Ok(fs::read_to_string(file)?)
}

/// The lines of a trace that are calls of this name, from the name on.
pub fn calls<'a>(trace: &'a str, name: &str) -> Vec<&'a str> {
    let own = |line: &'a str| line.split_once(' ').map(|(_, call)| call.trim_start());
    let is_one = |call: &&str| call.strip_prefix(name).is_some_and(|rest| rest.starts_with('('));
    trace.lines().filter_map(own).filter(is_one).collect()
}
