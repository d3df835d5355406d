//! Images that are more than they should be, and how to take them all the same.

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::registry::{CONFIG, INDEX, MANIFEST, Registry};
use super::sandbox::{Sandbox, names};

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

#[test]
fn bombs_are_refused_unless_they_are_wanted() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new().entry(b'0', "zeros", "", &vec![0; 80 << 20]).tar();
    let layer = registry.blob("x", ZSTD, &zstd::encode_all(&tar[..], 3).unwrap());
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar).to_string()] } });
    let config = registry.blob("x", CONFIG, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    registry.manifest("x", "t", MANIFEST, &manifest);
    let reference = format!("{}/x:t", registry.address);
    let error = sandbox.pull_fails(&reference);
    for word in ["layer sha256:", "1000 times its size", "--max-ratio"] {
        assert!(error.contains(word), "{error}");
    }
    let pull = ["pull", "-q", "--tls-verify=false", "--max-ratio=100000", &reference];
    sandbox.ok(&pull);
    let small = [&pull[..], &["--max-size=50M"]].concat();
    sandbox.ok(&["rm", &reference]);
    let error = sandbox.fails(&small);
    assert!(error.contains("more than 50000000 bytes; --max-size"), "{error}");
    assert_eq!(names(&sandbox.store().join("layers")), [""; 0]);
}

#[test]
fn too_many_entries() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let layer = |letter: &str| {
        (0..6).fold(Archive::new(), |a, i| a.file(&format!("{letter}{i}"), "")).tar()
    };
    registry.image("x", "t", &[layer("a"), layer("b")], json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let pull = ["pull", "-q", "--tls-verify=false", &reference];
    let error = sandbox.fails(&[&pull[..], &["--max-entries=11"]].concat());
    assert!(error.contains("more than 11 entries; --max-entries"), "{error}");
    sandbox.ok(&[&pull[..], &["--max-entries=12"]].concat());
    // A bundle has the layers that are unpacked by now; unpack reads the blobs again.
    let error = sandbox.fails(&["unpack", "--max-entries=11", &reference, "tree"]);
    assert!(error.contains("more than 11 entries"), "{error}");
    assert!(!sandbox.path.join("tree").exists());
}

/// The bounds of documents hold for what is fetched, read from the store and loaded.
#[test]
fn documents_are_as_large_and_indexes_as_deep_as_is_allowed() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new().file("a", "x").tar();
    let manifest = registry.image("x", "t", std::slice::from_ref(&tar), json!({ "Cmd": ["/x"] }));
    let mut large = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
    large["annotations"] = json!({ "filler": "x".repeat(5 << 20) });
    registry.manifest("x", "large", INDEX, &large);
    let mut inner = manifest;
    for depth in 0..=6 {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] });
        inner = registry.manifest("x", &format!("deep{depth}"), INDEX, &index);
    }
    for (tag, less, more, word) in [
        ("large", "--max-manifest=5M", "--max-manifest=6M", "than 5000000 bytes; --max-manifest"),
        ("deep6", "--max-index-depth=6", "--max-index-depth=7", "6 deep; --max-index-depth"),
    ] {
        let image = format!("{}/x:{tag}", registry.address);
        let pull = ["pull", "-q", "--tls-verify=false", "--all-platforms", &image];
        for plain in [&pull[..3], &pull[..4]] {
            let pull = [plain, &[&image[..]]].concat();
            let error = sandbox.fails(&pull);
            assert!(error.contains("--max-"), "{error}");
            let error = sandbox.fails(&[&pull[..], &[less]].concat());
            assert!(error.contains(word), "{error}");
            sandbox.assert_store_is_empty();
        }
        sandbox.ok(&[&pull[..], &[more]].concat());
        // What is in the store is held to them too, and nothing that lies deeper is taken for garbage.
        for command in [&["unpack", &image, "tree"][..], &["gc"]] {
            let error = sandbox.fails(&[command, &[less]].concat());
            assert!(error.contains(word), "{error}");
        }
        sandbox.ok(&["gc", more]);
        sandbox.ok(&["unpack", more, &image, &format!("tree-{tag}")]);
        assert!(sandbox.path.join(format!("tree-{tag}/a")).exists());
        let other = Sandbox::new();
        let store = sandbox.store();
        let load = ["load", "--all-platforms", store.to_str().unwrap()];
        let error = other.fails(&[&load[..], &[less]].concat());
        assert!(error.contains(word), "{error}");
        other.ok(&[&load[..], &[more]].concat());
        sandbox.ok(&["rm", more, &image]);
        assert_eq!(names(&sandbox.store().join("blobs/sha256")), [""; 0]);
        std::fs::remove_dir_all(sandbox.store()).unwrap();
    }
}

#[test]
fn sizes_that_are_none() {
    let sandbox = Sandbox::new();
    let error = sandbox.fails(&["list", "--max-manifest=much"]);
    assert!(error.contains("--max-manifest: 'much'"), "{error}");
    assert_eq!(sandbox.run(&["list", "--max-index-depth=-1"]).status.code(), Some(2));
    let error = sandbox.fails(&["pull", "--max-size=much", "x"]);
    assert!(error.contains("--max-size: 'much'"), "{error}");
}
