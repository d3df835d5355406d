//! Credentials: shown to whom they belong, and to nobody else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, Registry, Request};
use super::sandbox::Sandbox;

const PASSWORD: &str = "pass-word-of-the-test";

fn basic() -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("user:{PASSWORD}")))
}

fn authorization(request: &Request) -> Option<&str> {
    request.headers.get("authorization").map(String::as_str)
}

fn with_image() -> Registry {
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    registry
}

fn write_auth(sandbox: &Sandbox, file: &str, host: &str) {
    let path = sandbox.path.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let auth = BASE64_STANDARD.encode(format!("user:{PASSWORD}"));
    std::fs::write(path, json!({ "auths": { host: { "auth": auth } } }).to_string()).unwrap();
}

fn require_basic(registry: &Registry) {
    registry.rule(|request| {
        (authorization(request) != Some(&basic()))
            .then(|| Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""))
    });
}

#[test]
fn basic_from_every_place() {
    let registry = with_image();
    require_basic(&registry);
    let reference = format!("{}/x:t", registry.address);
    let pull = ["pull", "-q", "--tls-verify=false", &reference];

    for file in [
        "home/.docker/config.json",
        "run/containers/auth.json",
        "home/.config/containers/auth.json",
    ] {
        let sandbox = Sandbox::new();
        write_auth(&sandbox, file, &registry.address);
        sandbox.ok(&pull);
    }
    // Docker's oldest file has the entries alone.
    let sandbox = Sandbox::new();
    write_auth(&sandbox, "home/auth.json", &registry.address);
    let file = std::fs::read(sandbox.path.join("home/auth.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    std::fs::write(sandbox.path.join("home/.dockercfg"), file["auths"].to_string()).unwrap();
    sandbox.ok(&pull);
    let sandbox = Sandbox::new();
    write_auth(&sandbox, "elsewhere.json", &registry.address);
    let authfile = sandbox.path.join("elsewhere.json");
    let authfile = authfile.to_str().unwrap();
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--authfile", authfile, &reference]);
    let sandbox = Sandbox::new();
    write_auth(&sandbox, "elsewhere.json", &registry.address);
    let output = sandbox
        .command()
        .args(pull)
        .env("REGISTRY_AUTH_FILE", sandbox.path.join("elsewhere.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let missing =
        sandbox.command().args(pull).env("REGISTRY_AUTH_FILE", "nowhere").output().unwrap();
    let errors = String::from_utf8(missing.stderr).unwrap();
    assert!(errors.contains("credentials from nowhere: No such file"), "{errors}");
    let sandbox = Sandbox::new();
    let creds = format!("user:{PASSWORD}");
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--creds", &creds, &reference]);
}

#[test]
fn refusals_name_the_reason_and_no_secret() {
    let registry = with_image();
    require_basic(&registry);
    let reference = format!("{}/x:t", registry.address);
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&reference);
    assert!(error.contains("401") && error.contains("no credentials"), "{error}");
    let wrong = ["pull", "-q", "--tls-verify=false", "--creds", "user:wrong-secret", &reference];
    let error = sandbox.fails(&wrong);
    assert!(error.contains("401"), "{error}");
    assert!(!error.contains("wrong-secret"), "{error}");
    let path = sandbox.path.join("bad.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"a":{{"auth":"{PASSWORD}"}},}}}}"#)).unwrap();
    let authfile = path.to_str().unwrap();
    let error = sandbox.fails(&["pull", "-q", "--authfile", authfile, &reference]);
    assert!(error.contains("line 1 column") && !error.contains(PASSWORD), "{error}");
}

/// A registry whose tokens come from `realm`.
fn require_bearer(registry: &Registry, realm: String) {
    registry.rule(move |request| {
        if request.path.starts_with("/token") {
            return Some(Answer::ok("application/json", br#"{"token":"tok-en"}"#));
        }
        (authorization(request) != Some("Bearer tok-en")).then(|| {
            let challenge =
                format!("Bearer realm=\"{realm}\",service=\"srv\",scope=\"repository:x:pull\"");
            Answer::status(401).with("WWW-Authenticate", &challenge)
        })
    });
}

#[test]
fn bearer_tokens() {
    let registry = with_image();
    require_bearer(&registry, format!("http://{}/token", registry.address));
    let reference = format!("{}/x:t", registry.address);

    let sandbox = Sandbox::new();
    sandbox.pull(&reference);
    let tokens = |registry: &Registry| {
        let requests = registry.requests();
        requests.into_iter().filter(|r| r.path.starts_with("/token")).collect::<Vec<_>>()
    };
    let asked = tokens(&registry);
    assert_eq!(asked.len(), 1, "one token serves the whole pull");
    assert_eq!(asked[0].path, "/token?service=srv&scope=repository%3Ax%3Apull");
    assert_eq!(authorization(&asked[0]), None, "anonymous");

    let sandbox = Sandbox::new();
    let creds = format!("user:{PASSWORD}");
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--creds", &creds, &reference]);
    assert_eq!(authorization(&tokens(&registry)[1]), Some(basic().as_str()));
}

#[test]
fn a_token_that_runs_out_is_renewed() {
    let registry = with_image();
    let realm = format!("http://{}/token", registry.address);
    // Each token opens one door.
    let (given, taken) =
        (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    registry.rule(move |request| {
        if request.path.starts_with("/token") {
            let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let body = format!("{{\"token\":\"tok-{number}\",\"expires_in\":1}}");
            return Some(Answer::ok("application/json", body.as_bytes()));
        }
        let mut taken = taken.lock().unwrap();
        match authorization(request) {
            Some(token) if !taken.contains(&token.to_owned()) => {
                taken.push(token.to_owned());
                None
            }
            _ => {
                let challenge = format!("Bearer realm=\"{realm}\"");
                Some(Answer::status(401).with("WWW-Authenticate", &challenge))
            }
        }
    });
    Sandbox::new().pull(&format!("{}/x:t", registry.address));
    let tokens = registry.requests().iter().filter(|r| r.path.starts_with("/token")).count();
    assert!(tokens >= 3, "manifest, config and layer: {tokens}");
}

#[test]
fn identity_tokens_are_exchanged() {
    let registry = with_image();
    require_bearer(&registry, format!("http://{}/token", registry.address));
    let sandbox = Sandbox::new();
    let path = sandbox.path.join("auth.json");
    let auths = json!({ "auths": { &registry.address: { "identitytoken": "ref resh" } } });
    std::fs::write(&path, auths.to_string()).unwrap();
    let reference = format!("{}/x:t", registry.address);
    let authfile = path.to_str().unwrap();
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--authfile", authfile, &reference]);
    let posts: Vec<_> = registry.requests().into_iter().filter(|r| r.method == "POST").collect();
    assert_eq!(posts.len(), 1);
    let body = String::from_utf8(posts[0].body.clone()).unwrap();
    assert!(body.contains("grant_type=refresh_token"), "{body}");
    assert!(body.contains("refresh_token=ref+resh"), "{body}");
    assert!(!posts[0].path.contains("resh"), "no secret in a URL");
}

#[test]
fn redirects_to_another_host_carry_no_credentials() {
    let registry = with_image();
    let other = Registry::start();
    let address = other.address.clone();
    registry.rule(move |request| {
        if authorization(request) != Some(&basic()) {
            return Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let blob = request.path.contains("/blobs/");
        let location = format!("http://{address}{}?signature=s3cret", request.path);
        blob.then(|| Answer::status(307).with("Location", &location))
    });
    // As object stores do, it keeps its documents under signed URLs.
    let tar = Archive::new().file("a", "x").tar();
    for blob in [super::archive::gzip(&tar), config_of(&tar)] {
        let digest = imagectl::digest::Digest::of(&blob);
        let path = format!("/v2/x/blobs/{digest}?signature=s3cret");
        other.put(&path, "application/octet-stream", &blob);
    }
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let creds = format!("user:{PASSWORD}");
    sandbox.ok(&["pull", "-q", "--tls-verify=false", "--creds", &creds, &reference]);
    let seen = other.requests();
    assert_eq!(seen.len(), 2, "config and layer came from there");
    assert!(seen.iter().all(|request| authorization(request).is_none()), "{seen:?}");
}

/// The config that [`Registry::image`] makes for one layer.
fn config_of(tar: &[u8]) -> Vec<u8> {
    let diff_id = imagectl::digest::Digest::of(tar).to_string();
    json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff_id] } })
    .to_string()
    .into_bytes()
}

#[test]
fn another_host_cannot_ask_for_the_credentials() {
    let registry = with_image();
    let other = Registry::start();
    let (address, realm) = (other.address.clone(), format!("http://{}/token", other.address));
    registry.rule(move |request| {
        if authorization(request) != Some(&basic()) {
            return Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let location = format!("http://{address}{}", request.path);
        let blob = request.path.contains("/blobs/");
        blob.then(|| Answer::status(307).with("Location", &location))
    });
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let creds = format!("user:{PASSWORD}");
    for challenge in [format!("Bearer realm=\"{realm}\",service=\"s\""), "Basic realm=\"x\"".into()]
    {
        other.rule(move |_| Some(Answer::status(401).with("WWW-Authenticate", &challenge)));
        let error =
            sandbox.fails(&["pull", "-q", "--tls-verify=false", "--creds", &creds, &reference]);
        assert!(error.contains("401") && error.contains(&other.address), "{error}");
    }
    assert!(!other.requests().is_empty());
    assert!(other.requests().iter().all(|request| authorization(request).is_none()));
}

#[test]
fn a_failing_redirect_shows_no_signature() {
    let registry = with_image();
    registry.rule(|request| {
        let blob = request.path.contains("/blobs/");
        // Port 1 answers nobody.
        blob.then(|| Answer::status(307).with("Location", "http://127.0.0.1:1/b?signature=s3cret"))
    });
    let sandbox = Sandbox::new();
    let error = sandbox.pull_fails(&format!("{}/x:t", registry.address));
    assert!(error.contains("127.0.0.1:1") && !error.contains("s3cret"), "{error}");
}

#[test]
fn without_tls_verify_false_nothing_goes_over_plain_http() {
    let registry = with_image();
    let sandbox = Sandbox::new();
    let creds = format!("user:{PASSWORD}");
    let reference = format!("{}/x:t", registry.address);
    sandbox.fails(&["pull", "-q", "--creds", &creds, &reference]);
    sandbox.assert_store_is_empty();
    assert!(registry.requests().iter().all(|request| !request.path.starts_with("/v2")));
}

#[test]
fn a_token_may_run_out_in_the_middle_of_a_blob() {
    let registry = Registry::start();
    let tar = Archive::new().file("a", &super::transfer::noise()).tar();
    let blob = super::archive::gzip(&tar);
    registry.image("x", "t", &[tar], json!({}));
    let layer = imagectl::digest::Digest::of(&blob).to_string();
    let (realm, path) = (format!("http://{}/token", registry.address), layer.clone());
    let half = blob.len() / 2;
    let given = std::sync::atomic::AtomicUsize::new(0);
    // The second token is to be had once the first half of the layer was sent by the first.
    registry.rule(move |request| {
        let number = |by| given.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
        if request.path.starts_with("/token") {
            let body = format!("{{\"token\":\"tok-{}\"}}", number(0));
            return Some(Answer::ok("application/json", body.as_bytes()));
        }
        if authorization(request) != Some(&format!("Bearer tok-{}", number(0))) {
            let challenge = format!("Bearer realm=\"{realm}\"");
            return Some(Answer::status(401).with("WWW-Authenticate", &challenge));
        }
        if !request.path.ends_with(&path) {
            return None;
        }
        match request.headers.get("range") {
            None => {
                number(1);
                Some(Answer { cut: Some(half), ..Answer::ok("", &blob) })
            }
            Some(range) => {
                assert_eq!(*range, format!("bytes={half}-"));
                let all = format!("bytes {half}-{}/{}", blob.len() - 1, blob.len());
                Some(Answer::ok("", &blob[half..]).with_status(206).with("Content-Range", &all))
            }
        }
    });
    Sandbox::new().pull(&format!("{}/x:t", registry.address));
    let asked = registry.requests();
    let statuses = asked.iter().filter(|r| r.path.ends_with(&layer)).count();
    assert_eq!(statuses, 3, "the first half, a 401, and the second half");
    assert_eq!(asked.iter().filter(|r| r.path.starts_with("/token")).count(), 2);
}

#[test]
fn what_is_said_holds_no_secret() {
    let registry = with_image();
    let basic_text = BASE64_STANDARD.encode(format!("user:{PASSWORD}"));
    let realm = format!("http://user:{PASSWORD}@{}/token?secret={PASSWORD}", registry.address);
    let reference = format!("{}/x:t", registry.address);
    let creds = format!("user:{PASSWORD}");
    for (token, status) in [(200, 403), (403, 200), (200, 404)] {
        let realm = realm.clone();
        registry.rule(move |request| {
            if request.path.starts_with("/token") {
                return Some(Answer::ok("", br#"{"token":"tok-en"}"#).with_status(token));
            }
            Some(match authorization(request) {
                Some(_) => Answer::status(status),
                None => {
                    let challenge = format!("Bearer realm=\"{realm}\"");
                    Answer::status(401).with("WWW-Authenticate", &challenge)
                }
            })
        });
        let sandbox = Sandbox::new();
        for command in [&["pull"][..], &["login"], &["copy", "oci:nowhere"]] {
            let target = if command[0] == "login" { &registry.address } else { &reference };
            // What the libraries could tell, were they asked to.
            let output = sandbox
                .command()
                .args(command)
                .args([target, "--tls-verify=false", "--creds", &creds])
                .envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("DEBUG", "1")])
                .output()
                .unwrap();
            assert!(!output.status.success());
            let said = format!("{output:?}");
            for secret in [PASSWORD, "tok-en", &basic_text] {
                assert!(!said.contains(secret), "{command:?} {token} {status}: {said}");
            }
        }
    }
}
