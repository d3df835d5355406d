//! Commands that need no registry.

use serde_json::{Value, json};

use super::archive::Archive;
use super::registry::Registry;
use super::sandbox::{Sandbox, names};

fn pulled() -> (Sandbox, Registry, String) {
    let registry = Registry::start();
    let tars = [Archive::new().file("a", "x").tar(), Archive::new().file("b", "x").tar()];
    registry.image("x", "t", &tars, json!({ "Cmd": ["/x"], "Env": ["A=\u{1b}"] }));
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    (sandbox, registry, reference)
}

#[test]
fn inspect_tells_all() {
    let (sandbox, registry, reference) = pulled();
    let value: Value = serde_json::from_str(&sandbox.ok(&["inspect", &reference])).unwrap();
    assert_eq!(value["name"], reference);
    assert_eq!(value["platform"], "linux/amd64");
    assert_eq!(value["layers"].as_array().unwrap().len(), 2);
    assert_eq!(value["layers"][1]["unpacked"], true);
    assert_eq!(value["config"]["config"]["Cmd"], json!(["/x"]));
    let digest = value["digest"].as_str().unwrap();
    // The bytes, so that their digest is the image's.
    let raw = sandbox.run(&["inspect", "--raw", &reference]).stdout;
    assert_eq!(imagectl::digest::Digest::of(&raw).to_string(), digest);
    let config = sandbox.run(&["inspect", "--raw", "--config"]).stdout;
    assert_eq!(
        imagectl::digest::Digest::of(&config).to_string(),
        value["configDigest"].as_str().unwrap()
    );
    let config: Value = serde_json::from_str(&sandbox.ok(&["inspect", "--config"])).unwrap();
    assert_eq!(config["os"], "linux");
    let text = sandbox.ok(&["inspect", "--format", "text"]);
    assert!(text.contains(&format!("digest: {digest}\n")) && !text.contains('\u{1b}'), "{text}");
    drop(registry);
}

#[test]
fn tags_are_names_of_their_own() {
    let (sandbox, _registry, reference) = pulled();
    sandbox.ok(&["tag", &reference, "mine", "localhost/other:1"]);
    let list = sandbox.ok(&["images"]);
    assert!(list.contains("docker.io/library/mine:latest") && list.contains("localhost/other:1"));
    sandbox.ok(&["rm", &reference]);
    sandbox.ok(&["unpack", "mine", "tree"]);
    let wrong = format!("x@sha256:{}", "0".repeat(64));
    assert!(sandbox.fails(&["tag", "mine", &wrong]).contains("digest is"));
    assert!(sandbox.fails(&["tag", "nothing", "x"]).contains("not in the store"));
    assert!(sandbox.fails(&["tag", "mine", "BAD"]).contains("lower case"));
}

#[test]
fn gc_frees_what_others_left_and_df_counts_it() {
    let (sandbox, _registry, reference) = pulled();
    let stray = sandbox.store().join("blobs/sha256").join("0".repeat(64));
    std::fs::write(&stray, vec![0; 100_000]).unwrap();
    std::fs::write(sandbox.store().join("partial").join("1".repeat(64)), "x").unwrap();
    let df: Value = serde_json::from_str(&sandbox.ok(&["df", "--format", "json"])).unwrap();
    assert_eq!(df["blobs"]["count"], 5);
    assert_eq!(df["partialBlobs"]["count"], 1);
    assert!(df["garbage"].as_u64().unwrap() >= 100_000, "{df}");
    assert!(sandbox.ok(&["df"]).contains("garbage"));
    let would = sandbox.ok(&["gc", "--dry-run"]);
    assert!(would.starts_with("would remove 1 blobs, 0 layers, 1 partial blobs: "), "{would}");
    assert!(stray.exists());
    assert!(sandbox.ok(&["gc"]).starts_with("removed 1 blobs, 0 layers, 1 partial blobs: "));
    assert!(!stray.exists());
    assert_eq!(names(&sandbox.store().join("partial")), [""; 0]);
    sandbox.ok(&["unpack", &reference, "tree"]);
}

#[test]
fn prune_keeps_what_bundles_stand_on() {
    let (sandbox, registry, reference) = pulled();
    registry.image("y", "t", &[Archive::new().file("y", "x").tar()], json!({ "Cmd": ["/x"] }));
    let other = format!("{}/y:t", registry.address);
    sandbox.pull(&other);
    sandbox.ok(&["prune", "--days", "1"]);
    assert_eq!(sandbox.ok(&["list"]).lines().count(), 3);
    sandbox.script(&format!(
        "$imagectl bundle {reference} b; $imagectl prune --dry-run; $imagectl prune; cat b/rootfs/a
         $imagectl list | grep -q {reference}; ! $imagectl list | grep -q {other}
         $imagectl unbundle b; $imagectl prune"
    ));
    for directory in ["blobs/sha256", "layers", "bundles"] {
        assert_eq!(names(&sandbox.store().join(directory)), [""; 0], "{directory}");
    }
}

#[test]
fn verify_finds_what_is_wrong() {
    let (sandbox, _registry, reference) = pulled();
    assert_eq!(sandbox.ok(&["verify"]), "4 blobs are right\n");
    let value: Value = serde_json::from_str(&sandbox.ok(&["inspect"])).unwrap();
    let blob = |field: &Value| {
        let hex = field.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        sandbox.store().join("blobs/sha256").join(hex)
    };
    let (one, two) = (blob(&value["layers"][0]["digest"]), blob(&value["layers"][1]["digest"]));
    let mut bytes = std::fs::read(&one).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&one, bytes).unwrap();
    std::fs::remove_file(&two).unwrap();
    let error = sandbox.fails(&["verify", &reference]);
    assert!(error.contains("2 of 4 blobs are wrong") && error.contains("digest is"), "{error}");
    assert!(error.contains("No such file"), "{error}");
    // Both are named.
    for layer in 0..2 {
        let digest = value["layers"][layer]["digest"].as_str().unwrap();
        assert!(error.contains(&digest["sha256:".len()..]), "{digest}: {error}");
    }
    sandbox.fails(&["verify", "--remove"]);
    assert!(!one.exists());
    sandbox.pull(&reference);
    sandbox.ok(&["verify"]);
}
