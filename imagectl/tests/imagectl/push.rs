//! Bringing images to registries.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::archive::Archive;
use super::peers::{Hub, compare, free_port, run, tree};
use super::registry::{Answer, Registry, Request};
use super::sandbox::Sandbox;
use super::store::put_image;

pub fn big() -> Vec<u8> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..18_000_000).map(|_| byte()).collect();
    Archive::new().entry(b'0', "big", "", &bytes).tar()
}

#[test]
fn what_is_pushed_is_pulled_by_everybody() {
    let sandbox = Sandbox::new();
    let tars = [big(), Archive::new().dir("./").dir("d").file("d/a", "x").tar()];
    put_image(&sandbox, "docker.io/library/x:latest", &tars, json!({ "Cmd": ["/x"] }));
    let port = free_port();
    let _hub = Hub::empty(&sandbox, &port);
    let target = format!("127.0.0.1:{port}/some/x:1");
    let push = |arguments: &[&str]| {
        let output = sandbox.run(&[&["push", "--tls-verify=false"], arguments].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        (String::from_utf8(output.stdout).unwrap(), errors)
    };
    let (said, progress) = push(&["x", &target]);
    assert!(said.starts_with(&format!("{target} sha256:")), "{said}");
    assert_eq!(progress.matches(" pushed, ").count(), 3, "{progress}");
    let (_, again) = push(&["x", &target]);
    assert_eq!(again.matches(" is there, ").count(), 3, "{again}");

    let other = Sandbox::new();
    assert_eq!(other.pull(&target), said, "the manifest is the same");
    sandbox.ok(&["unpack", "x", "tree"]);
    other.ok(&["unpack", &target, "tree"]);
    compare("push", &tree(&sandbox, "tree"), &tree(&other, "tree"));
    let theirs = format!("docker://{target}");
    run(&sandbox, "skopeo", &["copy", "-q", "--src-tls-verify=false", &theirs, "dir:skopeo"]);

    // Another repository of the registry has the layers: nothing is sent.
    let second = format!("127.0.0.1:{port}/other/y:2");
    let output = other.run(&["push", "--tls-verify=false", &target, &second]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.matches(" mounted, ").count() == 3, "{errors}");
    let third = Sandbox::new();
    third.pull(&second);

    // Past the store.
    let copied = format!("127.0.0.1:{port}/copied:3");
    let fourth = Sandbox::new();
    for (from, to) in [
        (second.as_str(), copied.as_str()),
        (&format!("docker://{copied}"), "oci:layout"),
        ("oci:layout", "docker-archive:d.tar"),
        ("docker-archive:d.tar", "oci-archive:o.tar"),
        ("oci-archive:o.tar", &format!("docker://{copied}")),
    ] {
        fourth.ok(&["copy", "-q", "--tls-verify=false", from, to]);
    }
    assert_eq!(fourth.ok(&["list"]).lines().count(), 1);
    assert_eq!(super::sandbox::names(&fourth.store().join("blobs/sha256")), [""; 0]);
    fourth.pull(&copied);
    fourth.ok(&["unpack", &copied, "tree"]);
    compare("copy", &tree(&sandbox, "tree"), &tree(&fourth, "tree"));
    assert!(fourth.fails(&["copy", "-q", "oci:layout", "oci:layout"]).contains("File exists"));
}

#[test]
fn uploads_begin_with_a_token_for_pushing() {
    let sandbox = Sandbox::new();
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:latest", &[tar], json!({ "Cmd": ["/x"] }));
    let registry = Registry::start();
    let (elsewhere, realm) = (Registry::start(), format!("http://{}/token", registry.address));
    let place = format!("http://{}/upload?state=secret", elsewhere.address);
    let busy = AtomicBool::new(true);
    registry.rule(move |request| {
        if request.path.starts_with("/token") {
            return Some(Answer::ok("application/json", br#"{"token":"tok-en"}"#));
        }
        if request.headers.get("authorization").is_none_or(|value| value != "Bearer tok-en") {
            let challenge = format!("Bearer realm=\"{realm}\",scope=\"repository:x:pull\"");
            return Some(Answer::status(401).with("WWW-Authenticate", &challenge));
        }
        match request.method.as_str() {
            "POST" => Some(Answer::status(202).with("Location", &place)),
            "PUT" if busy.swap(false, Ordering::Relaxed) => Some(Answer::status(503)),
            "PUT" => Some(Answer::status(201)),
            _ => None,
        }
    });
    elsewhere.rule(|_| Some(Answer::status(201)));
    let target = format!("{}/x:t", registry.address);
    sandbox.ok(&["push", "-q", "--tls-verify=false", "x", &target]);
    let token = registry.requests().into_iter().find(|r| r.path.starts_with("/token")).unwrap();
    assert!(token.path.contains("scope=repository%3Ax%3Apull%2Cpush"), "{}", token.path);
    // Another host gets the blobs that it is to have, and no token.
    let sent = elsewhere.requests();
    let puts: Vec<_> = sent.iter().filter(|r| r.method == "PUT").collect();
    assert_eq!(puts.len(), 2);
    for put in puts {
        assert!(put.path.starts_with("/upload?state=secret&digest=sha256%3A"), "{}", put.path);
        assert!(!put.headers.contains_key("authorization"));
    }
    let last = registry.requests().last().unwrap().clone();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("PUT", "/v2/x/manifests/t"));

    elsewhere.rule(|_| Some(Answer::status(507)));
    let error = sandbox.fails(&["push", "-q", "--tls-verify=false", "x", &target]);
    assert!(error.contains("send the blob to") && error.contains("507"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn what_can_not_be_pushed() {
    let sandbox = Sandbox::new();
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:latest", &[tar], json!({ "Cmd": ["/x"] }));
    assert!(sandbox.fails(&["push", "y"]).contains("not in the store"));
    let wrong = format!("localhost:1/x@sha256:{}", "0".repeat(64));
    assert!(sandbox.fails(&["push", "x", &wrong]).contains("digest is"));
    let blobs = sandbox.store().join("blobs/sha256");
    let layer = super::archive::gzip(&Archive::new().file("a", "x").tar());
    std::fs::remove_file(blobs.join(imagectl::digest::Digest::of(&layer).hex())).unwrap();
    let error = sandbox.fails(&["push", "x", "localhost:1/x"]);
    assert!(error.contains("is not in the store; pull the image again"), "{error}");
}

/// What a registry that takes uploads knows: the bytes so far, whether it has the whole, and what it saw.
#[derive(Default)]
struct Uploads {
    bytes: Vec<u8>,
    whole: Vec<String>,
    begun: usize,
    open: bool,
}

/// A registry that takes blobs by the specification. `breaks` may answer a piece in its own way, and says
/// how much of it was taken.
fn taking(
    breaks: impl Fn(&Request, usize) -> Option<(usize, Answer)> + Send + 'static,
) -> (Registry, Arc<Mutex<Uploads>>) {
    let registry = Registry::start();
    let uploads = Arc::new(Mutex::new(Uploads::default()));
    let (state, pieces) = (Arc::clone(&uploads), AtomicUsize::new(0));
    registry.rule(move |request| {
        let mut state = state.lock().unwrap();
        let place = |answer: Answer| answer.with("Location", "/v2/x/blobs/uploads/1?state=a");
        let so_far = |length: usize| format!("0-{}", length.saturating_sub(1));
        let upload = request.path.starts_with("/v2/x/blobs/uploads/1");
        Some(match request.method.as_str() {
            "HEAD" => {
                let there = state.whole.iter().any(|digest| request.path.ends_with(digest));
                Answer::status(if there { 200 } else { 404 })
            }
            "POST" => {
                state.bytes.clear();
                state.begun += 1;
                state.open = true;
                place(Answer::status(202).with("OCI-Chunk-Min-Length", "9000000"))
            }
            "GET" if upload && !state.open => Answer::status(404),
            "GET" if upload => place(Answer::status(204)).with("Range", &so_far(state.bytes.len())),
            "PATCH" | "PUT" if upload => {
                let range = request.headers.get("content-range");
                let from = range.and_then(|range| range.split('-').next()?.parse().ok());
                if from.is_some_and(|from: usize| from != state.bytes.len()) {
                    return Some(Answer::status(416));
                }
                let number = pieces.fetch_add(1, Ordering::Relaxed);
                if let Some((taken, answer)) = breaks(request, number) {
                    state.bytes.extend_from_slice(&request.body[..taken]);
                    if let Some((_, digest)) = request.path.split_once("sha256%3A")
                        && taken > 0
                    {
                        state.whole.push(digest.to_owned());
                        state.open = false;
                    }
                    return Some(answer);
                }
                state.bytes.extend_from_slice(&request.body);
                match request.path.split_once("sha256%3A") {
                    Some((_, digest)) => {
                        let found = imagectl::digest::Digest::of(&state.bytes).hex();
                        assert_eq!(found, digest, "the bytes that were named");
                        state.whole.push(found);
                        state.open = false;
                        Answer::status(201)
                    }
                    None => place(Answer::status(202)),
                }
            }
            _ => Answer::status(201),
        })
    });
    (registry, uploads)
}

#[test]
fn an_upload_goes_on_where_it_broke() {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "docker.io/library/x:latest", &[big()], json!({}));
    let broken = || Answer::status(0);
    for (name, pieces) in [
        // Half of the first piece came; the second came, but its answer got lost; a busy moment.
        (
            "pieces",
            vec![(0, 4_000_000, broken()), (1, 9_000_000, broken()), (3, 0, Answer::status(503))],
        ),
        // The registry has forgotten the upload: it begins anew.
        ("forgotten", vec![(1, 0, Answer::status(404))]),
    ] {
        let (registry, uploads) = taking(move |request, number| {
            let found = pieces.iter().find(|(at, ..)| *at == number)?;
            Some((found.1.min(request.body.len()), found.2.clone()))
        });
        let target = format!("{}/x:t", registry.address);
        sandbox.ok(&["push", "-q", "--parallel", "1", "--tls-verify=false", "x", &target]);
        let uploads = uploads.lock().unwrap();
        assert_eq!(uploads.whole.len(), 2, "{name}: layer and config");
        assert_eq!(uploads.begun, 2, "{name}");
        let requests = registry.requests();
        let patch = requests.iter().find(|request| request.method == "PATCH").unwrap();
        assert_eq!(patch.body.len(), 9_000_000, "as large as the registry wants them");
    }
}

#[test]
fn a_lost_answer_to_the_last_piece_is_no_failure() {
    let sandbox = Sandbox::new();
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:latest", &[tar], json!({}));
    let (registry, uploads) =
        taking(|request, number| (number == 0).then_some((request.body.len(), Answer::status(0))));
    let target = format!("{}/x:t", registry.address);
    sandbox.ok(&["push", "-q", "--parallel", "1", "--tls-verify=false", "x", &target]);
    assert_eq!(uploads.lock().unwrap().whole.len(), 2);
    // One that never takes it is given up, and what failed is told by registry, repository and digest.
    let (registry, _) = taking(|_, _| Some((0, Answer::status(503))));
    let target = format!("{}/x:t", registry.address);
    let error =
        sandbox.fails(&["push", "-q", "--parallel", "1", "--tls-verify=false", "x", &target]);
    let layer = error.contains(&format!("image {target}, layer sha256:"));
    assert!(
        layer && error.contains("send the blob to http://") && error.contains("503"),
        "{error}"
    );
}
