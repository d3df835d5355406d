//! Manifests, indexes, configs and digests that lie.

use serde_json::json;

use super::archive::{Archive, gzip};
use super::registry::{Answer, CONFIG, INDEX, LAYER, MANIFEST, Registry};
use super::sandbox::Sandbox;

fn config(diff_ids: &[&str]) -> Vec<u8> {
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string().into_bytes()
}

fn digest(bytes: &[u8]) -> String {
    imagectl::digest::Digest::of(bytes).to_string()
}

#[test]
fn lies_are_refused() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new().file("a", "x").tar();
    let blob = gzip(&tar);
    let diff_id = digest(&tar);
    let good_config = || registry.blob("x", CONFIG, &config(&[&diff_id]));
    let good_layer = || registry.blob("x", LAYER, &blob);
    let manifest = |config: serde_json::Value, layers: serde_json::Value| json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });

    let mut both = manifest(good_config(), json!([good_layer()]));
    both["manifests"] = json!([]);
    let mut helm = manifest(good_config(), json!([]));
    helm["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    let mut small = good_layer();
    small["size"] = json!(blob.len() - 1);
    let mut large = good_layer();
    large["size"] = json!(blob.len() + 1);
    let mut traversal = good_layer();
    traversal["digest"] = json!("sha256:../../../etc/passwd");
    let mut upper = good_layer();
    let mut short = good_layer();
    short["digest"] = json!(&good_layer()["digest"].as_str().unwrap()[..70]);
    let mut unknown = good_layer();
    unknown["digest"] = json!(good_layer()["digest"].as_str().unwrap().replace("sha256", "md5"));
    let mut sha512 = good_layer();
    sha512["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    upper["digest"] = json!(good_layer()["digest"].as_str().unwrap().to_uppercase());
    let other = digest(b"other");
    let wrong_diff_id = registry.blob("x", CONFIG, &config(&[&other]));
    // The registry gives other bytes than the digest says.
    let mut swapped = good_layer();
    swapped["digest"] = json!(other);
    registry.put(&format!("/v2/x/blobs/{other}"), "application/octet-stream", &blob);
    let mut huge = good_config();
    huge["size"] = json!(5_000_000);
    huge["digest"] = json!(digest(&vec![b' '; 5_000_000]));
    let huge_path = format!("/v2/x/blobs/{}", huge["digest"].as_str().unwrap());
    registry.put(&huge_path, "application/json", &vec![b' '; 5_000_000]);

    for (tag, body, word) in [
        ("both", both, "both layers and manifests"),
        ("helm", helm, "artifact"),
        (
            "no-diff-id",
            manifest(registry.blob("x", CONFIG, &config(&[])), json!([good_layer()])),
            "0 diff_ids",
        ),
        (
            "diff-id",
            manifest(wrong_diff_id, json!([good_layer()])),
            "uncompressed layer: digest is",
        ),
        ("digest", manifest(good_config(), json!([swapped])), "expected sha256:"),
        ("small", manifest(good_config(), json!([small])), "or more, expected"),
        ("large", manifest(good_config(), json!([large])), "size is"),
        ("traversal", manifest(good_config(), json!([traversal])), "64 hex digits"),
        ("short", manifest(good_config(), json!([short])), "64 hex digits"),
        ("unknown", manifest(good_config(), json!([unknown])), "not a sha256 digest"),
        ("sha512", manifest(good_config(), json!([sha512])), "sha256 alone is supported"),
        ("upper", manifest(good_config(), json!([upper])), "not a sha256 digest"),
        ("huge-config", manifest(huge, json!([good_layer()])), "larger than 4 MiB"),
        ("schema1", json!({ "schemaVersion": 1, "fsLayers": [] }), "schema 1"),
    ] {
        registry.manifest("x", tag, MANIFEST, &body);
        let error = sandbox.pull_fails(&format!("{}/x:{tag}", registry.address));
        assert!(error.contains(word), "{tag}: {word:?} is not in: {error}");
    }
}

#[test]
fn a_layers_urls_are_never_asked() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let elsewhere = Registry::start();
    let tar = Archive::new().file("a", "x").tar();
    let blob = gzip(&tar);
    let path = format!("/v2/x/blobs/{}", digest(&blob));
    elsewhere.put(&path, LAYER, &blob);
    let layer = json!({ "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(&blob), "size": blob.len(),
        "urls": [format!("http://{}{path}", elsewhere.address)] });
    let config = registry.blob("x", CONFIG, &config(&[&digest(&tar)]));
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    registry.manifest("x", "t", MANIFEST, &manifest);
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(elsewhere.requests().is_empty(), "nobody else's host is asked");
    assert!(error.contains(&digest(&blob)) && error.contains("404"), "{error}");
    assert!(error.contains("a foreign layer"), "{error}");
}

