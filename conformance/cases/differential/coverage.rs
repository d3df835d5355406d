//! Which flags of runc's were called, and how that ended.

use std::collections::BTreeMap;

use super::printed;
use super::side::Side;
use crate::case::Failure;

/// Which flags succeed, or fail, in other cases alone.
const ELSEWHERE: &[(&str, &str)] = &[
    ("console-socket", "terminal/ has somebody at the other end of the socket"),
    ("tty", "terminal/ has a terminal"),
    ("l3-cache-schema", "intel-rdt/update, where there is resctrl"),
    ("mem-bw-schema", "intel-rdt/update, where there is resctrl"),
    ("cpu-rt-period", "update/real-time, where the kernel has groups of it"),
    ("cpu-rt-runtime", "update/real-time, where the kernel has groups of it"),
    ("lazy-pages", "criu's matter"),
];

/// Commands that need criu, which works in the VM: checkpoint/ has the calls that succeed.
const CRIUS: &[&str] = &["checkpoint", "restore"];

/// Every flag that a row has given to a command, and whether one such call succeeded and one failed.
#[derive(Default)]
pub struct Coverage {
    called: BTreeMap<String, [bool; 2]>,
}

impl Coverage {
    /// Notes the flags of a call: those before the command when that is the empty name.
    pub fn note(&mut self, words: &str, command: &str, failed: bool) {
        let mut words = words.split(' ').filter(|word| !word.is_empty());
        let own: Vec<&str> = match command {
            "" => words.collect(),
            _ => words.by_ref().skip_while(|word| *word != command).skip(1).collect(),
        };
        for word in own.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
            let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
            self.called.entry(name.to_owned()).or_default()[usize::from(failed)] = true;
        }
    }

    /// The flags of runc's help that no call succeeded with, or none failed with.
    pub fn lacks(&self, golden: &Side, command: &str) -> Result<Vec<String>, Failure> {
        let help = golden.verb(&format!("{command} --help")).ok()?.stdout;
        let mut lacks = Vec::new();
        for group in printed::groups(&help) {
            let names: Vec<&str> = group.iter().map(|name| name.trim_start_matches('-')).collect();
            if names.contains(&"help") || names.contains(&"version") {
                continue;
            }
            let has = |at: usize| {
                names.iter().any(|name| self.called.get(*name).is_some_and(|called| called[at]))
            };
            let elsewhere = CRIUS.contains(&command)
                || names.iter().any(|name| ELSEWHERE.iter().any(|(one, _)| one == name));
            if !has(0) && !elsewhere {
                lacks.push(format!("no row with {} succeeds", group[0]));
            }
            if !has(1) {
                lacks.push(format!("no row with {} fails", group[0]));
            }
        }
        Ok(lacks)
    }
}
