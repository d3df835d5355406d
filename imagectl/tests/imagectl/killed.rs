//! Commands killed at any moment, and commands beside each other.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::{Archive, gzip};
use super::registry::{Answer, Registry};
use super::sandbox::{Sandbox, names};
use super::transfer::noise;

fn tars() -> Vec<Vec<u8>> {
    (0..3)
        .map(|layer| {
            let files = Archive::new().dir("./").file(&format!("noise{layer}"), &noise());
            (0..100).fold(files, |archive, at| archive.file(&format!("{layer}-{at}"), "x")).tar()
        })
        .collect()
}

/// Every blob is what its name says, and what commands left behind goes with the next one.
fn check(sandbox: &Sandbox) {
    let blobs = sandbox.store().join("blobs/sha256");
    for name in std::fs::read_dir(&blobs).into_iter().flatten() {
        let path = name.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // An unfinished write is no blob, and gc takes it along.
        if !name.ends_with(".tmp") {
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()).hex(), name);
        }
    }
    sandbox.ok(&["verify"]);
    assert_eq!(names(&sandbox.store().join("ingest")), [""; 0]);
}

/// Runs the command and kills it after a while; says whether that came too late.
fn kill(sandbox: &Sandbox, arguments: &[&str], after: Duration) -> bool {
    let mut command = sandbox.command();
    let command = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap().success()
}

