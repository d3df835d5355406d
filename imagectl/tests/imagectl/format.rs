//! `--format json`: what lists something lists it for programs too.

use serde_json::{Value, json};

use super::archive::{Archive, gzip};
use super::sandbox::Sandbox;
use super::store::put_image;

fn with_image() -> Sandbox {
    let sandbox = Sandbox::new();
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:1", &[tar], json!({ "Cmd": ["/x"] }));
    sandbox
}

fn json_of(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let said = sandbox.ok(&[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn lists_for_programs() {
    let sandbox = with_image();
    let list = json_of(&sandbox, &["images"]);
    let digest = list[0]["digest"].clone();
    let image = |name: &str| json!({ "name": name, "digest": digest });
    assert_eq!(list[0]["name"], "docker.io/library/x:1");
    assert_eq!(
        json_of(&sandbox, &["tag", "x:1", "y", "localhost/z:2"]),
        json!([image("docker.io/library/y:latest"), image("localhost/z:2")])
    );
    assert_eq!(json_of(&sandbox, &["inspect", "y"])["digest"], digest);
    assert_eq!(json_of(&sandbox, &["df"])["images"], 3);
    assert_eq!(
        json_of(&sandbox, &["verify"]),
        json!({ "blobs": 3, "wrong": [], "removed": false })
    );

    sandbox.ok(&["save", "-o", "x.tar", "x:1", "y"]);
    let other = Sandbox::new();
    let archive = sandbox.path.join("x.tar");
    let loaded = json_of(&other, &["load", archive.to_str().unwrap()]);
    assert_eq!(loaded[0]["name"], "docker.io/library/x:1");
    assert_eq!(loaded[1]["name"], "docker.io/library/y:latest");

    let removed = json_of(&sandbox, &["rm", "y", "localhost/z:2"]);
    assert_eq!(
        removed["removed"],
        json!([image("docker.io/library/y:latest"), image("localhost/z:2")])
    );
    assert_eq!(removed["garbage"]["blobs"], 0);
    std::fs::write(sandbox.store().join("blobs/sha256").join("0".repeat(64)), "x").unwrap();
    let would = json_of(&sandbox, &["gc", "--dry-run"]);
    assert_eq!(keys(&would), ["blobs", "bytes", "dryRun", "layers", "partialBlobs"]);
    assert_eq!((&would["blobs"], &would["dryRun"]), (&json!(1), &json!(true)));
    assert_eq!(json_of(&sandbox, &["gc"])["dryRun"], false);
    let pruned = json_of(&sandbox, &["prune", "--dry-run"]);
    assert_eq!(pruned["removed"], json!([image("docker.io/library/x:1")]));
    assert_eq!(keys(&pruned), ["dryRun", "garbage", "removed"]);
    let pruned = json_of(&sandbox, &["prune"]);
    assert_eq!((&pruned["dryRun"], &pruned["garbage"]["blobs"]), (&json!(false), &json!(3)));
    for (arguments, empty) in [
        (&["list"][..], json!([])),
        (&["mount"], json!([])),
        (&["verify"], json!({ "blobs": 0, "wrong": [], "removed": false })),
    ] {
        assert_eq!(json_of(&sandbox, arguments), empty, "{arguments:?}");
    }
}

#[test]
fn what_is_wrong_is_listed_and_fails() {
    let sandbox = with_image();
    let layer = imagectl::digest::Digest::of(&gzip(&Archive::new().file("a", "x").tar()));
    let blob = sandbox.store().join("blobs/sha256").join(layer.hex());
    std::fs::write(&blob, "something else").unwrap();
    let output = sandbox.run(&["verify", "--remove", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["blobs"], &value["removed"]), (&json!(3), &json!(true)));
    assert_eq!(value["wrong"][0]["digest"], layer.to_string());
    assert!(value["wrong"][0]["error"].as_str().unwrap().contains("size is"), "{value}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("1 of 3 blobs are wrong"), "{errors}");
    assert!(!blob.exists());
}
