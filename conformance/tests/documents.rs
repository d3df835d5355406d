//! What the documents say of the cases is there.

use std::fs;
use std::path::Path;

/// Every `area/name` between backticks in the kernel table is a case.
#[test]
fn cases_of_the_kernel_table_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("../runtime/docs/kernel-features.md"))
        .unwrap_or_else(|error| panic!("kernel-features.md: {error}"));
    let sources: String = fs::read_dir(root.join("cases"))
        .unwrap_or_else(|error| panic!("cases: {error}"))
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
        .collect();
    let mut found = 0;
    for name in table.split('`').skip(1).step_by(2) {
        let area = name.split('/').next().unwrap_or_default();
        if !["kernel", "network", "idmapped-mounts"].contains(&area) || name == area {
            continue;
        }
        assert!(sources.contains(&format!("\"{name}\"")), "no case {name}");
        found += 1;
    }
    assert!(found > 20, "only {found} cases are named");
}
