//! The store: what goes, what stays, and what other tools put there.

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::{Archive, gzip};
use super::registry::{CONFIG, LAYER, MANIFEST, Registry};
use super::sandbox::{Sandbox, names};

/// Writes an image into the sandbox's store as another tool would: blobs and index alone.
pub fn put_image(sandbox: &Sandbox, name: &str, tars: &[Vec<u8>], run: serde_json::Value) {
    let layer = |tar: &Vec<u8>| (LAYER, gzip(tar), Digest::of(tar));
    put_layers(sandbox, name, &tars.iter().map(layer).collect::<Vec<_>>(), run);
}

/// The same with layers of any compression: media type, blob and diff ID.
pub fn put_layers(
    sandbox: &Sandbox,
    name: &str,
    layers: &[(&str, Vec<u8>, Digest)],
    run: serde_json::Value,
) {
    let blobs = sandbox.store().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let diff_ids: Vec<_> = layers.iter().map(|(.., diff_id)| *diff_id).collect();
    let layers: Vec<_> = layers.iter().map(|(media_type, blob, _)| put(media_type, blob)).collect();
    let config = json!({ "architecture": "amd64", "os": "linux", "config": run,
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put(CONFIG, config.to_string().as_bytes());
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let mut descriptor = put(MANIFEST, manifest.to_string().as_bytes());
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    std::fs::write(sandbox.store().join("index.json"), index.to_string()).unwrap();
    std::fs::write(sandbox.store().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)
        .unwrap();
}

#[test]
fn another_tools_layout_is_read() {
    let sandbox = Sandbox::new();
    let name = "docker.io/library/x:latest";
    put_image(&sandbox, name, &[Archive::new().file("a", "x").tar()], json!({ "Cmd": ["/a"] }));
    sandbox.ok(&["unpack", "x", "tree"]);
    assert!(sandbox.path.join("tree/a").exists());
    sandbox.ok(&["bundle", "--copy", "x", "copied"]);
    sandbox.script("$imagectl bundle x mounted; cat mounted/rootfs/a; $imagectl unbundle mounted");
}

#[test]
fn rm_frees_what_nothing_needs() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let (base, one, two) = (
        Archive::new().file("base", "x").tar(),
        Archive::new().file("one", "x").tar(),
        Archive::new().file("two", "x").tar(),
    );
    registry.image("one", "t", &[base.clone(), one], json!({ "Cmd": ["/x"] }));
    registry.image("two", "t", &[base, two], json!({ "Cmd": ["/y"] }));
    let [one, two] = ["one", "two"].map(|name| format!("{}/{name}:t", registry.address));
    sandbox.pull(&one);
    sandbox.pull(&two);
    assert_eq!(names(&sandbox.store().join("layers")).len(), 3);
    assert_eq!(names(&sandbox.store().join("blobs/sha256")).len(), 7);
    let wrong = sandbox.fails(&["rm", &one, "nothing"]);
    assert!(wrong.contains("docker.io/library/nothing:latest is not in the store"), "{wrong}");
    sandbox.ok(&["rm", &one]);
    assert_eq!(names(&sandbox.store().join("layers")).len(), 2);
    assert_eq!(names(&sandbox.store().join("blobs/sha256")).len(), 4);
    sandbox.ok(&["unpack", &two, "tree"]);
    sandbox.ok(&["rm", &two]);
    for directory in ["layers", "blobs/sha256", "ingest"] {
        assert_eq!(names(&sandbox.store().join(directory)), [""; 0], "{directory}");
    }
}

#[test]
fn rm_keeps_the_layers_of_a_bundle() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    sandbox.script(&format!(
        "$imagectl bundle {reference} b; $imagectl rm {reference}; cat b/rootfs/a
         test \"$(ls store/layers | wc -l)\" = 1; $imagectl unbundle b; ! test -e b"
    ));
    // Nothing needs the layer now; the next rm takes it along.
    sandbox.pull(&reference);
    sandbox.ok(&["rm", &reference]);
    assert_eq!(names(&sandbox.store().join("layers")), [""; 0]);
}

#[test]
fn rm_keeps_the_layers_of_a_bundle_that_was_moved_or_copied() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tars = [Archive::new().file("a", "x").tar(), Archive::new().file("b", "x").tar()];
    registry.image("x", "t", &tars, json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    sandbox.script(&format!(
        "$imagectl bundle {reference} b; mkdir elsewhere; mv b elsewhere/c
         $imagectl rm {reference}; cat elsewhere/c/rootfs/a elsewhere/c/rootfs/b
         test \"$(ls store/layers | wc -l)\" = 2
         mkdir copy; cp elsewhere/c/config.json elsewhere/c/imagectl.json copy
         $imagectl unbundle copy; test \"$(ls store/bundles | wc -l)\" = 2
         $imagectl unbundle elsewhere/c; test \"$(ls store/bundles | wc -l)\" = 0"
    ));
    // One that is removed without unbundle holds nothing for ever.
    sandbox.pull(&reference);
    sandbox.script(&format!(
        "$imagectl bundle {reference} b; umount b/rootfs; rm -r b; $imagectl rm {reference}
         test \"$(ls store/layers store/bundles | grep -c .)\" = 2"
    ));
}

#[test]
fn names_and_platforms_of_others_do_not_reach_the_terminal() {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "evil\u{1b}[2J", &[Archive::new().file("a", "x").tar()], json!({}));
    let index = sandbox.store().join("index.json");
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    value["manifests"][0]["platform"] =
        json!({ "os": "li\u{1b}nux", "architecture": "amd\n64", "variant": "v\u{9b}" });
    std::fs::write(&index, value.to_string()).unwrap();
    let table = sandbox.ok(&["list"]);
    assert_eq!(table.lines().count(), 2, "{table:?}");
    assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
    let error = sandbox.fails(&["unpack", "other", "tree"]);
    assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
}

#[test]
fn what_a_killed_pull_left_goes_with_the_next_command() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["list"]);
    let left = sandbox.store().join("ingest/12345-0/layer-0/fs/dir");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("file"), "x").unwrap();
    sandbox.ok(&["list"]);
    assert_eq!(names(&sandbox.store().join("ingest")), [""; 0]);
}

#[test]
fn strangers_are_kept_out() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    sandbox.ok(&["bundle", "--copy", &reference, "b"]);
    for directory in ["store", "store/layers", "store/blobs", "store/ingest", "b"] {
        let mode = std::fs::metadata(sandbox.path.join(directory)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{directory}");
    }
}

#[test]
fn a_directory_that_is_something_else_is_not_taken_for_a_store() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.store()).unwrap();
    let layout = r#"{"imageLayoutVersion": "2.0.0"}"#;
    std::fs::write(sandbox.store().join("oci-layout"), layout).unwrap();
    let error = sandbox.fails(&["list"]);
    assert!(error.contains("not an OCI image layout"), "{error}");
}

#[test]
fn a_corrupt_stored_blob_is_found() {
    let sandbox = Sandbox::new();
    let name = "docker.io/library/x:latest";
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, name, std::slice::from_ref(&tar), json!({}));
    let other = gzip(&Archive::new().file("b", "x").tar());
    let blob = sandbox.store().join("blobs/sha256").join(Digest::of(&gzip(&tar)).hex());
    std::fs::write(blob, other).unwrap();
    let error = sandbox.fails(&["unpack", "x", "tree"]);
    assert!(error.contains("uncompressed layer: digest is"), "{error}");
    assert!(!sandbox.path.join("tree").exists());
}
