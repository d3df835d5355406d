//! One bad value at a time, for every field that can have one: an error that names the field and the
//! value, exit code 1, and nothing left behind. A row a value, a file a part of the configuration.

mod devices;
mod hooks;
mod linux;
mod mounts;
mod process;
mod resources;
mod scheduling;
mod seccomp;
mod top;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::ensure;
use crate::env::Env;

const GHOST: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc's line does not name the place"),
    (Peer::Crun, "ghost only: crun's line does not name the place"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("bad-values/top", |env| all(env, top::ROWS)).not_on(GHOST),
    Case::new("bad-values/hooks", |env| all(env, hooks::ROWS)).not_on(GHOST),
    Case::new("bad-values/hooks-of-every-kind", |env| all(env, hooks::KINDS)).not_on(GHOST),
    Case::new("bad-values/device-rules-v1", |env| all(env, devices::V1))
        .needs(&[Need::V1])
        .not_on(GHOST),
    Case::new("bad-values/process", |env| all(env, process::ROWS)).not_on(GHOST),
    Case::new("bad-values/scheduling", |env| all(env, scheduling::ROWS)).not_on(GHOST),
    Case::new("bad-values/mounts", |env| all(env, mounts::ROWS)).not_on(GHOST),
    Case::new("bad-values/linux", |env| all(env, linux::ROWS)).not_on(GHOST),
    Case::new("bad-values/devices", |env| all(env, devices::ROWS)).not_on(GHOST),
    Case::new("bad-values/seccomp", |env| all(env, seccomp::ROWS)).not_on(GHOST),
    Case::new("bad-values/resources", |env| all(env, resources::ROWS)).not_on(GHOST),
    Case::new("bad-values/throttles", |env| all(env, resources::THROTTLES)).not_on(GHOST),
    Case::new("bad-values/resources-v1", |env| all(env, resources::V1))
        .needs(&[Need::V1])
        .not_on(GHOST),
    Case::new("bad-values/resources-v2", |env| all(env, resources::V2))
        .needs(&[Need::V2Controllers])
        .not_on(GHOST),
];

/// The fields that have a row: where the value is put, and what the error is about.
pub fn fields() -> impl Iterator<Item = String> {
    [top::ROWS, hooks::KINDS, hooks::ROWS, process::ROWS, mounts::ROWS, linux::ROWS, devices::ROWS]
        .into_iter()
        .chain([
            scheduling::ROWS,
            seccomp::ROWS,
            resources::ROWS,
            resources::THROTTLES,
            resources::V1,
            resources::V2,
        ])
        .flatten()
        .flat_map(|row| [row.path(), Bad { field: None, ..*row }.path()])
}

/// A value, and what the error says of it.
pub struct Bad {
    /// A JSON pointer; what is missing on the way is made, and one past the end of a list appends.
    at: &'static str,
    /// As JSON.
    value: &'static str,
    /// Words of the error.
    says: &'static [&'static str],
    /// What else the configuration needs for this value to be looked at: pointer and JSON.
    with: &'static [(&'static str, &'static str)],
    /// The field that the error names, if it is not the pointer's.
    field: Option<&'static str>,
}

/// A row.
pub const fn bad(at: &'static str, value: &'static str, says: &'static [&'static str]) -> Bad {
    Bad { at, value, says, with: &[], field: None }
}

impl Bad {
    /// The same in a configuration that has this too.
    pub const fn with(self, with: &'static [(&'static str, &'static str)]) -> Bad {
        Bad { with, ..self }
    }

    /// The error is about this field.
    pub const fn field(self, field: &'static str) -> Bad {
        Bad { field: Some(field), ..self }
    }

