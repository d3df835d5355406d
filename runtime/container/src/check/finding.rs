//! One thing that check has to say.

use crate::bundle::Bundle;
use crate::error::{Error, Violation};

/// What a finding means for `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It fails on every host: the configuration breaks the rules of the runtime-spec, or asks for
    /// what there can't be.
    Violation,
    /// It fails on this host, for this user.
    Host,
    /// It succeeds, and the container is not quite as the configuration says.
    Warning,
}

/// A finding and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub kind: Kind,
    /// The place in config.json, such as `process.args[2]`; empty where there is none.
    pub path: String,
    /// The line of config.json, counted from 1; none where there is no place.
    pub line: Option<usize>,
    /// What is wrong there, with all causes.
    pub message: String,
}

/// How init begins what it says of the parts of a container that its messages don't name by field.
const STEPS: &[(&str, &str)] = &[
    ("exec: ", "process.args"),
    ("chdir to cwd", "process.cwd"),
    ("current working directory", "process.cwd"),
    ("make working directory", "process.cwd"),
    ("set hostname", "hostname"),
    ("set domainname", "domainname"),
    ("make a time namespace", "linux.namespaces"),
    ("join namespace", "linux.namespaces"),
    ("clone3 of the container's init", "linux.namespaces"),
    ("make device", "linux.devices"),
    ("mount rootfs", "root.path"),
];

/// The parts of config.json, for telling a path from other words.
const TOPS: &[&str] =
    &["root", "mounts", "process", "hostname", "domainname", "hooks", "annotations", "linux"];

impl Finding {
    pub(super) fn new(violation: Violation) -> Finding {
        let kind = match &violation.error {
            Error::Parse { .. } | Error::Invalid { .. } | Error::Seccomp(_) => Kind::Violation,
            Error::Cgroup(error) if error.is_violation() => Kind::Violation,
            _ => Kind::Host,
        };
        let line = match &violation.error {
            Error::Parse { line, .. } => Some(*line),
            _ => violation.line,
        };
        let (path, message) = match &violation.error {
            Error::Parse { field, message, .. } => (field.clone(), message.clone()),
            Error::Init(failure) => split(&failure.to_string()),
            error => split(&error.text()),
        };
        let path = violation.error.field().filter(|field| !field.is_empty()).unwrap_or(path);
        Finding { kind, path, line, message }
    }

    pub(super) fn warning(path: impl Into<String>, message: impl Into<String>) -> Finding {
        let (path, message) = (path.into(), message.into());
        Finding { kind: Kind::Warning, path, line: None, message }
    }

    pub(super) fn locate(&mut self, bundle: &Bundle) {
        self.line = self.line.or_else(|| bundle.line(&self.path));
    }
}

/// The place that a message begins with, and the rest of it.
pub(super) fn split(text: &str) -> (String, String) {
    let end = text.find([' ', ':']).unwrap_or(text.len());
    // A key in brackets may have blanks and colons.
    let end = match (text.find('['), text.find(']')) {
        (Some(open), Some(close)) if open < end && end < close => {
            close + text[close..].find([' ', ':']).unwrap_or(0)
        }
        _ => end,
    };
    let (path, rest) = text.split_at(end);
    let top = path.split(['.', '[']).next().unwrap_or_default();
    if TOPS.contains(&top) && !rest.is_empty() {
        return (path.to_owned(), rest.trim_start_matches([':', ' ']).to_owned());
    }
    let known = STEPS.iter().find(|(start, _)| text.starts_with(start));
    (known.map_or(String::new(), |(_, field)| (*field).to_owned()), text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_split_at_their_place() {
        for (text, path, message) in [
            ("process.cwd: x", "process.cwd", "x"),
            ("mounts[3].type (x on /y): fsopen", "mounts[3].type", "(x on /y): fsopen"),
            ("mounts[3] (x on /y): attach", "mounts[3]", "(x on /y): attach"),
            ("linux.sysctl[net/a b: c]: write", "linux.sysctl[net/a b: c]", "write"),
            ("exec: \"x\": not found", "process.args", "exec: \"x\": not found"),
            ("setsid: no", "", "setsid: no"),
        ] {
            assert_eq!(split(text), (path.to_owned(), message.to_owned()));
        }
    }
}
