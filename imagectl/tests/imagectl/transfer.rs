//! Transfers that break, and what is made of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, Registry};
use super::sandbox::Sandbox;

/// A layer that doesn't compress, so that a cut falls into its data.
pub fn noise() -> String {
    let mut state = 1_u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'0' + u8::try_from(state >> 26).unwrap())
    };
    (0..200_000).map(letter).collect()
}

fn with_image() -> (Registry, Vec<u8>) {
    let registry = Registry::start();
    let tar = Archive::new().file("a", &noise()).tar();
    let blob = super::archive::gzip(&tar);
    registry.image("x", "t", &[tar], json!({}));
    (registry, blob)
}

fn digest(bytes: &[u8]) -> String {
    imagectl::digest::Digest::of(bytes).to_string()
}

#[test]
fn a_broken_blob_is_resumed_where_it_broke() {
    let (registry, blob) = with_image();
    let wanted = digest(&blob);
    let cuts = AtomicUsize::new(0);
    registry.rule(move |request| {
        if !request.path.ends_with(&wanted) {
            return None;
        }
        let from = request.headers.get("range").map_or(0, |range| {
            range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
        });
        let rest = blob[from..].to_vec();
        let cut = (cuts.fetch_add(1, Ordering::Relaxed) < 3).then_some(rest.len().min(30_000));
        let answer = match from {
            0 => Answer::ok("application/octet-stream", &rest),
            _ => Answer::ok("application/octet-stream", &rest)
                .with_status(206)
                .with("Content-Range", &format!("bytes {from}-{}/{}", blob.len() - 1, blob.len())),
        };
        Some(Answer { cut, ..answer })
    });
    let sandbox = Sandbox::new();
    sandbox.pull(&format!("{}/x:t", registry.address));
    let ranges: Vec<_> =
        registry.requests().iter().filter_map(|r| r.headers.get("range").cloned()).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    sandbox.ok(&["unpack", &format!("{}/x:t", registry.address), "tree"]);
    assert_eq!(std::fs::read_to_string(sandbox.path.join("tree/a")).unwrap(), noise());
}

#[test]
fn a_registry_without_ranges_begins_anew() {
    let (registry, blob) = with_image();
    let wanted = digest(&blob);
    let cuts = AtomicUsize::new(0);
    registry.rule(move |request| {
        let cut = (cuts.load(Ordering::Relaxed) < 2).then_some(20_000);
        request.path.ends_with(&wanted).then(|| {
            cuts.fetch_add(1, Ordering::Relaxed);
            Answer { cut, ..Answer::ok("application/octet-stream", &blob) }
        })
    });
    let sandbox = Sandbox::new();
    sandbox.pull(&format!("{}/x:t", registry.address));
}

#[test]
fn a_range_from_elsewhere_is_refused() {
    let (registry, blob) = with_image();
    let wanted = digest(&blob);
    registry.rule(move |request| {
        request.path.ends_with(&wanted).then(|| match request.headers.contains_key("range") {
            false => Answer { cut: Some(20_000), ..Answer::ok("", &blob) },
            true => Answer::ok("", &blob).with_status(206).with("Content-Range", "bytes 5-9/10"),
        })
    });
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("another byte"), "{error}");
}

#[test]
fn a_blob_that_stays_cut_is_an_error() {
    let (registry, blob) = with_image();
    let wanted = digest(&blob);
    registry.rule(move |request| {
        // The size is a lie from the start: the connection ends as it should, only too early.
        let short = || Answer::ok("application/octet-stream", &blob[..blob.len() / 2]);
        request.path.ends_with(&wanted).then(short)
    });
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("size is"), "{error}");
}

#[test]
fn corrupt_bytes_are_told_by_their_digest() {
    let (registry, blob) = with_image();
    let wanted = digest(&blob);
    registry.rule(move |request| {
        let mut corrupt = blob.clone();
        corrupt[1000] ^= 0xff;
        let answer = || Answer::ok("application/octet-stream", &corrupt);
        request.path.ends_with(&wanted).then(answer)
    });
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    // Not what the decoder or the archive made of them.
    assert!(error.contains("blob sha256:") && error.contains("expected"), "{error}");
}

