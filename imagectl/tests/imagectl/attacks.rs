//! The list of attacks and the tests that it names belong together.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all tests below a directory.
fn tests(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_of(&path));
        }
    }
}

/// The names of a file's tests.
fn tests_of(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let behind = text.split("#[test]\n").skip(1);
    behind
        .map(|rest| {
            let (_, name) = rest.split_once("fn ").unwrap();
            name.split('(').next().unwrap().to_owned()
        })
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_list_of_attacks_names_tests_that_exist() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    for directory in ["src", "tests"] {
        tests(&crate_root.join(directory), &mut there);
    }
    let list = std::fs::read_to_string(crate_root.join("docs/attacks.md")).unwrap();
    let (head, rest) = list.split_once("| class | tests |").unwrap();
    let (table, _) = rest.split_once("## Limits").unwrap();
    let rows: Vec<_> = table.lines().filter(|row| row.starts_with("| ")).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut named = BTreeSet::new();
    for row in &rows {
        let class_and_tests = row.trim_matches(['|', ' ']).rsplit_once(" | ");
        let (class, tests) = class_and_tests.unwrap();
        assert!(quoted(tests).next().is_some(), "{class}: no test");
        named.extend(quoted(tests));
    }
    // The fuzz loops have no class of their own.
    let is_test = |name: &&str| !name.contains(['/', '.']) && name.chars().any(char::is_lowercase);
    named.extend(quoted(head).filter(is_test));
    let missing: Vec<_> = named.iter().filter(|name| !there.contains(**name)).collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:?}");
    for file in ["attributes.rs", "bombs.rs", "broken.rs", "hostile.rs", "names.rs", "users.rs"] {
        for test in tests_of(&crate_root.join("tests/imagectl").join(file)) {
            assert!(named.contains(test.as_str()), "{file}: the list does not name {test}");
        }
    }
}