#[test]
fn a_manifest_by_digest_must_have_it() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let wanted = digest(b"something else");
    let body = registry_body(&registry);
    registry.put(&format!("/v2/x/manifests/{wanted}"), MANIFEST, &body);
    let error = sandbox.pull_fails(&format!("{}/x:t@{wanted}", registry.address));
    assert!(error.contains(&wanted), "{error}");
    // And the registry's own header must agree with what it sends.
    registry.rule(move |request| {
        let tag = request.path.ends_with("/manifests/t");
        tag.then(|| Answer::ok(MANIFEST, &body).with("Docker-Content-Digest", &wanted))
    });
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("digest is"), "{error}");
}

/// The image-spec registers further algorithms: what they name is refused by their name, never taken on trust.
#[test]
fn digests_of_other_algorithms() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let zeros = format!("sha512:{}", "0".repeat(128));
    let error = sandbox.pull_fails(&format!("{}/x@{zeros}", registry.address));
    assert!(error.contains("sha512:000") && error.contains("sha256 alone"), "{error}");
    assert!(registry.requests().is_empty());
    let mut config = registry.blob("x", CONFIG, &config(&[]));
    config["digest"] = json!(zeros);
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": config });
    registry.manifest("x", "config", MANIFEST, &manifest);
    let entry = json!({ "mediaType": MANIFEST, "digest": zeros, "size": 2 });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    registry.manifest("x", "index", INDEX, &index);
    for tag in ["config", "index"] {
        let error = sandbox.pull_fails(&format!("{}/x:{tag}", registry.address));
        assert!(error.contains("sha512:000") && error.contains("sha256 alone"), "{error}");
    }
    // A registry may name its tags' digests as it likes: what came is hashed here.
    let body = registry_body(&registry);
    let own = digest(&body);
    registry.rule(move |request| {
        let tag = request.path.ends_with("/manifests/t");
        tag.then(|| Answer::ok(MANIFEST, &body).with("Docker-Content-Digest", &zeros))
    });
    let said = sandbox.pull(&format!("{}/x:t", registry.address));
    assert!(said.trim().ends_with(&own), "{said}");
}

fn registry_body(registry: &Registry) -> Vec<u8> {
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": registry.blob("x", CONFIG, &config(&[])) });
    manifest.to_string().into_bytes()
}

#[test]
fn a_manifest_of_gigabytes_is_not_read() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.rule(|_| Some(Answer::ok(MANIFEST, &vec![b' '; 5 << 20])));
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("larger than 4 MiB"), "{error}");
}

/// Answers that nobody says the length of: each is read as far as it may be, and no further.
#[test]
fn answers_without_end() {
    // More than any limit, and no more than a broken client could take in a while.
    let endless = |status: u16, content_type: &str, body: &[u8]| Answer {
        endless: Some(200 << 20),
        ..Answer::ok(content_type, body).with_status(status)
    };
    let tar = Archive::new().file("a", "x").tar();
    let blob = super::archive::gzip(&tar);
    let layer = imagectl::digest::Digest::of(&blob).to_string();
    let spaces = vec![b' '; 64 << 10];
    for (name, place, status, word) in [
        ("manifest", "/v2/x/manifests/", 200, "the document is larger than 4 MiB"),
        ("config", "/v2/x/blobs/", 200, "the document is larger than 4 MiB"),
        ("layer", layer.as_str(), 200, "or more, expected"),
        ("refusal", "/v2/x/manifests/", 404, "404"),
        ("token", "/token", 200, "the token answer is larger than 1 MiB"),
        ("token refused", "/token", 403, "403"),
    ] {
        let sandbox = Sandbox::new();
        let registry = Registry::start();
        registry.image("x", "t", std::slice::from_ref(&tar), json!({ "Cmd": ["/x"] }));
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", registry.address);
        let (place, layer, spaces) = (place.to_owned(), layer.clone(), spaces.clone());
        registry.rule(move |request| {
            let asked = request.path.contains(&place)
                && (name == "layer" || !request.path.contains(&layer));
            if asked {
                return Some(endless(status, "application/json", &spaces));
            }
            let refused = place == "/token";
            refused.then(|| Answer::status(401).with("WWW-Authenticate", &realm))
        });
        let image = format!("{}/x:t", registry.address);
        let begun = std::time::Instant::now();
        let error = sandbox.pull_fails(&image);
        assert!(error.contains(&image) || error.contains(&registry.address), "{name}: {error}");
        assert!(error.contains(word), "{name}: {word:?} is not in: {error}");
        assert!(begun.elapsed().as_secs() < 20, "{name}: {:?}", begun.elapsed());
    }
}