#[test]
fn busy_registries_are_asked_again() {
    let (registry, _) = with_image();
    let refusals = AtomicUsize::new(0);
    registry.rule(move |request| {
        let manifest = request.path.contains("/manifests/");
        match (manifest, refusals.fetch_add(1, Ordering::Relaxed)) {
            (true, 0) => Some(Answer::status(503)),
            (true, 1) => Some(Answer::status(429).with("Retry-After", "0")),
            // The connection ends without a word.
            (true, 2) => Some(Answer::status(0)),
            _ => None,
        }
    });
    let sandbox = Sandbox::new();
    sandbox.pull(&format!("{}/x:t", registry.address));
    assert_eq!(pauses(&registry, "/manifests/").len(), 3, "four requests");
}

/// The pauses between the requests whose path has the word, in milliseconds.
fn pauses(registry: &Registry, word: &str) -> Vec<u128> {
    let requests = registry.requests();
    let times: Vec<_> = requests.iter().filter(|r| r.path.contains(word)).map(|r| r.at).collect();
    times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_millis()).collect()
}

/// No pause is too short; on a busy machine any may be longer.
fn assert_pauses(registry: &Registry, word: &str, expected: &[u128]) {
    let found = pauses(registry, word);
    assert_eq!(found.len(), expected.len(), "{word}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found >= expected, "{word}: {found} for {expected}");
    }
}

#[test]
fn pauses_grow_until_it_is_given_up() {
    let (registry, _) = with_image();
    registry.rule(|request| request.path.contains("/manifests/").then(|| Answer::status(503)));
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("503"), "{error}");
    assert_pauses(&registry, "/manifests/", &[250, 500, 1000, 2000]);
}

