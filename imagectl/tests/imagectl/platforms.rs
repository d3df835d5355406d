//! Indexes whole: pulled, listed, pushed, saved, loaded and copied with all their platforms.

use imagectl::digest::Digest;
use serde_json::{Value, json};

use super::archive::{Archive, gzip};
use super::peers::{Hub, free_port, run};
use super::registry::{CONFIG, INDEX, LAYER, MANIFEST, Registry};
use super::sandbox::{Sandbox, names};

fn image(registry: &Registry, arch: &str, variant: Option<&str>) -> Value {
    let name = format!("{arch}{}", variant.unwrap_or(""));
    let tar = Archive::new().file(&name, &name).tar();
    let config = json!({ "architecture": arch, "os": "linux", "variant": variant,
        "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar)] } });
    let config = registry.blob("x", CONFIG, config.to_string().as_bytes());
    let layer = registry.blob("x", LAYER, &gzip(&tar));
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let mut descriptor = registry.manifest("x", &name, MANIFEST, &manifest);
    descriptor["platform"] = json!({ "architecture": arch, "os": "linux", "variant": variant });
    descriptor
}

/// An index of four images, one of them under a further index if `nested`, and of an attestation.
fn with_index(nested: bool) -> (Registry, Value) {
    let registry = Registry::start();
    let attestation = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": registry.blob("x", CONFIG, b"{}"),
        "layers": [registry.blob("x", "application/vnd.in-toto+json", b"{\"statement\":1}")] });
    let mut attestation = registry.manifest("x", "attestation", MANIFEST, &attestation);
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let mut inner = image(&registry, "s390x", None);
    if nested {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] });
        inner = registry.manifest("x", "inner", INDEX, &index);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        image(&registry, "amd64", None), image(&registry, "arm", Some("v7")),
        image(&registry, "arm64", Some("v8")), attestation, inner] });
    let index = registry.manifest("x", "t", INDEX, &index);
    (registry, index)
}

const BLOBS: usize = 6 + 4 + 4 + 2;

fn pull_all(sandbox: &Sandbox, reference: &str) -> String {
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--all-platforms", reference])
}

#[test]
fn an_index_is_pulled_whole() {
    let (registry, index) = with_index(true);
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let digest = index["digest"].as_str().unwrap();
    assert_eq!(pull_all(&sandbox, &reference), format!("{reference} {digest}\n"));
    // Index, inner index, attestation and four images; 16 blobs with what those name.
    assert_eq!(names(&sandbox.store().join("blobs/sha256")).len(), BLOBS + 1);
    assert_eq!(names(&sandbox.store().join("layers")).len(), 1, "only this machine's is unpacked");

    let table = sandbox.ok(&["list"]);
    assert!(table.contains("4 platforms"), "{table}");
    let list: Value = serde_json::from_str(&sandbox.ok(&["list", "--format", "json"])).unwrap();
    assert_eq!(list[0]["platforms"].as_array().unwrap().len(), 4);
    assert!(list[0]["size"].as_u64().unwrap() > 2000);
    let told: Value = serde_json::from_str(&sandbox.ok(&["inspect", &reference])).unwrap();
    assert_eq!(
        (&told["platform"], &told["index"]["digest"]),
        (&json!("linux/amd64"), &index["digest"])
    );
    let arm = sandbox.ok(&["inspect", "--platform", "linux/arm", &reference]);
    let arm: Value = serde_json::from_str(&arm).unwrap();
    assert_eq!(
        (&arm["platform"], &arm["layers"][0]["unpacked"]),
        (&json!("linux/arm/v7"), &json!(false))
    );
    let raw: Value = serde_json::from_str(&sandbox.ok(&["inspect", "--raw", &reference])).unwrap();
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 5);
    assert!(
        sandbox
            .fails(&["inspect", "--platform", "linux/mips", &reference])
            .contains("has no image")
    );

    sandbox.ok(&["unpack", &reference, "tree"]);
    assert_eq!(names(&sandbox.path.join("tree")), ["amd64"]);
    sandbox.script(&format!(
        "$imagectl bundle {reference} b; cat b/rootfs/amd64; $imagectl unbundle b"
    ));
    assert!(sandbox.ok(&["verify"]).contains("17 blobs are right"));
    sandbox.ok(&["gc"]);
    assert_eq!(names(&sandbox.store().join("blobs/sha256")).len(), BLOBS + 1);
    // Again: one request.
    let before = registry.requests().iter().filter(|r| r.path.starts_with("/v2/")).count();
    pull_all(&sandbox, &reference);
    let after = registry.requests().iter().filter(|r| r.path.starts_with("/v2/")).count();
    assert_eq!(after - before, 1);
    sandbox.ok(&["rm", &reference]);
    assert_eq!(names(&sandbox.store().join("blobs/sha256")), [""; 0]);

    // A name of one image is taken as it is.
    let single = format!("{}/x:armv7", registry.address);
    pull_all(&sandbox, &single);
    assert!(sandbox.ok(&["list"]).contains("linux/arm/v7"));
    let both = ["pull", "--all-platforms", "--platform", "linux/arm", "x"];
    assert_eq!(sandbox.run(&both).status.code(), Some(2));
}

