//! What of a JSON file is not of the types that the runtime-spec has: all of it, each with its place.
//!
//! serde stops at its first error. What it stopped at is blanked in a copy of the text, byte by byte,
//! so that all places stay what they were, and serde reads on.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::{Error, Violation};
use crate::json_path::{self, Name};
use crate::json_tree::{Member, Node};

const UNKNOWN_CAPABILITY: &str = "unknown capability ";

/// What came of reading a document that is not of its type.
pub(crate) struct Broken<T> {
    /// Empty where it is unknown capabilities alone.
    pub errors: Vec<Violation>,
    /// Capabilities that nobody knows, which the rest is without: no error, as the runtime-spec has it.
    pub unknown: Vec<Violation>,
    /// What could be read all the same.
    pub rest: Option<Rest<T>>,
}

impl<T> Broken<T> {
    /// The document after all, and the capabilities that it is without.
    pub fn value(self) -> Result<(T, Vec<Violation>), Error> {
        match self.rest {
            Some(rest) if self.errors.is_empty() => Ok((rest.value, self.unknown)),
            _ => Err(Error::of(self.errors)),
        }
    }
}

/// A document without what is wrong in it.
pub(crate) struct Rest<T> {
    pub value: T,
    blanked: Vec<String>,
}

impl<T> Rest<T> {
    /// Whether an error at `path` is one of the document, and does not come of what was left out.
    pub fn proves(&self, path: &str) -> bool {
        let touches = |blanked: &str| blanked.starts_with(path) || path.starts_with(blanked);
        self.blanked.iter().all(|blanked| {
            // Without one element the others of a list have other numbers.
            let list = blanked.strip_suffix(']').and_then(|inside| inside.rsplit_once('['));
            let number = |(_, index): &(&str, &str)| index.parse::<usize>().is_ok();
            let part = list.filter(number).map_or(blanked.as_str(), |(list, _)| list);
            // Much depends on which namespaces there are.
            !touches(part)
                && !is_of_one_entry(blanked, path)
                && !part.starts_with("linux.namespaces")
        })
    }
}

/// Whether the two are values of one entry of a list or map, which are often judged by each other: a
/// limit's soft and hard, a mount's type and destination.
fn is_of_one_entry(one: &str, other: &str) -> bool {
    match (one.rsplit_once('.'), other.rsplit_once('.')) {
        (Some((one, _)), Some((other, _))) => one == other && one.ends_with(']'),
        _ => false,
    }
}

/// Every error that reading `text` as a `T` comes to, `first` being the first of them.
pub(crate) fn all<T: DeserializeOwned>(
    file: &Path,
    text: &[u8],
    first: serde_json::Error,
) -> Broken<T> {
    let tree = Node::read(text);
    let (Category::Data, Some(tree)) = (first.classify(), tree) else {
        let errors = vec![syntax(file, text, &first).into()];
        return Broken { errors, unknown: Vec::new(), rest: None };
    };
    let mut reader = Reading { file, text, tree, rest: text.to_vec(), blanked: Vec::new() };
    let (mut errors, mut unknown) = (Vec::new(), Vec::new());
    let mut next = Some(first);
    let mut value = None;
    while let Some(error) = next.take() {
        let is_unknown = words(&error).starts_with(UNKNOWN_CAPABILITY);
        let (told, goes_on) = reader.take(&error);
        let found = if is_unknown { &mut unknown } else { &mut errors };
        found.extend(told.map(Violation::from));
        if goes_on {
            match serde_json::from_slice::<T>(&reader.rest) {
                Ok(read) => value = Some(read),
                Err(error) => next = Some(error),
            }
        }
    }
    let rest = value.map(|value| Rest { value, blanked: reader.blanked });
    Broken { errors, unknown, rest }
}

/// The document does not parse: there is no more than one error.
fn syntax(file: &Path, text: &[u8], error: &serde_json::Error) -> Error {
    // The column is that of the value's last byte, or the one after it.
    let offset = json_path::offset(text, error.line(), error.column()).saturating_sub(1);
    let path = json_path::written(&json_path::at(text, offset));
    parse_error(file, (error.line(), error.column()), path, words(error))
}

