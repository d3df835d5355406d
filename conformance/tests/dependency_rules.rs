//! Which crates may depend on which, and on what kind of crate: the arrows of the design page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

mod metadata;

use metadata::metadata;

/// The workspace's crates and the only crates of the workspace that each may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("ghost-runc", &["container", "seccomp", "sys"]),
    ("container", &["cgroup", "seccomp", "sys"]),
    ("cgroup", &["sys"]),
    ("seccomp", &[]),
    ("sys", &[]),
    // Stands in for the registry's crate of that name.
    ("regex", &[]),
    ("imagectl", &[]),
    ("conformance", &[]),
];

/// The crates that make up the runtime.
const RUNTIME: &[&str] = &["ghost-runc", "container", "cgroup", "seccomp", "sys", "regex"];

/// Executors and the futures that only they run.
const ASYNC: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "futures",
    "futures-util",
    "futures-executor",
    "mio",
    "async-io",
];

/// Crates that are called -sys and hold only the kernel's constants and structures.
const NO_LIBRARY: &[&str] = &["linux-raw-sys"];

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

/// One resolved package: its manifest, and what it is linked with (no build or test dependencies).
struct Graph<'a> {
    packages: BTreeMap<&'a str, &'a Value>,
    edges: BTreeMap<&'a str, Vec<(&'a str, BTreeSet<String>)>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Value) -> Self {
        let packages = list(metadata, "packages").iter().map(|p| (text(&p["id"]), p)).collect();
        let kinds = |dep: &Value| {
            list(dep, "dep_kinds")
                .iter()
                .map(|kind| kind["kind"].as_str().unwrap_or("normal").to_owned())
                .collect::<BTreeSet<String>>()
        };
        let edges = list(&metadata["resolve"], "nodes")
            .iter()
            .map(|node| {
                let deps = list(node, "deps").iter().map(|dep| (text(&dep["pkg"]), kinds(dep)));
                (text(&node["id"]), deps.collect())
            })
            .collect();
        Self { packages, edges }
    }

    fn id(&self, name: &str) -> &'a str {
        let found = self.packages.iter().find(|(_, p)| p["name"] == name && p["source"].is_null());
        found.map(|(id, _)| *id).unwrap_or_else(|| panic!("no crate {name} in the workspace"))
    }

    fn name(&self, id: &str) -> &'a str {
        text(&self.packages[id]["name"])
    }

    /// Everything that is linked into `name`, itself left out.
    fn linked(&self, name: &str) -> BTreeSet<&'a str> {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![self.id(name)]);
        while let Some(id) = todo.pop() {
            for (dep, kinds) in &self.edges[id] {
                if kinds.contains("normal") && seen.insert(*dep) {
                    todo.push(dep);
                }
            }
        }
        seen
    }
}

#[test]
fn arrows_point_one_way() {
    let metadata = metadata();
    let graph = Graph::new(&metadata);
    let own: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let members: BTreeSet<&str> =
        list(&metadata, "workspace_members").iter().map(|id| graph.name(text(id))).collect();
    assert_eq!(members, own, "a member is missing in the table of arrows, or the other way round");
    for (name, allowed) in ARROWS {
        for (dep, _) in &graph.edges[graph.id(name)] {
            let dep = graph.name(dep);
            let known = !own.contains(dep) || allowed.contains(&dep);
            assert!(known, "{name} depends on {dep}");
        }
    }
}

#[test]
fn imagectl_shares_only_the_spec_types_with_the_runtime() {
    let metadata = metadata();
    let graph = Graph::new(&metadata);
    let direct = |name: &str| -> BTreeSet<&str> {
        graph.edges[graph.id(name)].iter().map(|(dep, _)| graph.name(dep)).collect()
    };
    for name in RUNTIME {
        assert!(!direct("imagectl").contains(name), "imagectl depends on {name}");
        assert!(!direct(name).contains("imagectl"), "{name} depends on imagectl");
    }
}

#[test]
fn no_async_runtime_in_the_runtime() {
    let metadata = metadata();
    let graph = Graph::new(&metadata);
    for name in RUNTIME {
        for dep in graph.linked(name) {
            let dep = graph.name(dep);
            assert!(!ASYNC.contains(&dep), "{name} is linked with {dep}");
        }
    }
}

#[test]
fn no_c_library_in_the_runtime() {
    let metadata = metadata();
    let graph = Graph::new(&metadata);
    for name in RUNTIME {
        for id in graph.linked(name) {
            let package = graph.packages[id];
            let dep = graph.name(id);
            assert!(package["links"].is_null(), "{name}: {dep} links {}", package["links"]);
            let binds = dep.ends_with("-sys") && !NO_LIBRARY.contains(&dep);
            assert!(!binds, "{name} is linked with {dep}");
            let compiles = graph.edges[id]
                .iter()
                .any(|(build, kinds)| kinds.contains("build") && graph.name(build) == "cc");
            assert!(!compiles, "{name}: {dep} compiles C");
        }
    }
}

/// TLS is rustls with ring, in all that is built anywhere: Cargo.lock has every platform and feature.
#[test]
fn tls_is_rustls_with_ring() {
    const OTHERS: &[&str] = &[
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
        "aws-lc-fips-sys",
        "boring",
        "boring-sys",
        "curl-sys",
        "mbedtls",
    ];
    let metadata = metadata();
    let graph = Graph::new(&metadata);
    let linked: BTreeSet<&str> = graph.linked("imagectl").iter().map(|id| graph.name(id)).collect();
    for name in ["rustls", "ring"] {
        assert!(linked.contains(name), "imagectl is not linked with {name}");
    }
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("Cargo.lock");
    let names: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert!(names.contains(&"\"rustls\""), "no list of crates");
    for name in names {
        assert!(!OTHERS.contains(&name.trim_matches('"')), "{name} is in Cargo.lock");
    }
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""), "the workspace does not forbid it");
    for (name, _) in ARROWS {
        let folder = if RUNTIME.contains(name) { root.join("runtime") } else { root.clone() };
        let manifest =
            std::fs::read_to_string(folder.join(name).join("Cargo.toml")).expect("a manifest");
        let shared = manifest.contains("[lints]\nworkspace = true");
        assert_eq!(shared, *name != "sys", "{name} and the workspace's lints");
    }
}
