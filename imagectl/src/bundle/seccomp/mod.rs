//! The seccomp filter of a bundle: the default profile's, a file's, or none.

mod file;
mod table;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::Result;
use table::{Action, DEFAULT_ERRNO, RULES, Rule, When};

/// Which filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The profile that podman and buildah have too.
    #[default]
    Default,
    /// None: every system call is allowed.
    Unconfined,
    /// A profile of the user's: a runtime-spec filter, or a profile as engines take it.
    File(PathBuf),
}

/// What a profile's rules depend on.
#[derive(Clone, Copy, Debug)]
struct Process<'a> {
    /// The capabilities that the process may ever have.
    bounding: &'a [String],
    /// The machine, by Go's name.
    machine: &'a str,
}

impl Seccomp {
    /// Reads the option's value.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "default" => Self::Default,
            "unconfined" => Self::Unconfined,
            path => Self::File(PathBuf::from(path)),
        }
    }

    /// The filter as config.json has it, for a process with this bounding set.
    ///
    /// # Errors
    /// [`crate::Error::Io`] or [`crate::Error::Json`] for a file that can't be read,
    /// [`crate::Error::Document`] for one that is no profile.
    pub fn filter(&self, bounding: &[String]) -> Result<Option<Value>> {
        let process = Process { bounding, machine: machine() };
        match self {
            Self::Default => Ok(Some(default_filter(process))),
            Self::Unconfined => Ok(None),
            Self::File(path) => load(path, process).map(Some),
        }
    }
}

fn load(path: &Path, process: Process<'_>) -> Result<Value> {
    file::resolve(path, file::read(path)?, process)
}

/// The machine by Go's name for it, as profiles have it.
fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The names by which the kernel's filters know a machine and what else runs on it.
fn architectures(machine: &str) -> &'static [&'static str] {
    match machine {
        "amd64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "386" => &["SCMP_ARCH_X86"],
        "arm64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "arm" => &["SCMP_ARCH_ARM"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        "ppc64le" => &["SCMP_ARCH_PPC64LE"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        _ => &[],
    }
}

fn default_filter(process: Process<'_>) -> Value {
    let rules: Vec<Value> =
        RULES.iter().filter(|rule| holds(rule.when, process)).map(rule).collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": DEFAULT_ERRNO,
        "architectures": architectures(process.machine),
        "syscalls": rules,
    })
}

fn holds(when: When, process: Process<'_>) -> bool {
    let has = |capability| process.bounding.iter().any(|held| held == capability);
    match when {
        When::Always => true,
        When::With(capability) => has(capability),
        When::Without(capability) => !has(capability),
        When::On(machines) => machines.contains(&process.machine),
    }
}

fn rule(rule: &Rule) -> Value {
    let names: Vec<&str> = rule.names.split_whitespace().collect();
    let mut value = Map::new();
    value.insert("names".to_owned(), json!(names));
    match rule.action {
        Action::Allow => value.insert("action".to_owned(), json!("SCMP_ACT_ALLOW")),
        Action::Fail(errno) => {
            value.insert("errnoRet".to_owned(), json!(errno));
            value.insert("action".to_owned(), json!("SCMP_ACT_ERRNO"))
        }
    };
    if !rule.comparisons.is_empty() {
        let comparisons: Vec<Value> = rule
            .comparisons
            .iter()
            .map(|(index, operand, equal)| {
                let op = if *equal { "SCMP_CMP_EQ" } else { "SCMP_CMP_NE" };
                json!({ "index": index, "value": operand, "op": op })
            })
            .collect();
        value.insert("args".to_owned(), json!(comparisons));
    }
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// What a filter does with each call: all rules that name it.
    fn decisions(filter: &Value) -> BTreeMap<String, BTreeSet<String>> {
        let mut decisions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for rule in filter["syscalls"].as_array().unwrap() {
            let comparisons: Vec<String> = rule["args"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|a| format!("{} {} {}", a["index"], a["op"], a["value"]))
                .collect();
            for name in rule["names"].as_array().unwrap() {
                let does = format!("{} {} {comparisons:?}", rule["action"], rule["errnoRet"]);
                decisions.entry(name.as_str().unwrap().to_owned()).or_default().insert(does);
            }
        }
        decisions
    }

    /// Calls that Debian's profile is too old to know.
    const NEWER: [&str; 12] = [
        "cachestat",
        "fchmodat2",
        "futex_requeue",
        "futex_wait",
        "futex_waitv",
        "futex_wake",
        "getxattrat",
        "listxattrat",
        "map_shadow_stack",
        "mseal",
        "removexattrat",
        "setxattrat",
    ];

    #[test]
    fn the_default_decides_as_the_installed_one_does() {
        let path = Path::new("/usr/share/containers/seccomp.json");
        assert!(path.exists(), "hack/deps installs golang-github-containers-common for {path:?}");
        for machine in ["amd64", "arm64", "s390x", "ppc64le"] {
            for bounding in [
                vec![],
                vec!["CAP_AUDIT_WRITE".to_owned()],
                vec!["CAP_SYS_ADMIN".to_owned(), "CAP_SYS_PTRACE".to_owned()],
            ] {
                let process = Process { bounding: &bounding, machine };
                let mut ours = decisions(&default_filter(process));
                let filter = load(path, process).unwrap();
                let theirs = decisions(&filter);
                for name in NEWER {
                    assert!(theirs.contains_key(name) || ours.remove(name).is_some(), "{name}");
                }
                assert_eq!(ours, theirs, "{machine} {bounding:?}");
                assert_eq!(filter["defaultErrnoRet"], 38);
            }
        }
    }

    #[test]
    fn the_default_is_a_runtime_spec_filter() {
        let filter = Seccomp::Default.filter(&[]).unwrap().unwrap();
        let typed: oci_spec::runtime::LinuxSeccomp = serde_json::from_value(filter).unwrap();
        assert_eq!(typed.default_errno_ret(), Some(38));
        assert!(!typed.architectures().as_ref().unwrap().is_empty());
    }
}
