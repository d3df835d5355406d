//! What commands that ended early leave, and what later ones make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::{Archive, gzip};
use super::registry::{Answer, Registry};
use super::sandbox::{Sandbox, names};
use super::transfer::noise;

/// A registry that serves ranges, and whose layer stops in the middle while `broken`.
fn breaking() -> (Registry, Vec<u8>, Arc<AtomicBool>) {
    let registry = Registry::start();
    let tar = Archive::new().file("a", &noise()).tar();
    let blob = gzip(&tar);
    registry.image("x", "t", &[tar], json!({ "Cmd": ["/x"] }));
    let broken = Arc::new(AtomicBool::new(true));
    let (served, breaks, path) = (blob.clone(), Arc::clone(&broken), Digest::of(&blob).to_string());
    registry.rule(move |request| {
        if !request.path.ends_with(&path) {
            return None;
        }
        let range = request.headers.get("range").and_then(|r| r.strip_prefix("bytes="));
        let from = range.map_or(0, |r| r.trim_end_matches('-').parse().unwrap());
        let whole = Answer::ok("", &served[from..]);
        let range = format!("bytes {from}-{}/{}", served.len() - 1, served.len());
        let answer = match from {
            0 => whole,
            _ => whole.with_status(206).with("Content-Range", &range),
        };
        let breaks = breaks.load(Ordering::Relaxed);
        Some(Answer { cut: breaks.then_some(50_000), stay: breaks, ..answer })
    });
    (registry, blob, broken)
}

/// Pulls until the layer's first bytes are there, then ends the pull by the signal.
fn interrupted_pull(sandbox: &Sandbox, reference: &str, signal: rustix::process::Signal) {
    let mut child = sandbox
        .command()
        .args(["pull", "-q", "--tls-verify=false", reference])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let partial = sandbox.store().join("partial");
    let size = || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        files.map(|entry| entry.metadata().unwrap().len()).sum::<u64>()
    };
    while size() < 40_000 {
        assert!(Instant::now() < deadline, "the layer doesn't come");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_later_pull_goes_on_where_one_was_ended() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::KILL] {
        let (registry, blob, broken) = breaking();
        let sandbox = Sandbox::new();
        let reference = format!("{}/x:t", registry.address);
        interrupted_pull(&sandbox, &reference, signal);
        let partial = sandbox.store().join("partial").join(Digest::of(&blob).hex());
        let length = std::fs::metadata(&partial).unwrap().len();
        broken.store(false, Ordering::Relaxed);
        sandbox.pull(&reference);
        let last = registry.requests().last().unwrap().clone();
        assert_eq!(last.headers.get("range"), Some(&format!("bytes={length}-")));
        assert!(!partial.exists());
        sandbox.ok(&["unpack", &reference, "tree"]);
        let content = std::fs::read_to_string(sandbox.path.join("tree/a")).unwrap();
        assert_eq!(content, noise());
        assert_eq!(names(&sandbox.store().join("ingest")), [""; 0]);
    }
}

#[test]
fn a_wrong_beginning_is_thrown_away() {
    let (registry, blob, broken) = breaking();
    broken.store(false, Ordering::Relaxed);
    let sandbox = Sandbox::new();
    sandbox.ok(&["list"]);
    let partial = sandbox.store().join("partial").join(Digest::of(&blob).hex());
    let reference = format!("{}/x:t", registry.address);
    for beginning in [vec![0; 1000], vec![0; blob.len()], vec![0; blob.len() + 1]] {
        std::fs::write(&partial, &beginning).unwrap();
        sandbox.pull(&reference);
        assert!(!partial.exists());
        sandbox.ok(&["rm", &reference]);
    }
    // Whole already, but for its name.
    std::fs::write(&partial, &blob).unwrap();
    let asked = registry.requests().len();
    sandbox.pull(&reference);
    let path = Digest::of(&blob).to_string();
    assert!(!registry.requests()[asked..].iter().any(|request| request.path.ends_with(&path)));
}

#[test]
fn a_corrupt_stored_blob_is_fetched_again() {
    let (registry, blob, broken) = breaking();
    broken.store(false, Ordering::Relaxed);
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    let stored = sandbox.store().join("blobs/sha256");
    let layers = sandbox.store().join("layers");
    for name in names(&stored) {
        let path = stored.join(&name);
        let right = std::fs::read(&path).unwrap();
        let mut wrong = right.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 0xff;
        std::fs::write(&path, wrong).unwrap();
        // The layer must be unpacked again, and its blob is found to be wrong.
        std::fs::remove_dir_all(layers.join(&names(&layers)[0])).unwrap();
        sandbox.pull(&reference);
        assert!(std::fs::read(&path).unwrap() == right, "{name} is right again");
    }
    assert!(stored.join(Digest::of(&blob).hex()).exists());
}

#[test]
fn layers_of_an_earlier_boot_are_unpacked_again() {
    let (registry, _, broken) = breaking();
    broken.store(false, Ordering::Relaxed);
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    let layers = sandbox.store().join("layers");
    let layer = layers.join(&names(&layers)[0]);
    let age = || {
        // As a power cut might have left it.
        let record = std::fs::read_to_string(layer.join("layer.json")).unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(record.contains(boot.trim()), "{record}");
        let record = record.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
        std::fs::write(layer.join("layer.json"), record).unwrap();
        std::fs::write(layer.join("fs/a"), "").unwrap();
    };
    age();
    let asked = registry.requests().len();
    sandbox.pull(&reference);
    assert!(!registry.requests()[asked..].iter().any(|request| request.path.contains("/blobs/")));
    assert_eq!(std::fs::read_to_string(layer.join("fs/a")).unwrap(), noise());
    age();
    let shown = sandbox.script(&format!(
        "$imagectl bundle {reference} b >/dev/null; wc -c <b/rootfs/a; $imagectl unbundle b >/dev/null"
    ));
    assert_eq!(shown.trim(), noise().len().to_string());
    assert_eq!(names(&sandbox.store().join("ingest")), [""; 0]);
}

#[test]
fn a_registry_that_is_only_starting_is_asked_again() {
    // A port that nobody listens at yet.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let (sandbox, later) = (Sandbox::new(), address.clone());
    let starting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        let registry = Registry::start_at(&later);
        registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    });
    sandbox.pull(&format!("{address}/x:t"));
    starting.join().unwrap();
}

#[test]
fn a_token_that_fails_for_a_moment_is_asked_for_again() {
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let realm = format!("http://{}/token", registry.address);
    let failed = AtomicBool::new(false);
    registry.rule(move |request| {
        if request.path.starts_with("/token") {
            return Some(match failed.swap(true, Ordering::Relaxed) {
                false => Answer::status(503),
                true => Answer::ok("application/json", br#"{"token":"tok-en"}"#),
            });
        }
        let authorized = request.headers.get("authorization").is_some_and(|a| a == "Bearer tok-en");
        let challenge =
            || Answer::status(401).with("WWW-Authenticate", &format!("Bearer realm=\"{realm}\""));
        (!authorized).then(challenge)
    });
    Sandbox::new().pull(&format!("{}/x:t", registry.address));
}