#[test]
fn indexes() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let image =
        |name: &str| registry.image("x", name, &[Archive::new().file(name, name).tar()], json!({}));
    let on = |image: &serde_json::Value, arch: &str, variant: Option<&str>| {
        let mut entry = image.clone();
        entry["platform"] = json!({ "os": "linux", "architecture": arch });
        if let Some(variant) = variant {
            entry["platform"]["variant"] = json!(variant);
        }
        entry
    };
    let (amd64, v6, v7) = (image("amd64"), image("v6"), image("v7"));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        on(&amd64, "amd64", None), on(&v6, "arm", Some("v6")), on(&v7, "arm", Some("v7"))] });
    let index = registry.manifest("x", "index", INDEX, &index);
    let old = json!({ "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [on(&amd64, "amd64", None), on(&v6, "arm", Some("v6"))] });
    registry.manifest("x", "old", INDEX, &old);
    let nested = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [index.clone()] });
    registry.manifest("x", "nested", INDEX, &nested);
    // Two inner ones, and what is wanted is in the second.
    let other =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [on(&amd64, "amd64", None)] });
    let other = registry.manifest("x", "other", INDEX, &other);
    let two = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [other, index] });
    registry.manifest("x", "two", INDEX, &two);
    let reference = |tag: &str| format!("{}/x:{tag}", registry.address);
    for (tag, platform, expected) in [
        ("index", "linux/amd64", &amd64),
        ("index", "linux/arm", &v7),
        ("index", "linux/arm/v6", &v6),
        ("index", "linux/arm/v8", &v7),
        ("old", "linux/arm/v7", &v6),
        ("old", "linux/arm", &v6),
        ("nested", "linux/arm/v7", &v7),
        ("two", "linux/arm/v7", &v7),
        ("two", "linux/amd64", &amd64),
    ] {
        let arguments =
            ["pull", "-q", "--tls-verify=false", "--platform", platform, &reference(tag)];
        let pulled = sandbox.ok(&arguments);
        let digest = expected["digest"].as_str().unwrap();
        assert_eq!(pulled.trim(), format!("{} {digest}", reference(tag)), "{tag} {platform}");
    }
    let missing =
        ["pull", "-q", "--tls-verify=false", "--platform", "linux/s390x", &reference("index")];
    let error = sandbox.fails(&missing);
    assert!(
        error.contains("no image for linux/s390x") && error.contains("linux/arm/v7"),
        "{error}"
    );
}

#[test]
fn a_single_image_must_be_for_the_platform_asked_for() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let reference = format!("{}/x:t", registry.address);
    let pull = |platform| ["pull", "-q", "--tls-verify=false", "--platform", platform, &reference];
    let error = sandbox.fails(&pull("linux/arm64"));
    assert!(error.contains("is for linux/amd64, not for linux/arm64"), "{error}");
    sandbox.assert_store_is_empty();
    sandbox.ok(&pull("linux/amd64"));
}

#[test]
fn an_index_that_points_to_indexes_without_end() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let mut inner = registry.image("x", "image", &[Archive::new().file("a", "x").tar()], json!({}));
    for depth in 0..8 {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] });
        inner = registry.manifest("x", &format!("depth{depth}"), INDEX, &index);
    }
    for depth in ["depth7", "depth4"] {
        let error = sandbox.pull_fails(&format!("{}/x:{depth}", registry.address));
        assert!(error.contains("more than 4 deep"), "{depth}: {error}");
    }
    // To the very limit.
    sandbox.pull(&format!("{}/x:depth3", registry.address));
}