fn parse_error(file: &Path, place: (usize, usize), path: String, message: String) -> Error {
    let (line, column) = place;
    Error::Parse { path: file.to_owned(), line, column, field: path, message }
}

/// serde's message without its place.
fn words(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    // oci-spec's words for a capability it doesn't know: "no variant for CAP_X (converted to X)".
    match message.strip_prefix("no variant for ") {
        Some(rest) => {
            format!("{UNKNOWN_CAPABILITY}{}", rest.split(' ').next().unwrap_or_default())
        }
        None => message.to_owned(),
    }
}

fn path_of(chain: &[&Member]) -> String {
    json_path::written(chain.iter().map(|member| &member.name))
}

/// The text, and what is left of it to be read.
struct Reading<'a> {
    file: &'a Path,
    text: &'a [u8],
    tree: Node,
    rest: Vec<u8>,
    /// The paths of what was wrong and is blanked.
    blanked: Vec<String>,
}

impl Reading<'_> {
    /// Words one error, and blanks what it is about. The second value says whether there may be more.
    fn take(&mut self, error: &serde_json::Error) -> (Option<Error>, bool) {
        let offset = json_path::offset(self.text, error.line(), error.column());
        let message = words(error);
        let missing = message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`'));
        let tree = std::mem::replace(&mut self.tree, Node { range: 0..0, members: Vec::new() });
        let chain = match missing {
            Some(_) => object_before(&tree, offset),
            None => {
                // The column is that of the value's last byte, or the one after it.
                let chain = tree.along(&json_path::at(self.text, offset.saturating_sub(1)));
                match message.strip_prefix(UNKNOWN_CAPABILITY) {
                    Some(name) => self.element(chain, name),
                    None => chain,
                }
            }
        };
        let path = match (path_of(&chain), missing) {
            (path, None) => path,
            (parent, Some(name)) if parent.is_empty() => name.to_owned(),
            (parent, Some(name)) => format!("{parent}.{name}"),
        };
        let start = chain.last().map_or(tree.range.start, |member| member.value.range.start);
        let place = json_path::place(self.text, start);
        // What is missing because it was wrong is told already.
        let told = !(missing.is_some() && self.blanked.contains(&path));
        let told = told.then(|| parse_error(self.file, place, path, message));
        self.blanked.push(path_of(&chain));
        let goes_on = chain.last().is_some_and(|member| blank(&mut self.rest, member));
        self.tree = tree;
        (told, goes_on)
    }

    /// The one of a list's strings that is `text`. serde takes every string, and by the time that
    /// oci-spec refuses one, the next may have begun.
    fn element<'t>(&self, mut chain: Vec<&'t Member>, text: &str) -> Vec<&'t Member> {
        if chain.last().is_some_and(|member| matches!(member.name, Name::Index(_))) {
            chain.pop();
        }
        let same = |member: &&&Member| {
            let range = member.value.range.clone();
            self.rest[range].iter().filter(|byte| **byte != b'"').eq(text.as_bytes())
        };
        let list = chain.last().map(|member| member.value.members.iter().collect::<Vec<_>>());
        chain.extend(list.unwrap_or_default().iter().find(same).copied());
        chain
    }
}

/// The members around an object whose last byte is the one before `offset`.
fn object_before(tree: &Node, offset: usize) -> Vec<&Member> {
    let mut chain = tree.around(offset.saturating_sub(1));
    while chain.last().is_some_and(|member| member.value.range.end != offset) {
        chain.pop();
    }
    chain
}

/// Overwrites a member and one comma beside it with spaces; false if that was done before.
fn blank(text: &mut [u8], member: &Member) -> bool {
    let (start, end) = (member.start, member.value.range.end);
    if text[start] == b' ' {
        return false;
    }
    // Lines stay lines, for serde's positions.
    text[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    let after = text[end..].iter().position(|byte| !byte.is_ascii_whitespace());
    let before = text[..start].iter().rposition(|byte| !byte.is_ascii_whitespace());
    match (after.map(|at| at + end), before) {
        (Some(at), _) | (None, Some(at)) if text[at] == b',' => text[at] = b' ',
        (_, Some(at)) if text[at] == b',' => text[at] = b' ',
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::*;

    /// The lines and paths of all errors.
    fn errors(text: &str) -> Vec<(usize, String)> {
        broken(text).errors.into_iter().map(place_of).collect()
    }

    fn broken(text: &str) -> Broken<Spec> {
        let error = serde_json::from_str::<Spec>(text).unwrap_err();
        all(Path::new("c"), text.as_bytes(), error)
    }

    fn place_of(violation: Violation) -> (usize, String) {
        match violation.error {
            Error::Parse { line, field, .. } => (line, field),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn unknown_capabilities_are_left_out() {
        let text = r#"{"ociVersion": "1.0.0", "process": {"cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_DREAM", "CAP_KILL", "CAP_DREAM"],
                             "effective": ["CAP_FLY"]}}}"#;
        let (spec, unknown) = broken(text).value().unwrap();
        let places: Vec<_> = unknown.into_iter().map(place_of).collect();
        let set = |name: &str| format!("process.capabilities.{name}");
        assert_eq!(
            places,
            [(2, set("bounding[0]")), (2, set("bounding[2]")), (3, set("effective[0]"))]
        );
        let process = spec.process().clone().unwrap();
        let sets = process.capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
        assert!(sets.effective().as_ref().unwrap().is_empty());
    }

    #[test]
    fn errors_have_line_and_path() {
        for (text, line, field) in [
            ("{\n  \"ociVersion\": 1\n}", 2, "ociVersion"),
            (
                "{\n\"ociVersion\": \"1.0\",\n\"process\": {\"cwd\": \"/\", \"args\": 3, \"user\": {\"uid\": 0, \"gid\": 0}}}",
                3,
                "process.args",
            ),
            ("{\"ociVersion\": \"1.0\",\n", 2, ""),
            ("{\"ociVersion\": \"1.0\"}\nx", 2, ""),
            (
                "{\"ociVersion\": \"1.0\",\n\"hooks\": {\"poststop\": [{}]}\n}",
                2,
                "hooks.poststop[0].path",
            ),
        ] {
            assert_eq!(errors(text), [(line, field.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_does_not_come_of_the_errors_is_proved() {
        let rest = Rest {
            value: (),
            blanked: ["process.args[1]", "mounts[2]", "root.readonly"].map(str::to_owned).to_vec(),
        };
        for (path, proved) in [
            ("process.cwd", true),
            ("process.args", false),
            ("process.args[0]", false),
            ("mounts[0].type", false),
            ("root", false),
            ("root.path", true),
            ("linux.maskedPaths[3]", true),
        ] {
            assert_eq!(rest.proves(path), proved, "{path}");
        }
        let rest = Rest { value: (), blanked: vec!["linux.namespaces[1].type".to_owned()] };
        assert!(!rest.proves("hostname"));
        let rest = Rest { value: (), blanked: vec!["process.rlimits[1].hard".to_owned()] };
        assert!(!rest.proves("process.rlimits[1].soft") && rest.proves("process.rlimits[0].soft"));
    }

    #[test]
    fn all_errors_are_found() {
        let text = r#"{"process": {"args": [1, "a", 2], "user": {"uid": "x"},
            "rlimits": [{"type": "RLIMIT_DREAM", "soft": 1, "hard": 1}],
            "capabilities": {"bounding": ["CAP_DREAM", "CAP_KILL"]}},
            "mounts": [{"type": "proc"}, {"destination": 3}, {"destination": "/x", "options": "ro"}],
            "linux": {"namespaces": [{"type": "dream"}, {"type": "pid"}]}}"#;
        let mut found: Vec<_> = errors(text).into_iter().map(|(_, path)| path).collect();
        found.sort();
        assert_eq!(
            found,
            [
                "linux.namespaces[0].type",
                "mounts[0].destination",
                "mounts[1].destination",
                "mounts[2].options",
                "process.args[0]",
                "process.args[2]",
                "process.cwd",
                "process.rlimits[0].type",
                "process.user.uid",
            ]
        );
    }
}