#[test]
fn an_index_goes_everywhere_whole() {
    let (registry, index) = with_index(false);
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let digest = index["digest"].as_str().unwrap();
    pull_all(&sandbox, &reference);
    let port = free_port();
    let _hub = Hub::empty(&sandbox, &port);
    let target = format!("127.0.0.1:{port}/y:1");
    let said = sandbox.ok(&["push", "-q", "--tls-verify=false", &reference, &target]);
    assert_eq!(said, format!("{target} {digest}\n"));
    let other = Sandbox::new();
    assert_eq!(pull_all(&other, &target), said);
    // skopeo takes all of it too.
    let theirs = format!("docker://{target}");
    run(
        &other,
        "skopeo",
        &["copy", "-q", "--all", "--src-tls-verify=false", &theirs, "oci:theirs:t"],
    );

    sandbox.ok(&["save", "--format", "oci-archive", "-o", "all.tar", &reference]);
    sandbox.ok(&["save", "--format", "oci-dir", "-o", "all", &reference]);
    sandbox.ok(&["save", "-o", "one.tar", &reference]);
    let path = |name: &str| sandbox.path.join(name).to_str().unwrap().to_owned();
    for (place, arguments) in [
        (path("all.tar"), &["--all-platforms"][..]),
        (path("all"), &["--all-platforms"]),
        (other.path.join("theirs").to_str().unwrap().to_owned(), &["--all-platforms"]),
    ] {
        let loading = Sandbox::new();
        let said = loading.ok(&[&["load", &place], arguments].concat());
        assert!(said.contains(digest), "{place}: {said}");
        assert_eq!(names(&loading.store().join("blobs/sha256")).len(), BLOBS, "{place}");
        assert_eq!(names(&loading.store().join("layers")).len(), 1, "{place}");
    }
    for (place, platform, blobs) in
        [(path("all.tar"), "linux/arm64", 3), (path("one.tar"), "linux/amd64", 3)]
    {
        let loading = Sandbox::new();
        loading.ok(&["load", "--platform", platform, &place]);
        assert_eq!(names(&loading.store().join("blobs/sha256")).len(), blobs, "{place}");
        assert!(loading.ok(&["list"]).contains(platform), "{place}");
    }

    let copied = format!("127.0.0.1:{port}/copied:1");
    let copying = Sandbox::new();
    for (from, to) in [(target.as_str(), "oci:c"), ("oci:c", copied.as_str())] {
        let said = copying.ok(&["copy", "-q", "--tls-verify=false", "--all-platforms", from, to]);
        assert_eq!(said, format!("{to} {digest}\n"));
    }
    assert_eq!(pull_all(&Sandbox::new(), &copied), format!("{copied} {digest}\n"));
    let one = copying.ok(&[
        "copy",
        "-q",
        "--tls-verify=false",
        "--platform",
        "linux/arm",
        &copied,
        "oci:d",
    ]);
    assert!(!one.contains(digest), "{one}");
}

#[test]
fn an_image_of_an_index_that_lies() {
    let (registry, _) = with_index(false);
    let bad = image(&registry, "riscv64", None);
    let tar = Archive::new().file("../escape", "x").tar();
    let config = json!({ "architecture": "arm", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"another")] } });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": registry.blob("x", CONFIG, config.to_string().as_bytes()),
        "layers": [registry.blob("x", LAYER, &gzip(&tar))] });
    let mut lying = registry.manifest("x", "lying", MANIFEST, &manifest);
    lying["platform"] = json!({ "architecture": "arm", "os": "linux" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [bad, lying] });
    registry.manifest("x", "bad", INDEX, &index);
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:bad", registry.address);
    let error = sandbox.fails(&["pull", "-q", "--tls-verify=false", "--all-platforms", &reference]);
    assert!(error.contains("uncompressed layer: digest is"), "{error}");
    assert!(!sandbox.store().join("index.json").exists());

    let mut many = Vec::new();
    for at in 0..1001 {
        many.push(json!({ "mediaType": MANIFEST, "digest": Digest::of(format!("{at}").as_bytes()), "size": 1 }));
    }
    let first = image(&registry, "arm64", None);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [first] });
    registry.manifest("x", "few", INDEX, &index);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": many });
    registry.manifest("x", "many", INDEX, &index);
    let reference = format!("{}/x:many", registry.address);
    let error = sandbox.fails(&["pull", "-q", "--tls-verify=false", "--all-platforms", &reference]);
    assert!(error.contains("404"), "{error}");
}
