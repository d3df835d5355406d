//! runtime/docs/fields.md: a row for every field that a config.json can have, with cases that exist.

#![expect(clippy::expect_used, reason = "a test that can't read its tables has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

mod metadata;

use metadata::metadata;

/// Types of other platforms: one row for the section.
const OTHER_PLATFORMS: &[&str] = &["Solaris", "Windows", "VM", "ZOS"];

/// Fields, or what they begin with, that take what there is, and why.
const EVERY_VALUE_IS_RIGHT: &[(&str, &str)] = &[
    ("solaris", "sections of other platforms are not read"),
    ("windows", "sections of other platforms are not read"),
    ("vm", "sections of other platforms are not read"),
    ("zos", "sections of other platforms are not read"),
    ("uidMappings", "it is oci-spec's alone, and not read"),
    ("gidMappings", "it is oci-spec's alone, and not read"),
];

/// A field as oci-spec declares it.
struct Field {
    /// In JSON.
    name: String,
    /// In Rust.
    kind: String,
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder with oci-spec's types of config.json.
fn types() -> PathBuf {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|p| p["name"] == "oci-spec").expect("oci-spec");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.with_file_name("src").join("runtime")
}

/// All structs of the files, by name.
fn structs() -> BTreeMap<String, Vec<Field>> {
    let mut all = BTreeMap::new();
    for entry in types().read_dir().expect("oci-spec's types") {
        let path = entry.expect("an entry").path();
        let known = ["features.rs", "state.rs", "test.rs"].iter().any(|name| path.ends_with(name));
        if path.extension().is_some_and(|extension| extension == "rs") && !known {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let code: Vec<&str> =
                text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            read_structs(&code.join("\n"), &mut all);
        }
    }
    all
}

fn read_structs(code: &str, all: &mut BTreeMap<String, Vec<Field>>) {
    let mut before = "";
    for part in code.split("\n}") {
        let Some((head, rest)) = part.split_once("pub struct ") else { continue };
        let Some((name, body)) = rest.split_once('{') else { continue };
        before = if head.is_empty() { before } else { head };
        let camel = before.contains("rename_all = \"camelCase\"");
        all.insert(name.trim().to_owned(), fields(body, camel));
    }
}

fn fields(body: &str, camel: bool) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut rest = body.trim();
    let mut attributes = String::new();
    while !rest.is_empty() {
        if rest.starts_with("#[") {
            let end = closing(rest, '[', ']');
            attributes.push_str(&rest[..=end]);
            rest = rest[end + 1..].trim_start();
            continue;
        }
        let (name, after) = rest.split_once(':').expect("a field");
        let end = end_of_type(after);
        let name = name.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let renamed =
            attributes.split_once("rename = \"").and_then(|(_, tail)| tail.split_once('"'));
        let name = match renamed {
            Some((renamed, _)) => renamed.to_owned(),
            None if camel => camel_case(name),
            None => name.to_owned(),
        };
        fields.push(Field { name, kind: after[..end].split_whitespace().collect() });
        attributes.clear();
        rest = after[end..].trim_start_matches(',').trim_start();
    }
    fields
}

/// The place of the bracket that closes the first one.
fn closing(text: &str, open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 && c == close {
            return at;
        }
    }
    panic!("no {close} in {text}");
}

fn end_of_type(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '<') - i32::from(c == '>');
        if c == ',' && depth == 0 {
            return at;
        }
    }
    text.len()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1.min(word.len()));
        name + &initial.to_uppercase() + rest
    })
}

/// The paths of all values below a type: `process.rlimits[].soft`, `linux.netDevices{}.name`.
fn walk(
    structs: &BTreeMap<String, Vec<Field>>,
    kind: &str,
    path: &str,
    found: &mut BTreeSet<String>,
) {
    let inner = |name: &str| kind.strip_prefix(name).and_then(|rest| rest.strip_suffix('>'));
    if let Some(kind) = inner("Option<") {
        walk(structs, kind, path, found);
    } else if let Some(kind) = inner("Vec<") {
        walk(structs, kind, &format!("{path}[]"), found);
    } else if let Some(kind) = inner("HashMap<String,") {
        walk(structs, kind, &format!("{path}{{}}"), found);
    } else if let Some(fields) = structs.get(kind).filter(|_| !OTHER_PLATFORMS.contains(&kind)) {
        for field in fields {
            let dot = if path.is_empty() { "" } else { "." };
            walk(structs, &field.kind, &format!("{path}{dot}{}", field.name), found);
        }
    } else {
        found.insert(path.to_owned());
    }
}

