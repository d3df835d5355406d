//! Words of the runtime-spec that oci-spec 0.10 spells otherwise.
//!
//! It takes two of the scheduler's flags by names of its own, and no empty list of CPUs, which the
//! runtime-spec gives a meaning. Lines stay what they are.

use crate::json_path;
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
    let mut changes = Vec::new();
    for (path, word, other) in WORDS {
        for path in [format!("process.{path}"), (*path).to_owned()] {
            let names = json_path::names(&path);
            let chain = tree.along(&names);
            let Some(found) = chain.last().filter(|_| chain.len() == names.len()) else { continue };
            let values = [&found.value].into_iter();
            let values = values.chain(found.value.members.iter().map(|member| &member.value));
            let ranges = values.map(|value| value.range.clone());
            changes
                .extend(ranges.filter(|range| text[range.clone()] == **word).map(|r| (r, other)));
        }
    }
    // From the end, so that what is before stays where it is.
    changes.sort_unstable_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, other) in changes {
        text.splice(range, other.iter().copied());
    }
    text
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
                r#"{"process": {"scheduler": {"flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RESET_ON_FORK"]}}}"#,
                r#"{"process": {"scheduler": {"flags": ["SCHED_FLAG_D_L_OVERRUN", "SCHED_RESET_ON_FORK"]}}}"#,
            ),
            (
                r#"{"scheduler": {"flags": ["SCHED_FLAG_RESET_ON_FORK"]}}"#,
                r#"{"scheduler": {"flags": ["SCHED_RESET_ON_FORK"]}}"#,
            ),
            (
                r#"{"execCPUAffinity": {"initial": "", "final": ""}, "env": [""]}"#,
                r#"{"execCPUAffinity": {"initial": null, "final": null}, "env": [""]}"#,
            ),
        ] {
            assert_eq!(respelt(text), wanted);
        }
        for text in [
            r#"{"process": {"args": ["SCHED_FLAG_RESET_ON_FORK"]}}"#,
            r#"{"annotations": {"SCHED_FLAG_DL_OVERRUN": "SCHED_FLAG_DL_OVERRUN"}}"#,
            r#"{"annotations": {"scheduler.flags": "SCHED_FLAG_DL_OVERRUN"}}"#,
            r#"{"process": {"scheduler": {"flags": ["SCHED_FLAG_RECLAIM", "#,
            "",
            "\"",
        ] {
            assert_eq!(respelt(text), text);
        }
    }
}
