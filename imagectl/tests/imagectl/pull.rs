//! Pulling what is well-formed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use imagectl::digest::Digest;
use serde_json::{Value, json};

use super::archive::{Archive, gzip};
use super::registry::{Answer, CONFIG, LAYER, MANIFEST, Registry};
use super::sandbox::{Sandbox, names};

#[test]
fn a_pulled_image_is_listed() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new().file("a", "hello").tar();
    let manifest = registry.image("some/app", "1", &[tar], json!({}));
    let reference = format!("{}/some/app:1", registry.address);
    let digest = manifest["digest"].as_str().unwrap();
    assert_eq!(sandbox.pull(&reference), format!("{reference} {digest}\n"));

    let table = sandbox.ok(&["list"]);
    let line = table.lines().nth(1).unwrap();
    assert!(line.contains(&reference) && line.contains("linux/amd64"), "{table}");
    let list: Value = serde_json::from_str(&sandbox.ok(&["list", "--format", "json"])).unwrap();
    assert_eq!(list[0]["name"], reference);
    assert_eq!(list[0]["digest"], digest);
}

#[test]
fn the_second_pull_asks_for_the_manifest_alone() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    let before = registry.requests().iter().filter(|r| r.path.starts_with("/v2")).count();
    sandbox.pull(&reference);
    let requests = registry.requests();
    let after: Vec<_> =
        requests.iter().filter(|r| r.path.starts_with("/v2")).skip(before).collect();
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(after[0].path.contains("/manifests/"));
}

#[test]
fn every_compression() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new().file("a", "hello").tar();
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar).to_string()] } });
    let halves = tar.split_at(700);
    for (tag, media_type, blob) in [
        ("plain", "application/vnd.oci.image.layer.v1.tar", tar.clone()),
        ("gzip", LAYER, gzip(&tar)),
        (
            "zstd",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            zstd::encode_all(&tar[..], 3).unwrap(),
        ),
        ("members", LAYER, [gzip(halves.0), gzip(halves.1)].concat()),
        ("mislabelled", LAYER, zstd::encode_all(&tar[..], 1).unwrap()),
        ("docker", "application/vnd.docker.image.rootfs.diff.tar.gzip", gzip(&tar)),
        ("estargz", LAYER, estargz(halves)),
        ("chunked", "application/vnd.oci.image.layer.v1.tar+zstd", zstd_chunked(halves)),
        ("foreign", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", gzip(&tar)),
    ] {
        let layer = registry.blob("x", media_type, &blob);
        let config = registry.blob("x", CONFIG, config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        registry.manifest("x", tag, MANIFEST, &manifest);
        let reference = format!("{}/x:{tag}", registry.address);
        sandbox.pull(&reference);
        let tree = format!("tree-{tag}");
        sandbox.ok(&["unpack", &reference, &tree]);
        assert_eq!(std::fs::read_to_string(sandbox.path.join(&tree).join("a")).unwrap(), "hello");
    }
    assert_eq!(names(&sandbox.store().join("layers")).len(), 1, "one diff ID, one layer");
}

/// As containerd's stargz snapshotter writes it: members, the last an empty one that says where the list is.
fn estargz((first, second): (&[u8], &[u8])) -> Vec<u8> {
    let footer = flate2::GzBuilder::new().extra(b"SG\x16\x000000000000000200STARGZ".to_vec());
    let footer = footer.write(Vec::new(), flate2::Compression::none()).finish().unwrap();
    [gzip(first), gzip(second), footer].concat()
}

/// As podman and buildah write it: frames, and skippable ones with the list and where it is.
fn zstd_chunked((first, second): (&[u8], &[u8])) -> Vec<u8> {
    let frame = |bytes| zstd::encode_all(bytes, 3).unwrap();
    let skippable = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&0x184d_2a50_u32.to_le_bytes(), &length[..], bytes].concat()
    };
    let list = skippable(&frame(b"{}".as_slice()));
    [frame(first), frame(second), list, skippable(&[0; 64])].concat()
}

#[test]
fn names_by_digest() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let manifest = registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let digest = manifest["digest"].as_str().unwrap();
    let reference = format!("{}/x@{digest}", registry.address);
    sandbox.pull(&reference);
    sandbox.ok(&["unpack", &reference, "tree"]);
    let both = format!("{}/x:other@{digest}", registry.address);
    sandbox.pull(&both);
    assert!(sandbox.ok(&["list"]).contains(":other@sha256:"));
}