    /// The path that the error must name: `/process/rlimits/0/type` is `process.rlimits[0].type`.
    fn path(&self) -> String {
        if let Some(field) = self.field {
            return field.to_owned();
        }
        let mut path = String::new();
        for part in self.at.split('/').skip(1) {
            let bracket = part.contains('.') || part.bytes().all(|byte| byte.is_ascii_digit());
            match (bracket, path.is_empty()) {
                (true, _) => path.push_str(&format!("[{part}]")),
                (false, true) => path.push_str(part),
                (false, false) => path.push_str(&format!(".{part}")),
            }
        }
        path
    }

    /// Changes the configuration.
    pub fn apply(&self, config: &mut Value) -> Outcome {
        for (pointer, value) in self.with.iter().chain([&(self.at, self.value)]) {
            put(config, pointer, value)?;
        }
        Ok(())
    }
}

/// Sets a value, and makes the objects and lists on the way to it. `null` removes.
pub fn put(config: &mut Value, pointer: &str, value: &str) -> Outcome {
    let value: Value = serde_json::from_str(value)?;
    let mut place = config;
    let mut parts = pointer.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let index = part.parse::<usize>().ok();
        if place.is_null() {
            *place = if index.is_some() { json!([]) } else { json!({}) };
        }
        if parts.peek().is_none() && value.is_null() {
            place.as_object_mut().and_then(|object| object.remove(part));
            return Ok(());
        }
        place = match (place, index) {
            (Value::Array(list), Some(index)) => {
                if index == list.len() {
                    list.push(Value::Null);
                }
                list.get_mut(index).ok_or_else(|| Failure(format!("no {pointer}")))?
            }
            (place, _) => &mut place[part],
        };
    }
    *place = value;
    Ok(())
}

/// Tries all rows, and tells all that fail.
fn all(env: &mut Env, rows: &[Bad]) -> Outcome {
    let mut bundle = env.bundle()?;
    let good = bundle.config.clone();
    let mut failures = Vec::new();
    for row in rows {
        bundle.config = good.clone();
        row.apply(&mut bundle.config)?;
        if let Err(failure) = refused(env, &bundle, row) {
            failures.push(format!("{} = {}: {failure}", row.at, row.value));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n  "));
    Ok(())
}

fn refused(env: &Env, bundle: &Bundle, row: &Bad) -> Outcome {
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("bad");
    let output = env.runtime(&["create", "--bundle", &dir, &id]).output()?;
    if output.code() == 0 {
        env.runtime(&["delete", "--force", &id]).ok()?;
    }
    ensure!(output.code() == 1, "not refused: {output}");
    ensure!(output.stderr.lines().count() == 1, "not one line: {output}");
    let path = row.path();
    for word in row.says.iter().copied().chain([path.as_str()]) {
        // The logger quotes.
        let quoted = word.replace('\\', "\\\\").replace('"', "\\\"");
        ensure!(output.stderr.contains(&quoted), "stderr lacks {word:?}: {}", output.stderr);
    }
    env.nothing_left()?;
    agrees(env, bundle, &path)
}

/// `check` fails as well, for the same field and once, and makes nothing.
fn agrees(env: &Env, bundle: &Bundle, path: &str) -> Outcome {
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env.runtime(&["check", "--format", "json", "--bundle", &dir]).exits(1)?;
    let findings: Value = serde_json::from_str(&output.stdout)?;
    // init names programs and working directories in runc's words.
    let path = if path == "exec:" { "process.args" } else { path };
    let told: Vec<_> = findings
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["kind"] != "warning")
        .map(|finding| finding["path"].as_str().unwrap_or_default())
        .collect();
    let found = told.iter().any(|place| place.starts_with(path) || path.starts_with(place));
    ensure!(found, "check does not tell {path}: {}", output.stdout);
    // That there is no resctrl is told for itself.
    let others = told.iter().filter(|place| **place != path && **place != "linux.intelRdt").count();
    let own = told.iter().filter(|place| **place == path).count();
    ensure!(own + others == 1, "check tells not one thing: {}", output.stdout);
    env.nothing_left()
}
