//! Device rules as systemd's DeviceAllow. Pure.
//!
//! Our own program enforces the rules in any case, and both must allow an access. systemd's is there
//! so that its idea of the scope is right, and from before the first process is in it.

use oci_spec::runtime::LinuxResources;

use super::value::Value;
use crate::Result;
use crate::devices::list::List;
use crate::devices::{self, Kind, Nodes};

/// DevicePolicy and DeviceAllow. Where systemd has no words for the rules, it allows all.
pub(crate) fn plan(resources: Option<&LinuxResources>) -> Result<[(String, Value); 3]> {
    let rules = devices::rules(resources)?;
    let allowed = List::fold(&rules).ok().and_then(|list| list.allowed().map(entries)).flatten();
    let policy = if allowed.is_some() { "strict" } else { "auto" };
    let list = |entries| ("DeviceAllow".to_owned(), Value::Array("(ss)".into(), entries));
    Ok([
        ("DevicePolicy".to_owned(), policy.into()),
        // An empty list takes back what was there before; one that is not is added to it.
        list(Vec::new()),
        list(allowed.unwrap_or_default()),
    ])
}

fn entries(exceptions: &[Nodes]) -> Option<Vec<Value>> {
    exceptions.iter().map(entry).collect()
}

/// One entry; none where only the major number is left open.
fn entry(nodes: &Nodes) -> Option<Value> {
    let kind = match nodes.kind {
        Kind::Block => "block",
        Kind::Char => "char",
    };
    let device = match (nodes.major, nodes.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        (None, None) => format!("{kind}-*"),
        (None, Some(_)) => return None,
    };
    Some(Value::Struct(vec![Value::Text(device), Value::Text(nodes.access.to_string())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy, and what is allowed beyond what every container is.
    fn allowed(json: &str) -> (String, Vec<String>) {
        let resources = serde_json::from_str(&format!(r#"{{"devices":[{json}]}}"#)).unwrap();
        let [(_, policy), (_, empty), (_, list)] = plan(Some(&resources)).unwrap();
        assert_eq!(empty, Value::Array("(ss)".into(), vec![]));
        let Value::Array(_, entries) = list else { panic!("{list:?}") };
        let line = |entry: &Value| match entry {
            Value::Struct(pair) => {
                format!("{} {}", pair[0].text().unwrap(), pair[1].text().unwrap())
            }
            other => panic!("{other:?}"),
        };
        let mut lines: Vec<String> = entries.iter().map(line).collect();
        if !lines.is_empty() {
            for usual in ["char-* m", "block-* m", "/dev/char/1:3 rwm", "char-136 rwm"] {
                assert!(lines.iter().any(|line| line == usual), "{usual}: {lines:?}");
            }
            lines.truncate(lines.len() - 10);
        }
        (policy.text().unwrap().into(), lines)
    }

    #[test]
    fn rules_become_a_list() {
        for (json, policy, lines) in [
            (r#"{"allow":false,"access":"rwm"}"#, "strict", &[][..]),
            (
                r#"{"allow":false,"access":"rwm"},
                   {"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
                   {"allow":true,"type":"b","major":7,"access":"r"}"#,
                "strict",
                &["/dev/char/10:229 rw", "block-7 r"],
            ),
            // Everything; everything but one; a minor of any major; a part of a wider rule.
            (r#"{"allow":true,"access":"rwm"}"#, "auto", &[]),
            (
                r#"{"allow":true,"access":"rwm"},
                   {"allow":false,"type":"c","major":10,"minor":229,"access":"rw"}"#,
                "auto",
                &[],
            ),
            (r#"{"allow":true,"type":"c","minor":3,"access":"r"}"#, "auto", &[]),
            (
                r#"{"allow":true,"type":"c","major":10,"access":"r"},
                   {"allow":false,"type":"c","major":10,"minor":3,"access":"r"}"#,
                "auto",
                &[],
            ),
        ] {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(allowed(json), (policy.to_owned(), lines), "{json}");
        }
    }
}
