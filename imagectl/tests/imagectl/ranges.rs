//! Large blobs in ranges side by side, from registries that have ranges and from those that have not.

use std::sync::atomic::{AtomicUsize, Ordering};

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, CONFIG, MANIFEST, Registry, Request};
use super::sandbox::Sandbox;

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes of which no two ranges are the same.
fn content() -> Vec<u8> {
    let mut state = 7_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..30 << 20).map(|_| byte()).collect()
}

/// A registry with an image of one large layer; `answer` gives what the registry says about it.
fn serving(
    answer: impl Fn(&Request, &[u8], Option<(usize, usize)>) -> Answer + Send + 'static,
) -> (Registry, String) {
    let registry = Registry::start();
    let tar = Archive::new().entry(b'0', "big", "", &content()).tar();
    let layer = registry.blob("x", PLAIN, &tar);
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar)] } });
    let config = registry.blob("x", CONFIG, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    registry.manifest("x", "t", MANIFEST, &manifest);
    let path = Digest::of(&tar).to_string();
    registry.rule(move |request| {
        request.path.ends_with(&path).then(|| {
            let range = request.headers.get("range").and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                let last = last.parse().unwrap_or(tar.len() - 1);
                Some((first.parse().ok()?, last.min(tar.len() - 1)))
            });
            answer(request, &tar, range)
        })
    });
    let reference = format!("{}/x:t", registry.address);
    (registry, reference)
}

fn part(tar: &[u8], (first, last): (usize, usize)) -> Answer {
    Answer::ok("", &tar[first..=last])
        .with_status(206)
        .with("Content-Range", &format!("bytes {first}-{last}/{}", tar.len()))
}

fn ranges(registry: &Registry) -> Vec<String> {
    registry.requests().iter().filter_map(|r| r.headers.get("range").cloned()).collect()
}

fn check(sandbox: &Sandbox, reference: &str) {
    sandbox.ok(&["unpack", reference, "tree"]);
    assert!(std::fs::read(sandbox.path.join("tree/big")).unwrap() == content());
}

/// How many ranges are asked for at once if none ends behind the first, which shows that there are any.
fn asked_at_once(parallel: &str, expected: usize) -> usize {
    let (registry, reference) = serving(|_, tar, range| match range.unwrap() {
        range @ (0, _) => part(tar, range),
        range => Answer { cut: Some(10), stay: true, ..part(tar, range) },
    });
    let waiting = || ranges(&registry).len().saturating_sub(1);
    Sandbox::new().pull_until(parallel, &reference, || waiting() >= expected);
    waiting()
}

#[test]
fn a_large_blob_comes_in_ranges() {
    for (parallel, expected) in [("1", 1), ("2", 2), ("4", 4)] {
        assert_eq!(asked_at_once(parallel, expected), expected, "--parallel {parallel}");
    }
    let (registry, reference) = serving(|_, tar, range| part(tar, range.unwrap()));
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    let asked = ranges(&registry);
    assert_eq!(asked.len(), 8, "{asked:?}");
    assert!(asked.contains(&format!("bytes={}-{}", 4 << 20, (8 << 20) - 1)), "{asked:?}");
    check(&sandbox, &reference);
    // With one connection they come one after the other.
    let (registry, reference) = serving(|_, tar, range| part(tar, range.unwrap()));
    let sandbox = Sandbox::new();
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--parallel=1", &reference]);
    assert_eq!(ranges(&registry).len(), 8);
}

#[test]
fn registries_without_ranges_and_with_bad_ones() {
    // All of it whatever is asked for.
    let (registry, reference) = serving(|_, tar, _| Answer::ok("", tar));
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    assert_eq!(ranges(&registry).len(), 1);
    check(&sandbox, &reference);

    // All of it, broken off once behind the first range.
    let count = AtomicUsize::new(0);
    let (_registry, reference) = serving(move |_, tar, _| {
        let cut = (count.fetch_add(1, Ordering::Relaxed) == 0).then_some(9_000_000);
        Answer { cut, ..Answer::ok("", tar) }
    });
    Sandbox::new().pull(&reference);

    // Ranges that fail, break off, come from elsewhere or end early, and a whole answer between them.
    let count = AtomicUsize::new(0);
    let (_registry, reference) = serving(move |request, tar, range| {
        if request.headers.get("range").is_some_and(|range| range.ends_with('-')) {
            return part(tar, range.unwrap());
        }
        let count = count.fetch_add(1, Ordering::Relaxed);
        match (range, count) {
            (Some(range), 2) => Answer { cut: Some(1_000_000), ..part(tar, range) },
            (Some(_), 3) => Answer::ok("", tar),
            (Some((first, last)), 4) => part(tar, (first, (last - 1000).max(first))),
            (Some(_), 5) => Answer::status(403),
            (Some(range), _) => part(tar, range),
            (None, _) => Answer::ok("", tar),
        }
    });
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    check(&sandbox, &reference);

    // Bytes of another range are found by the digest.
    let (_registry, reference) = serving(|_, tar, range| {
        let (first, last) = range.unwrap();
        let mut answer = part(tar, (first, last));
        if first == 4 << 20 {
            answer.body[17] ^= 1;
        }
        answer
    });
    let error = Sandbox::new().pull_fails(&reference);
    assert!(error.contains("blob sha256:") && error.contains("expected"), "{error}");
}