#[test]
fn a_store_survives_kills_at_any_moment() {
    let registry = Registry::start();
    registry.image("x", "t", &tars(), json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let archived = Sandbox::new();
    archived.pull(&reference);
    archived.ok(&["save", "-o", "x.tar", &reference]);
    let archive = archived.path.join("x.tar");
    let archive = archive.to_str().unwrap();

    let mut state = 2_463_534_242_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let began = Instant::now();
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    let whole = began.elapsed().as_millis();
    let (mut early, mut late) = (0, 0);
    for round in 0..24 {
        let sandbox = Sandbox::new();
        let after = u64::from(random()) % u64::try_from(whole * 5 / 4).unwrap();
        let pull = ["pull", "-q", "--tls-verify=false", &reference];
        let arguments = match round % 3 {
            2 => &["load", "-i", archive][..],
            _ => &pull,
        };
        match kill(&sandbox, arguments, Duration::from_millis(after)) {
            true => late += 1,
            false => early += 1,
        }
        check(&sandbox);
        if round % 2 == 1 {
            kill(&sandbox, &["gc"], Duration::from_millis(after / 8));
            check(&sandbox);
        }
        sandbox.pull(&reference);
        check(&sandbox);
        sandbox.ok(&["unpack", &reference, "tree"]);
        assert_eq!(names(&sandbox.path.join("tree")).len(), 303);
        sandbox.ok(&["gc"]);
        assert_eq!(names(&sandbox.store().join("partial")), [""; 0]);
        assert_eq!(names(&sandbox.store().join("blobs/sha256")).len(), 5);
    }
    assert!(early > 4, "{early} kills came in time, {late} too late");
}

/// Kills each command that makes something at some moments of its life; what it left is either whole or
/// goes, and the same command succeeds afterwards.
#[test]
fn bundles_commits_and_imports_survive_kills() {
    let registry = Registry::start();
    registry.image("x", "t", &tars(), json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    sandbox.ok(&["unpack", &reference, "tree"]);
    sandbox.ok(&["bundle", "--copy", &reference, "changed"]);
    std::fs::write(sandbox.path.join("changed/rootfs/new"), noise()).unwrap();
    let at = sandbox.path.join("b");
    let commands: [&[&str]; 4] = [
        &["bundle", "--copy", &reference, "b"],
        &["bundle", &reference, "b"],
        &["commit", "changed", "y"],
        &["import", "tree", "y", "--cmd", "/x"],
    ];
    let blobs = names(&sandbox.store().join("blobs/sha256"));
    let mut early = 0;
    for command in commands {
        let undo = || {
            if at.join("imagectl.json").exists() {
                sandbox.ok(&["unbundle", "b"]);
            } else if at.exists() {
                // Killed before it said whose it is: it holds nothing yet.
                assert!(names(&at).iter().all(|name| name.ends_with(".tmp")), "{:?}", names(&at));
                std::fs::remove_dir_all(&at).unwrap();
            }
            assert!(!at.exists());
            if sandbox.ok(&["list"]).contains("library/y:latest") {
                sandbox.ok(&["unpack", "y", "whole"]);
                assert!(names(&sandbox.path.join("whole")).len() >= 303, "{command:?}");
                std::fs::remove_dir_all(sandbox.path.join("whole")).unwrap();
                sandbox.ok(&["rm", "y"]);
            }
        };
        let began = Instant::now();
        sandbox.ok(command);
        let whole = began.elapsed();
        undo();
        for round in 0..5 {
            early += u32::from(!kill(&sandbox, command, whole * round / 4));
            check(&sandbox);
            undo();
            sandbox.ok(command);
            undo();
            sandbox.ok(&["gc"]);
            assert_eq!(names(&sandbox.store().join("blobs/sha256")), blobs, "{command:?}");
            assert_eq!(names(&sandbox.store().join("bundles")), [""; 0], "{command:?}");
        }
    }
    assert!(early > 4, "{early} kills came in time");
}

#[test]
fn garbage_is_not_collected_under_a_pull() {
    let registry = Registry::start();
    let tar = Archive::new().file("a", &noise()).tar();
    let blob = gzip(&tar);
    registry.image("x", "t", &[tar], json!({ "Cmd": ["/x"] }));
    registry.image("y", "t", &[Archive::new().file("y", "y").tar()], json!({ "Cmd": ["/y"] }));
    let path = Digest::of(&blob).to_string();
    let stalls = AtomicBool::new(true);
    let served = blob.clone();
    registry.rule(move |request| {
        request.path.ends_with(&path).then(|| {
            let stall = stalls.swap(false, Ordering::Relaxed);
            Answer { cut: stall.then_some(50_000), stay: stall, ..Answer::ok("", &served) }
        })
    });
    let sandbox = Sandbox::new();
    sandbox.pull(&format!("{}/y:t", registry.address));
    let reference = format!("{}/x:t", registry.address);
    let mut pull = sandbox
        .command()
        .args(["pull", "-q", "--tls-verify=false", "--stall=3", &reference])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let partial = sandbox.store().join("partial").join(Digest::of(&blob).hex());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::metadata(&partial).is_ok_and(|metadata| metadata.len() > 40_000) {
        assert!(Instant::now() < deadline, "the layer doesn't come");
        std::thread::sleep(Duration::from_millis(10));
    }
    let error = sandbox.fails(&["gc"]);
    assert!(error.contains("another imagectl is at work"), "{error}");
    let said = sandbox.ok(&["rm", &format!("{}/y:t", registry.address)]);
    assert!(said.contains("another imagectl is at work"), "{said}");
    assert!(partial.exists());
    assert!(pull.wait().unwrap().success());
    sandbox.ok(&["gc"]);
    sandbox.ok(&["unpack", &reference, "tree"]);
    assert_eq!(names(&sandbox.store().join("blobs/sha256")).len(), 3, "the other image's are gone");
}

#[test]
fn a_pull_waits_for_another_that_brings_the_blob_but_not_for_ever() {
    let registry = Registry::start();
    let tar = Archive::new().file("a", &noise()).tar();
    let blob = gzip(&tar);
    registry.image("x", "t", &[tar], json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let sandbox = Sandbox::new();
    sandbox.ok(&["list"]);
    // Somebody who holds it and does nothing.
    let partial = sandbox.store().join("partial").join(Digest::of(&blob).hex());
    let held = std::fs::File::create(&partial).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let began = Instant::now();
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--stall=2", &reference]);
    assert!(began.elapsed() > Duration::from_millis(1900));
    sandbox.ok(&["unpack", &reference, "tree"]);
}

/// Commands that unpack what the store has as blobs alone, with the arguments behind the image.
const UNPACKING: [&str; 3] = ["pull -q --tls-verify=false", "load layout --name x", "mount"];

/// An image whose layers are not unpacked; its layout is there too, and the layers beside the store.
fn not_unpacked(registry: &Registry) -> (Sandbox, String, std::path::PathBuf) {
    let tar = Archive::new().file("a", "x").tar();
    registry.image("x", "t", std::slice::from_ref(&tar), json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    sandbox.ok(&["save", "--format", "oci-dir", "-o", "layout", &reference]);
    std::fs::rename(sandbox.store().join("layers"), sandbox.path.join("layers")).unwrap();
    std::fs::create_dir(sandbox.store().join("layers")).unwrap();
    let blob = sandbox.store().join("blobs/sha256").join(Digest::of(&gzip(&tar)).hex());
    (sandbox, reference, blob)
}

#[test]
fn a_layer_is_unpacked_once_by_commands_beside_each_other() {
    let registry = Registry::start();
    for command in UNPACKING {
        let (sandbox, reference, blob) = not_unpacked(&registry);
        // The script is the first to unpack: it has the lock, and makes the layer after a while.
        let said = sandbox.script(&format!(
            "image={reference}; test '{command}' != '{load}' || image=
             exec 9<{blob}; flock -x 9; $imagectl {command} $image >said 2>&1 9<&- & pid=$!
             sleep 0.5; kill -0 $pid; ls -A store/layers store/ingest/*
             layer=$(ls layers); touch layers/$layer/fs/firsts; mv layers/$layer store/layers
             exec 9<&-; wait $pid || cat said; ls store/layers/*/fs",
            load = UNPACKING[1],
            blob = blob.display(),
        ));
        assert!(said.ends_with("a\nfirsts\n"), "{command}: {said}");
        assert!(!said.contains("layer-"), "{command}: {said}");
    }
}

#[test]
fn who_waits_for_a_layer_unpacks_it_when_the_first_is_killed() {
    let registry = Registry::start();
    for command in UNPACKING {
        let (sandbox, reference, blob) = not_unpacked(&registry);
        let said = sandbox.script(&format!(
            "image={reference}; test '{command}' != '{load}' || image=
             flock -x {blob} sh -c 'echo $$ >first; exec sleep 60' & until test -s first; do sleep 0.02; done
             $imagectl {command} $image >said 2>&1 & pid=$!; sleep 0.3; kill -0 $pid
             kill -9 $(cat first); wait $pid || cat said; ls store/layers/*/fs",
            load = UNPACKING[1],
            blob = blob.display(),
        ));
        assert_eq!(said, "a\n", "{command}");
    }
}

#[test]
fn what_fails_to_load_leaves_nothing() {
    let registry = Registry::start();
    registry.image("x", "t", &tars(), json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    for (format, name) in
        [("oci-dir", "dir"), ("docker-archive", "d.tar"), ("oci-archive", "o.tar")]
    {
        sandbox.ok(&["save", "--format", format, "-o", name, &reference]);
    }
    let path = |name: &str| sandbox.path.join(name).to_str().unwrap().to_owned();
    // The last layer's content is another's, and every digest but that is right.
    let failing = |place: &str, limit: &[&str]| {
        let other = Sandbox::new();
        let error = other.fails(&[&["load", &path(place)], limit].concat());
        for directory in ["blobs/sha256", "layers", "ingest", "partial"] {
            assert_eq!(
                names(&other.store().join(directory)),
                [""; 0],
                "{place}: {directory}: {error}"
            );
        }
        error
    };
    for place in ["dir", "d.tar", "o.tar"] {
        assert!(failing(place, &["--max-entries", "150"]).contains("more than 150"), "{place}");
    }
    // What an image of the store needs stays, though the failed load wrote it too.
    let other = Sandbox::new();
    other.ok(&["load", &path("dir")]);
    let before = names(&other.store().join("blobs/sha256"));
    let name = before.iter().find(|name| {
        std::fs::metadata(other.store().join("blobs/sha256").join(name)).unwrap().len() > 50_000
    });
    std::fs::remove_file(other.store().join("blobs/sha256").join(name.unwrap())).unwrap();
    std::fs::remove_dir_all(other.store().join("layers")).unwrap();
    other.fails(&["load", "--max-entries", "150", &path("dir")]);
    assert_eq!(names(&other.store().join("blobs/sha256")), before);

    // Imports: a tarball that is none, and one that may not be.
    let other = Sandbox::new();
    std::fs::write(other.path.join("bad.tar"), vec![7; 5000]).unwrap();
    std::fs::write(other.path.join("evil.tar"), Archive::new().file("../x", "x").tar()).unwrap();
    for name in ["bad.tar", "evil.tar"] {
        other.fails(&["import", name, "localhost/x"]);
        other.assert_store_is_empty();
    }
}
