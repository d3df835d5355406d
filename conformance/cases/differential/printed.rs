//! What two runtimes print, made alike and compared.

use std::collections::BTreeSet;

use serde_json::Value;

use super::side::Side;
use crate::call::Output;

/// What of a call's output is compared.
#[derive(Clone, Copy)]
pub enum Printed {
    /// All but ids, pids and times.
    All,
    /// All of stdout and of stderr: what a process in the foreground writes.
    Streams,
    /// Cells of a table, but for these columns.
    Table(&'static [&'static str]),
    /// All but numbers.
    Shape,
    /// JSON: every key and its type, and what does not depend on the moment.
    Stats,
    /// JSON: what runc has is there. Versions and annotations are each one's own.
    Known,
    /// Every flag of runc's help is one of ours. The words are not runc's: nothing reads them, and
    /// runc's say `runc`.
    Flags,
    /// Nothing but the error: where a call is wrong, runc prints the same help on stdout, and we print
    /// nothing.
    Nothing,
}

/// Where the two differ, if they do.
pub fn differences(
    printed: Printed,
    own: (&Side, &Output),
    golden: (&Side, &Output),
) -> Vec<String> {
    let (ours, theirs) = (own.1, golden.1);
    let unequal = |what: &str, masked: String, wanted: String| {
        (masked != wanted).then(|| format!("{what}: {masked:?}, runc's: {wanted:?}"))
    };
    let stdout = |mask: &dyn Fn(&str) -> String| {
        let (ours, theirs) = (alike(own.0, &ours.stdout), alike(golden.0, &theirs.stdout));
        unequal("stdout", mask(&ours), mask(&theirs)).into_iter().collect()
    };
    match printed {
        Printed::Nothing => Vec::new(),
        Printed::All => stdout(&str::to_owned),
        Printed::Shape => stdout(&shape),
        Printed::Stats => stdout(&stats),
        Printed::Table(columns) => stdout(&|text| cells(text, columns)),
        Printed::Streams => {
            let streams = [
                unequal("stdout", ours.stdout.clone(), theirs.stdout.clone()),
                unequal("stderr", ours.stderr.clone(), theirs.stderr.clone()),
            ];
            streams.into_iter().flatten().collect()
        }
        Printed::Flags => {
            let (ours, theirs) = (flags(&ours.stdout), flags(&theirs.stdout));
            theirs.difference(&ours).map(|flag| format!("no {flag}")).collect()
        }
        Printed::Known => {
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            let mut lacks = Vec::new();
            known("", &parse(&ours.stdout), &parse(&theirs.stdout), &mut lacks);
            lacks
        }
    }
}

/// What differs between any two containers, made alike.
fn alike(side: &Side, text: &str) -> String {
    let mut text = text.replace(&side.id, "ID").replace(&side.dir(), "DIR");
    for key in ["ociVersion", "pid", "created"] {
        text = without_value(&text, key);
    }
    text
}

/// `text` without the values of a key of JSON.
fn without_value(text: &str, key: &str) -> String {
    let key = format!("\"{key}\":");
    let mut parts = text.split(&key);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}', '\n']).unwrap_or(part.len());
        out.push_str(&key);
        out.push_str(&part[end..]);
    }
    out
}

/// `text` with one 0 for each number.
pub fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars().filter(|c| *c != '-') {
        match (c.is_ascii_digit(), shape.ends_with('0')) {
            (true, true) => {}
            (true, false) => shape.push('0'),
            (false, _) => shape.push(c),
        }
    }
    shape
}

/// The cells of a table, but for those below the given titles.
fn cells(text: &str, left_out: &[&str]) -> String {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let Some(titles) = lines.next() else { return String::new() };
    let mut out = titles.join(" ");
    for line in lines {
        out.push('\n');
        for (at, cell) in line.iter().enumerate() {
            let is_left_out = titles.get(at).is_some_and(|title| left_out.contains(title));
            out.push_str(if is_left_out { "*" } else { cell });
            out.push(' ');
        }
    }
    out
}

/// Lines of statistics, in the order of their keys, without what the container has used.
fn stats(text: &str) -> String {
    let line = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            without_counts(&mut value);
            value.to_string()
        }
        Err(error) => format!("{error}: {line}"),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Numbers that are no limits and no settings become 0.
fn without_counts(value: &mut Value) {
    match value {
        Value::Number(_) => *value = 0.into(),
        Value::Array(list) => list.iter_mut().for_each(without_counts),
        Value::Object(map) => {
            // Debian's runc does not tell of pressure.
            map.remove("psi");
            for (key, value) in map {
                if !matches!(&**key, "limit" | "failcnt" | "cpuset" | "pids")
                    && !key.ends_with("_limit")
                {
                    without_counts(value);
                }
            }
        }
        _ => {}
    }
}

/// What runc's features say has been changed or taken back since.
const SINCE: &[&str] = &["/ociVersionMax", "/mountOptions: \"acl\"", "/mountOptions: \"noacl\""];

/// Collects what `theirs` has and `ours` does not.
fn known(path: &str, ours: &Value, theirs: &Value, lacks: &mut Vec<String>) {
    let mut lack = |what: String| {
        if !SINCE.iter().any(|known| what.starts_with(known)) {
            lacks.push(what);
        }
    };
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in theirs.iter().filter(|(key, _)| *key != "annotations") {
                match ours.get(key) {
                    Some(own) => known(&format!("{path}/{key}"), own, value, lacks),
                    None => lacks.push(format!("no {path}/{key}")),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            for value in theirs.iter().filter(|value| !ours.contains(value)) {
                lack(format!("{path}: {value} is missing"));
            }
        }
        _ if ours == theirs => {}
        _ => lack(format!("{path}: {ours}, runc's: {theirs}")),
    }
}

/// The flags that a help text has, with their dashes: those at the start of a line.
pub fn flags(help: &str) -> BTreeSet<String> {
    groups(help).into_iter().flatten().collect()
}

/// The same, with those of a line together: the names of one flag.
pub fn groups(help: &str) -> Vec<Vec<String>> {
    let is_flag = |word: &&str| word.len() > 1 && word.starts_with('-');
    let words = |line: &str| -> Vec<String> {
        let words = line.split([' ', ',', '=']).filter(|word| !word.is_empty()).take(4);
        words.filter(is_flag).map(str::to_owned).collect()
    };
    help.lines().filter(|line| line.trim_start().starts_with('-')).map(words).collect()
}