#[test]
fn a_registry_says_how_long_it_wants_to_be_left_alone() {
    // Wherever it refuses: the token's realm, the manifest, a blob.
    let (registry, blob) = with_image();
    let layer = digest(&blob);
    let (realm, path) = (format!("http://{}/token", registry.address), layer.clone());
    let refused = std::sync::Mutex::new(std::collections::BTreeSet::new());
    registry.rule(move |request| {
        let kind = ["/token", "/manifests/", path.as_str()];
        let kind = kind.iter().find(|word| request.path.contains(**word));
        let authorized = request.headers.contains_key("authorization");
        if kind != Some(&"/token") && request.path.starts_with("/v2/") && !authorized {
            let challenge = format!("Bearer realm=\"{realm}\"");
            return Some(Answer::status(401).with("WWW-Authenticate", &challenge));
        }
        if kind.is_some_and(|kind| refused.lock().unwrap().insert((*kind).to_owned())) {
            return Some(Answer::status(429).with("Retry-After", "1"));
        }
        let token = || Answer::ok("application/json", br#"{"token":"t"}"#);
        request.path.starts_with("/token").then(token)
    });
    Sandbox::new().pull(&format!("{}/x:t", registry.address));
    assert_pauses(&registry, "/token", &[1000]);
    assert_pauses(&registry, &layer, &[1000]);
    // The first is the one without a token; the second is refused.
    assert_eq!(pauses(&registry, "/manifests/").len(), 2);
    assert!(pauses(&registry, "/manifests/")[1] >= 1000);

    // And where it takes: the upload's beginning.
    let sandbox = Sandbox::new();
    let (open, _) = with_image();
    let reference = format!("{}/x:t", open.address);
    sandbox.pull(&reference);
    let begun = AtomicUsize::new(0);
    let place = format!("http://{}/upload", open.address);
    open.rule(move |request| match request.method.as_str() {
        "HEAD" => Some(Answer::status(404)),
        "POST" if begun.fetch_add(1, Ordering::Relaxed) == 0 => {
            Some(Answer::status(503).with("Retry-After", "1"))
        }
        "POST" => Some(Answer::status(202).with("Location", &place)),
        _ => Some(Answer::status(201)),
    });
    let target = format!("{}/y:t", open.address);
    sandbox.ok(&["push", "-q", "--tls-verify=false", "--parallel=1", &reference, &target]);
    assert!(pauses(&open, "/y/blobs/uploads/")[0] >= 1000);
}

#[test]
fn a_pause_until_a_date_is_kept() {
    let (registry, _) = with_image();
    let refusals = AtomicUsize::new(0);
    let output = std::process::Command::new("date")
        .args(["-u", "-d", "+3 seconds", "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let date = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let until = std::time::Instant::now() + std::time::Duration::from_millis(1900);
    registry.rule(move |request| {
        let first =
            request.path.contains("/manifests/") && refusals.fetch_add(1, Ordering::Relaxed) == 0;
        first.then(|| Answer::status(429).with("Retry-After", &date))
    });
    Sandbox::new().pull(&format!("{}/x:t", registry.address));
    assert!(std::time::Instant::now() > until, "it came before the date");
}

#[test]
fn a_connection_that_stalls_is_given_up() {
    let (registry, blob) = with_image();
    let wanted = digest(&blob);
    let stalls = AtomicUsize::new(0);
    registry.rule(move |request| {
        // Ranges are not kept: what comes again is known already.
        request.path.ends_with(&wanted).then(|| {
            let stall = stalls.fetch_add(1, Ordering::Relaxed) == 0;
            let cut = stall.then_some(30_000);
            Answer { cut, stay: stall, ..Answer::ok("application/octet-stream", &blob) }
        })
    });
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let began = std::time::Instant::now();
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--stall=1", &reference]);
    assert!(began.elapsed().as_secs() < 10);

    // An upload that nobody reads.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}/upload", deaf.local_addr().unwrap());
    registry.rule(move |request| match request.method.as_str() {
        "HEAD" => Some(Answer::status(404)),
        "POST" => Some(Answer::status(202).with("Location", &place)),
        _ => None,
    });
    let target = format!("{}/y:t", registry.address);
    let began = std::time::Instant::now();
    let error =
        sandbox.fails(&["push", "-q", "--tls-verify=false", "--stall=1", &reference, &target]);
    assert!(error.contains("send the blob to"), "{error}");
    assert!(began.elapsed().as_secs() < 60, "each try ends after its deadline");
    assert_eq!(sandbox.run(&["pull", "--stall=0", "x"]).status.code(), Some(2));
}

#[test]
fn refusals_are_not_repeated() {
    let (registry, _) = with_image();
    registry.rule(|request| {
        let body = br#"{"errors":[{"code":"DENIED","message":"go away"}]}"#;
        let denied = || Answer::ok("application/json", body).with_status(403);
        request.path.contains("/manifests/").then(denied)
    });
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("403") && error.contains("DENIED: go away"), "{error}");
    let asked = registry.requests().iter().filter(|r| r.path.contains("/manifests/")).count();
    assert_eq!(asked, 1);
}

#[test]
fn redirects_end_somewhere() {
    let (registry, _) = with_image();
    registry.rule(|request| Some(Answer::status(302).with("Location", &request.path)));
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("more than 10 redirects"), "{error}");
}

#[test]
fn one_failed_layer_fails_the_image_and_keeps_nothing_partial() {
    let registry = Registry::start();
    let good = Archive::new().file("good", "x").tar();
    let bad = Archive::new().file("../bad", "x").tar();
    registry.image("x", "t", &[good, bad], json!({}));
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let error = sandbox.fails(&["pull", "-q", "--tls-verify=false", &reference]);
    assert!(error.contains("../bad"), "{error}");
    assert!(!sandbox.store().join("index.json").exists());
    assert_eq!(super::sandbox::names(&sandbox.store().join("ingest")), [""; 0]);
    // What stays is whole: at most the good layer.
    for layer in super::sandbox::names(&sandbox.store().join("layers")) {
        assert!(sandbox.store().join("layers").join(layer).join("fs/good").exists());
    }
}

#[test]
fn a_missing_image_is_told() {
    let (registry, _) = with_image();
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:nowhere", registry.address));
    assert!(error.contains("404") && error.contains("MANIFEST_UNKNOWN"), "{error}");
}