#[test]
fn a_registry_at_an_ipv6_address() {
    let registry = Registry::start_at("[::1]:0");
    assert!(registry.address.starts_with("[::1]:"));
    let tar = Archive::new().file("a", "hello").tar();
    let manifest = registry.image("org/x", "t", &[tar], json!({ "Cmd": ["/x"] }));
    let digest = manifest["digest"].as_str().unwrap();
    // Its credentials are noted under the literal too.
    let basic = format!("Basic {}", BASE64_STANDARD.encode("user:password"));
    registry.rule(move |request| {
        (request.headers.get("authorization") != Some(&basic))
            .then(|| Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let sandbox = Sandbox::new();
    let auths = json!({ "auths": { &registry.address: { "auth": BASE64_STANDARD.encode("user:password") } } });
    std::fs::create_dir_all(sandbox.path.join("run/containers")).unwrap();
    std::fs::write(sandbox.path.join("run/containers/auth.json"), auths.to_string()).unwrap();
    for name in [
        format!("{}/org/x:t", registry.address),
        format!("{}/org/x@{digest}", registry.address),
        format!("{}/org/x:t@{digest}", registry.address),
    ] {
        assert_eq!(sandbox.pull(&name), format!("{name} {digest}\n"));
        sandbox.ok(&["rm", &name]);
    }
    let reference = format!("{}/org/x:t", registry.address);
    sandbox.pull(&reference);
    sandbox.ok(&["unpack", &reference, "tree"]);
    assert_eq!(std::fs::read_to_string(sandbox.path.join("tree/a")).unwrap(), "hello");
    let host = format!("[::1]:{}", registry.address.rsplit_once(':').unwrap().1);
    assert!(registry.requests().iter().all(|r| r.headers.get("host") == Some(&host)));
}

#[test]
fn an_image_without_layers_and_one_with_a_layer_twice() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let run = json!({ "Cmd": ["/x"] });
    registry.image("empty", "t", &[], run.clone());
    let (a, b) = (Archive::new().file("a", "x").tar(), Archive::new().file("b", "x").tar());
    registry.image("twice", "t", &[a.clone(), b, a], run);
    for name in ["empty", "twice"] {
        let reference = format!("{}/{name}:t", registry.address);
        sandbox.pull(&reference);
        sandbox.script(&format!(
            "$imagectl bundle {reference} {name}; ls {name}/rootfs; $imagectl unbundle {name}"
        ));
    }
}

#[test]
fn more_layers_than_a_page_of_mount_options_can_name() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tars: Vec<_> = (0..120)
        .map(|i| Archive::new().file(&format!("f{i}"), "x").file("last", &i.to_string()).tar())
        .collect();
    registry.image("x", "t", &tars, json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    let found = sandbox.script(&format!(
        "$imagectl bundle {reference} b >/dev/null; ls b/rootfs | wc -l; cat b/rootfs/last; $imagectl unbundle b >/dev/null"
    ));
    assert_eq!(found, "121\n119");
}

#[test]
fn progress_is_plain_lines_without_a_terminal() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let reference = format!("{}/x:t", registry.address);
    let output = sandbox.run(&["pull", "--tls-verify=false", &reference]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("layer ") && errors.contains(" pulled, "), "{errors}");
    assert!(!errors.contains('\u{1b}'));
    // Each command that transfers something.
    let open = |request: &super::registry::Request| match request.method.as_str() {
        "POST" => Some(Answer::status(202).with("Location", "/upload")),
        "PUT" => Some(Answer::status(201)),
        _ => None,
    };
    registry.rule(open);
    let target = format!("{}/y:t", registry.address);
    for command in [
        &["pull", &reference][..],
        &["push", &reference, &target],
        &["copy", &reference, "oci:layout"],
    ] {
        for quiet in [false, true] {
            if command[0] == "pull" {
                sandbox.ok(&["rm", &reference]);
            }
            // Nothing of a copy may be there.
            let _ = std::fs::remove_dir_all(sandbox.path.join("layout"));
            let mut arguments = [command, &["--tls-verify=false"]].concat();
            arguments.extend(quiet.then_some("--quiet"));
            let output = sandbox.run(&arguments);
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{arguments:?}: {errors}");
            assert_eq!(errors.is_empty(), quiet, "{arguments:?}: {errors}");
            assert!(!output.stdout.is_empty(), "{arguments:?}: the result");
        }
    }
}

#[test]
fn many_pulls_of_one_image_at_once() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tars: Vec<_> = (0..4)
        .map(|i| (0..50).fold(Archive::new(), |a, j| a.file(&format!("{i}-{j}"), "x")).tar())
        .collect();
    registry.image("x", "t", &tars, json!({ "Cmd": ["/x"] }));
    let blobs: Vec<_> = tars.iter().map(|tar| Digest::of(&gzip(tar)).to_string()).collect();
    // Slow enough for all to come before the first has it.
    let slow = blobs.clone();
    registry.rule(move |request| {
        if slow.iter().any(|blob| request.path.ends_with(blob)) {
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
        None
    });
    let reference = format!("{}/x:t", registry.address);
    let children: Vec<_> = (0..6)
        .map(|_| {
            let arguments = ["pull", "--quiet", "--tls-verify=false", &reference];
            sandbox.command().args(arguments).stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names(&sandbox.store().join("layers")).len(), 4);
    assert_eq!(names(&sandbox.store().join("ingest")), [""; 0]);
    assert_eq!(names(&sandbox.store().join("partial")), [""; 0]);
    // Each layer came once, to whoever was first.
    for blob in blobs {
        let requests = registry.requests();
        assert_eq!(requests.iter().filter(|request| request.path.ends_with(&blob)).count(), 1);
    }
    assert_eq!(sandbox.ok(&["list"]).lines().count(), 2);
}

#[test]
fn layers_come_side_by_side() {
    let registry = Registry::start();
    let tars = ["a", "b", "c"].map(|name| Archive::new().file(name, name).tar());
    let layers: Vec<String> = tars.iter().map(|tar| Digest::of(&gzip(tar)).to_string()).collect();
    registry.image("x", "t", &tars, json!({}));
    let all = layers.clone();
    registry.rule(move |request| {
        // Begun, and never ended.
        let layer = all.iter().any(|layer| request.path.ends_with(layer));
        layer.then(|| Answer { cut: Some(10), stay: true, ..Answer::ok("", &[0; 100]) })
    });
    let reference = format!("{}/x:t", registry.address);
    let asked = || {
        let requests = registry.requests();
        layers.iter().filter(|layer| requests.iter().any(|r| r.path.ends_with(*layer))).count()
    };
    let mut seen = 0;
    for (parallel, expected) in [("1", 1), ("3", 3)] {
        let sandbox = Sandbox::new();
        sandbox.pull_until(parallel, &reference, || asked() >= expected);
        assert_eq!(asked(), expected, "--parallel {parallel}");
        assert!(asked() > seen);
        seen = asked();
    }
}