fn schema() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(&structs(), "Spec", "", &mut found);
    found
}

/// The rows of the page: field, and the words in backquotes of the other cells.
fn table() -> BTreeMap<String, Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/docs/fields.md");
    let text = std::fs::read_to_string(page).expect("runtime/docs/fields.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let mut words = line.split('`').skip(1).step_by(2).map(str::to_owned);
        let field = words.next().expect("a field");
        let before = rows.insert(field, words.collect());
        assert!(before.is_none(), "a second row: {line}");
    }
    rows
}

#[test]
fn the_schema_is_read_as_it_is() {
    let schema = schema();
    for known in [
        "ociVersion",
        "process.consoleSize.height",
        "process.rlimits[].type",
        "process.capabilities.ambient",
        "process.execCPUAffinity.final",
        "mounts[].uidMappings[].containerID",
        "hooks.startContainer[].timeout",
        "linux.sysctl{}",
        "linux.netDevices{}.name",
        "linux.resources.blockIO.throttleWriteIOPSDevice[].rate",
        "linux.seccomp.syscalls[].args[].valueTwo",
        "linux.intelRdt.closID",
        "linux.timeOffsets{}.nanosecs",
        "windows",
    ] {
        assert!(schema.contains(known), "no {known} in {schema:#?}");
    }
    assert!(schema.len() > 140, "{} fields", schema.len());
}

/// The parts of a path: names, keys in brackets, and the table's `[]` and `{}`.
fn parts(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let end = match rest.chars().next() {
            Some('[') => closing(rest, '[', ']') + 1,
            Some('{') => closing(rest, '{', '}') + 1,
            _ => rest.find(['.', '[', '{']).unwrap_or(rest.len()),
        };
        parts.push(rest[..end].to_owned());
        rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
    }
    parts
}

/// Whether a path is of this field, be it of a list or of one of its elements.
fn is_of(path: &[String], field: &[String]) -> bool {
    let list = |parts: &[String]| match parts {
        [list @ .., index] if index.starts_with('[') => list.to_vec(),
        parts => parts.to_vec(),
    };
    let field = list(field);
    let same = |(part, field): (&String, &String)| match field.as_str() {
        "[]" => part.starts_with('['),
        "{}" => true,
        // oci-spec's enableCmt is the spec's enableCMT.
        name => part.eq_ignore_ascii_case(name),
    };
    let paths = [path.to_vec(), list(path)];
    paths.iter().any(|path| path.len() == field.len() && path.iter().zip(&field).all(same))
}

#[test]
fn every_field_has_a_bad_value() {
    let list = output(Command::new(env!("CARGO_BIN_EXE_conformance")).arg("--list-fields"));
    let rows: Vec<Vec<String>> = list.lines().map(parts).collect();
    let has_row = |field: &str| rows.iter().any(|row| is_of(row, &parts(field)));
    let is_right =
        |field: &str| EVERY_VALUE_IS_RIGHT.iter().any(|(start, _)| field.starts_with(start));
    let schema = schema();
    let missing: Vec<_> =
        schema.iter().filter(|field| !has_row(field) && !is_right(field)).collect();
    assert!(missing.is_empty(), "no bad value for {missing:#?}");
    for (start, reason) in EVERY_VALUE_IS_RIGHT {
        let fields: Vec<_> = schema.iter().filter(|field| field.starts_with(start)).collect();
        assert!(!fields.is_empty(), "no field begins with {start} ({reason})");
        let row = fields.into_iter().find(|field| has_row(field));
        assert!(row.is_none(), "{row:?} has a row, though {reason}");
    }
}

#[test]
fn every_field_has_a_row_and_every_row_a_case() {
    let (schema, table) = (schema(), table());
    let list = output(Command::new(env!("CARGO_BIN_EXE_conformance")).arg("--list"));
    let cases: BTreeSet<&str> = list.lines().collect();
    let missing: Vec<_> = schema.iter().filter(|field| !table.contains_key(*field)).collect();
    assert!(missing.is_empty(), "no row for {missing:#?}");
    for (field, named) in &table {
        assert!(schema.contains(field), "no such field: {field}");
        assert!(!named.is_empty(), "no case for {field}");
        for case in named {
            assert!(cases.contains(case.as_str()), "{field}: no such case: {case}");
        }
    }
}
