//! What the documents say of the cases is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())).flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|one| one == extension) {
            found.push(path);
        }
    }
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A name as cases have them.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '/';
    text.split('/').count() == 2 && !text.ends_with('/') && text.chars().all(plain)
}

/// The names that a table of cases begins its entries with: `Case::new("area/name", …)`.
fn cases(root: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in ["cases", "suites"].iter().flat_map(|dir| files(&root.join(dir), "rs")) {
        let source = text(&path);
        let parts: Vec<&str> = source.split('"').collect();
        let first = |pair: &&[&str]| pair[0].trim_end().ends_with('(') && is_name(pair[1]);
        names.extend(parts.windows(2).filter(first).map(|pair| pair[1].to_owned()));
    }
    names
}

/// Every `area/name` between backticks is a case, where there is such an area.
#[test]
fn cases_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = cases(root);
    let areas: BTreeSet<&str> = cases.iter().filter_map(|name| name.split('/').next()).collect();
    let mut found = 0;
    for path in files(&root.join("../runtime/docs"), "md") {
        for name in text(&path).split('`').skip(1).step_by(2) {
            if is_name(name) && name.split('/').next().is_some_and(|area| areas.contains(area)) {
                assert!(cases.contains(name), "{}: no case {name}", path.display());
                found += 1;
            }
        }
    }
    assert!(found > 200, "only {found} cases are named");
}

/// Every row of the tables of kernel features says, in its last column, which cases show it.
#[test]
fn every_kernel_feature_names_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = cases(root);
    let page = text(&root.join("../runtime/docs/kernel-features.md"));
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| feature"));
    let mut found = 0;
    for row in rows {
        let column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no case in {row}");
        for name in named {
            assert!(cases.contains(name), "no case {name}, of {row}");
        }
        found += 1;
    }
    assert!(found > 30, "only {found} rows");
}
