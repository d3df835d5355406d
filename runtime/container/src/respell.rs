//! Words of the runtime-spec that oci-spec 0.10 spells otherwise, and a user that is left out.
//!
//! It takes two of the scheduler's flags by names of its own, and no empty list of CPUs, which the
//! runtime-spec gives a meaning. A process without a user is 0:0's, as in runc. Lines stay what they
//! are.

use std::ops::Range;

use crate::json_path::{self, Name};
use crate::json_tree::Node;

/// A path, a word that can stand there, and what oci-spec has for it.
const WORDS: &[(&str, &[u8], &[u8])] = &[
    ("scheduler.flags", b"\"SCHED_FLAG_RESET_ON_FORK\"", b"\"SCHED_RESET_ON_FORK\""),
    ("scheduler.flags", b"\"SCHED_FLAG_DL_OVERRUN\"", b"\"SCHED_FLAG_D_L_OVERRUN\""),
    ("execCPUAffinity.initial", b"\"\"", b"null"),
    ("execCPUAffinity.final", b"\"\"", b"null"),
];

/// The document in oci-spec's words: a config.json, or a `process` object alone.
pub(crate) fn respell(mut text: Vec<u8>) -> Vec<u8> {
    let Some(tree) = Node::read(&text) else { return text };
    let mut changes: Vec<(Range<usize>, &[u8])> = Vec::new();
    for (path, word, other) in WORDS {
        for path in [format!("process.{path}"), (*path).to_owned()] {
            let names = json_path::names(&path);
            let chain = tree.along(&names);
            let Some(found) = chain.last().filter(|_| chain.len() == names.len()) else { continue };
            let values = [&found.value].into_iter();
            let values = values.chain(found.value.members.iter().map(|member| &member.value));
            let ranges = values.map(|value| value.range.clone());
            changes
                .extend(ranges.filter(|range| text[range.clone()] == **word).map(|r| (r, *other)));
        }
    }
    changes.extend(user(&text, &tree));
    // From the end, so that what is before stays where it is.
    changes.sort_unstable_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, other) in changes {
        text.splice(range, other.iter().copied());
    }
    text
}

/// What gives the process a user, if it has none.
fn user(text: &[u8], tree: &Node) -> Option<(Range<usize>, &'static [u8])> {
    let child = |node, name| Node::along(node, &json_path::names(name)).pop();
    let process = match child(tree, "process") {
        Some(process) => &process.value,
        None if child(tree, "ociVersion").is_none() => tree,
        None => return None,
    };
    let null = |range: &Range<usize>| text[range.clone()] == *b"null";
    if let Some(user) = child(process, "user") {
        return Some((user.value.range.clone(), &b"{}"[..])).filter(|(range, _)| null(range));
    }
    // Go takes a name in any case: one that we don't know by it must not become root's.
    let is_user = |name: &Name| matches!(name, Name::Key(key) if key.eq_ignore_ascii_case("user"));
    if process.members.iter().any(|member| is_user(&member.name)) {
        return None;
    }
    let last = process.range.end.checked_sub(1).filter(|at| text[*at] == b'}')?;
    let word: &[u8] = if process.members.is_empty() { b"\"user\":{}" } else { b",\"user\":{}" };
    Some((last..last, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelt(text: &str) -> String {
        String::from_utf8(respell(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn only_the_fields_themselves_change() {
        for (text, wanted) in [
            (
                r#"{"process": {"scheduler": {"flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RESET_ON_FORK"]}, "user": 1}}"#,
                r#"{"process": {"scheduler": {"flags": ["SCHED_FLAG_D_L_OVERRUN", "SCHED_RESET_ON_FORK"]}, "user": 1}}"#,
            ),
            (
                r#"{"scheduler": {"flags": ["SCHED_FLAG_RESET_ON_FORK"]}}"#,
                r#"{"scheduler": {"flags": ["SCHED_RESET_ON_FORK"]},"user":{}}"#,
            ),
            (r#"{"process": {}, "x": 1}"#, r#"{"process": {"user":{}}, "x": 1}"#),
            (r#"{"args": ["a"], "user": null}"#, r#"{"args": ["a"], "user": {}}"#),
            (
                r#"{"execCPUAffinity": {"initial": "", "final": ""}, "env": [""], "user": {}}"#,
                r#"{"execCPUAffinity": {"initial": null, "final": null}, "env": [""], "user": {}}"#,
            ),
        ] {
            assert_eq!(respelt(text), wanted);
        }
        for text in [
            r#"{"process": {"args": ["SCHED_FLAG_RESET_ON_FORK"], "user": {}}}"#,
            r#"{"ociVersion": "1.0", "annotations": {"SCHED_FLAG_DL_OVERRUN": "SCHED_FLAG_DL_OVERRUN"}}"#,
            r#"{"ociVersion": "1.0", "annotations": {"scheduler.flags": "SCHED_FLAG_DL_OVERRUN"}}"#,
            r#"{"process": ["user"]}"#,
            r#"{"process": 3}"#,
            r#"{"process": {"User": {"uid": 1000}}}"#,
            r#"{"process": {"scheduler": {"flags": ["SCHED_FLAG_RECLAIM", "#,
            "",
            "\"",
        ] {
            assert_eq!(respelt(text), text);
        }
    }
}
