//! Profiles in files: the runtime-spec's filter, or the form that Docker and podman read, whose rules
//! depend on capabilities, machines and kernels.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Process;
use crate::error::{Error, Result};
use crate::image::DOCUMENT_LIMIT;

/// Reads the file.
pub fn read(path: &Path) -> Result<Value> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("open the seccomp profile", path))?;
    file.take(DOCUMENT_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read the seccomp profile", path))?;
    if bytes.len() as u64 > DOCUMENT_LIMIT {
        return Err(bad(path, format!("is larger than {DOCUMENT_LIMIT} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|source| Error::Json {
        what: format!("the seccomp profile {}", path.display()),
        source,
    })
}

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::Document {
        what: format!("the seccomp profile {}", path.display()),
        reason: reason.into(),
    }
}

/// The runtime-spec's fields of a filter; an engine's profile has some of its own beside them.
const FIELDS: [&str; 6] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "listenerPath",
    "listenerMetadata",
];

/// Turns a profile into a filter for the process.
pub fn resolve(path: &Path, profile: Value, process: Process<'_>) -> Result<Value> {
    let Value::Object(profile) = profile else { return Err(bad(path, "is no object")) };
    if !profile.get("defaultAction").is_some_and(Value::is_string) {
        return Err(bad(path, "has no defaultAction"));
    }
    let mut filter: Map<String, Value> = FIELDS
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), profile.get(*field)?.clone())))
        .collect();
    if !filter.contains_key("architectures") {
        let known = super::architectures(process.machine);
        filter.insert("architectures".to_owned(), json!(known));
    }
    let mut rules = Vec::new();
    match profile.get("syscalls") {
        None | Some(Value::Null) => {}
        Some(Value::Array(all)) => {
            for (at, rule) in all.iter().enumerate() {
                let resolved = resolve_rule(rule, process)
                    .map_err(|reason| bad(path, format!("syscalls[{at}]: {reason}")))?;
                rules.extend(resolved);
            }
        }
        Some(_) => return Err(bad(path, "syscalls is no array")),
    }
    filter.insert("syscalls".to_owned(), Value::Array(rules));
    Ok(Value::Object(filter))
}

/// The rule as the runtime-spec has it; `None` where its conditions don't hold.
fn resolve_rule(rule: &Value, process: Process<'_>) -> Result<Option<Value>, String> {
    let Some(rule) = rule.as_object() else { return Err("is no object".to_owned()) };
    let has = |list: &str, value: &str| match list {
        "caps" => process.bounding.iter().any(|held| held == value),
        _ => process.machine == value,
    };
    let listed = |of: &str, list: &str| -> Result<Vec<String>, String> {
        let Some(value) = rule.get(of).and_then(|of| of.get(list)) else { return Ok(Vec::new()) };
        serde_json::from_value::<Option<Vec<String>>>(value.clone())
            .map(Option::unwrap_or_default)
            .map_err(|_| format!("{of}.{list} is no list of names"))
    };
    // Of the machines one is enough; the capabilities must all be there.
    let machines = listed("includes", "arches")?;
    if !machines.is_empty() && !machines.iter().any(|machine| has("arches", machine)) {
        return Ok(None);
    }
    if !listed("includes", "caps")?.iter().all(|capability| has("caps", capability)) {
        return Ok(None);
    }
    for list in ["arches", "caps"] {
        if listed("excludes", list)?.iter().any(|value| has(list, value)) {
            return Ok(None);
        }
    }
    if let Some(least) = rule.get("includes").and_then(|includes| includes.get("minKernel")) {
        let least = least.as_str().and_then(version).ok_or("includes.minKernel is no version")?;
        if kernel().is_some_and(|kernel| kernel < least) {
            return Ok(None);
        }
    }
    let mut resolved = Map::new();
    for field in ["names", "action", "errnoRet", "args"] {
        match rule.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) if list.is_empty() && field == "args" => {}
            Some(value) => drop(resolved.insert(field.to_owned(), value.clone())),
        }
    }
    // The form's first version had a rule for each name.
    if let (false, Some(name)) = (resolved.contains_key("names"), rule.get("name")) {
        resolved.insert("names".to_owned(), json!([name]));
    }
    for field in ["names", "action"] {
        if !resolved.contains_key(field) {
            return Err(format!("has no {field}"));
        }
    }
    Ok(Some(Value::Object(resolved)))
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel() -> Option<(u32, u32)> {
    version(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(profile: Value) -> Result<Value> {
        let bounding = ["CAP_KILL".to_owned()];
        resolve(Path::new("p"), profile, Process { bounding: &bounding, machine: "amd64" })
    }

    #[test]
    fn conditions() {
        for (rule, stays) in [
            (json!({}), true),
            (json!({ "includes": { "caps": ["CAP_KILL"] } }), true),
            (json!({ "includes": { "caps": ["CAP_KILL", "CAP_CHOWN"] } }), false),
            (json!({ "includes": { "arches": ["arm64", "amd64"] } }), true),
            (json!({ "includes": { "arches": ["arm64"] } }), false),
            (json!({ "excludes": { "caps": ["CAP_CHOWN"], "arches": null } }), true),
            (json!({ "excludes": { "caps": ["CAP_KILL"] } }), false),
            (json!({ "excludes": { "arches": ["amd64"] } }), false),
            (json!({ "includes": { "minKernel": "4.8" } }), true),
            (json!({ "includes": { "minKernel": "999.0" } }), false),
        ] {
            let mut whole = json!({ "names": ["x"], "action": "SCMP_ACT_ALLOW", "args": [] });
            for (key, value) in rule.as_object().unwrap() {
                whole[key] = value.clone();
            }
            let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [whole] });
            let filter = resolved(profile).unwrap();
            let plain = json!({ "names": ["x"], "action": "SCMP_ACT_ALLOW" });
            let expected = if stays { json!([plain]) } else { json!([]) };
            assert_eq!(filter["syscalls"], expected, "{rule}");
        }
    }

    #[test]
    fn refused_profiles() {
        for (profile, word) in [
            (json!([]), "no object"),
            (json!({}), "defaultAction"),
            (json!({ "defaultAction": "x", "syscalls": {} }), "no array"),
            (json!({ "defaultAction": "x", "syscalls": [1] }), "syscalls[0]"),
            (json!({ "defaultAction": "x", "syscalls": [{ "names": ["x"] }] }), "no action"),
            (
                json!({ "defaultAction": "x", "syscalls": [
                    { "names": ["x"], "action": "y", "includes": { "caps": "CAP_KILL" } }] }),
                "includes.caps",
            ),
        ] {
            let error = resolved(profile).unwrap_err().to_string();
            assert!(error.contains("seccomp profile p") && error.contains(word), "{error}");
        }
    }
}
