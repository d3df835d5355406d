//! Registries with TLS: certificates of one's own, and of the client's.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::archive::Archive;
use super::peers::{free_port, run};
use super::registry::{Answer, Registry};
use super::sandbox::Sandbox;
use super::store::put_image;

/// Debian's registry with TLS, which wants to see a client's certificate. Ended with the test.
pub struct Hub(Child);

impl Hub {
    pub fn start(sandbox: &Sandbox, port: &str) -> Self {
        let path = sandbox.path.display();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {path}/registry}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n  tls:\n    certificate: {path}/server.crt\n    \
             key: {path}/server.key\n    clientcas: [{path}/certs/ca.crt]\n"
        );
        std::fs::write(sandbox.path.join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(&sandbox.path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hub = Self(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
            assert!(Instant::now() < deadline, "the registry doesn't answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        hub
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It is gone or it goes now; there is nothing to do about either.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn make_certificates(sandbox: &Sandbox) {
    let script = r#"mkdir certs
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
            -keyout ca.key -out certs/ca.crt
        make() {
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$1 -keyout $2.key -out $2.csr
            printf "subjectAltName=IP:127.0.0.1" >ext
            openssl x509 -req -in $2.csr -CA certs/ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $3
        }
        make server server server.crt
        make client certs/client certs/client.cert"#;
    run(sandbox, "sh", &["-euc", script]);
}

#[test]
fn certificates_of_the_registrys_own() {
    let sandbox = Sandbox::new();
    make_certificates(&sandbox);
    let port = free_port();
    let _hub = Hub::start(&sandbox, &port);
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:latest", &[tar], json!({ "Cmd": ["/x"] }));
    let target = format!("127.0.0.1:{port}/x:1");
    let push = ["push", "-q", "x", &target];

    // Nothing is trusted that isn't known, and TLS that fails is not tried again for seconds.
    let error = sandbox.fails(&push);
    assert!(error.contains("certificate") || error.contains("Issuer"), "{error}");
    sandbox.ok(&[&push[..], &["--cert-dir", "certs"]].concat());
    // Where podman looks.
    let usual = sandbox.path.join(format!("home/.config/containers/certs.d/127.0.0.1:{port}"));
    std::fs::create_dir_all(usual.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(sandbox.path.join("certs"), &usual).unwrap();
    sandbox.ok(&["pull", "-q", &target]);

    // The authority alone: the registry wants to see the client's own.
    std::fs::create_dir(sandbox.path.join("partly")).unwrap();
    std::fs::copy(sandbox.path.join("certs/ca.crt"), sandbox.path.join("partly/ca.crt")).unwrap();
    sandbox.fails(&["pull", "-q", &target, "--cert-dir", "partly"]);
    std::fs::copy(sandbox.path.join("certs/client.cert"), sandbox.path.join("partly/c.cert"))
        .unwrap();
    let error = sandbox.fails(&["pull", "-q", &target, "--cert-dir", "partly"]);
    assert!(error.contains("partly/c.cert: has no .key beside it"), "{error}");
    std::fs::write(sandbox.path.join("partly/c.key"), "secret nonsense").unwrap();
    let error = sandbox.fails(&["pull", "-q", &target, "--cert-dir", "partly"]);
    assert!(error.contains("no certificate and key") && !error.contains("secret"), "{error}");
    let error = sandbox.fails(&["pull", "-q", &target, "--cert-dir", "nowhere"]);
    assert!(error.contains("nowhere: No such file"), "{error}");
}

/// A registry with TLS and an image, and the authority to trust in `certs`.
fn with_image(sandbox: &Sandbox) -> Registry {
    make_certificates(sandbox);
    // The authority alone: nobody here wants to see the client's own.
    for name in ["client.cert", "client.key", "client.csr"] {
        let path = sandbox.path.join("certs").join(name);
        std::fs::remove_file(path).unwrap();
    }
    let registry = Registry::start_tls(sandbox);
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    registry
}

fn shown_credentials(registry: &Registry) -> bool {
    registry.requests().iter().any(|request| request.headers.contains_key("authorization"))
}

#[test]
fn certificates_count_unless_they_need_not() {
    let sandbox = Sandbox::new();
    let registry = with_image(&sandbox);
    let reference = format!("{}/x:t", registry.address);
    for strict in [&[][..], &["--tls-verify"], &["--tls-verify=true"]] {
        let arguments = [&["pull", "-q", &reference][..], strict].concat();
        let error = sandbox.fails(&arguments);
        assert!(error.contains("certificate"), "{strict:?}: {error}");
    }
    assert!(registry.requests().is_empty());
    // Whoever it is, it is spoken to by TLS, here with credentials.
    let loose = ["pull", "-q", "--tls-verify=false", "--creds", "user:pass", &reference];
    registry.rule(|request| {
        (!request.headers.contains_key("authorization"))
            .then(|| Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""))
    });
    sandbox.ok(&loose);
    assert!(shown_credentials(&registry));
    sandbox.ok(&["unpack", &reference, "tree"]);
}

#[test]
fn redirects_of_tls_registries() {
    let sandbox = Sandbox::new();
    let registry = with_image(&sandbox);
    let (secure, plain) = (Registry::start_tls(&sandbox), Registry::start());
    secure.rule(|_| None);
    let to = |base: String| {
        registry.rule(move |request| {
            if !request.headers.contains_key("authorization") {
                return Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""));
            }
            let blob = request.path.contains("/blobs/");
            blob.then(|| Answer::status(307).with("Location", &format!("{base}{}", request.path)))
        });
    };
    let reference = format!("{}/x:t", registry.address);
    let pull = ["pull", "-q", "--cert-dir", "certs", "--creds", "user:pass", &reference];
    // From TLS to plain text: refused before anything is sent.
    to(format!("http://{}", plain.address));
    let error = sandbox.fails(&pull);
    assert!(error.contains("redirects to http:, refused"), "{error}");
    assert!(plain.requests().is_empty());
    sandbox.assert_store_is_empty();
    // To what is no HTTP at all.
    to("file:///etc/passwd?".into());
    assert!(sandbox.fails(&pull).contains("redirects to file:, refused"));
    // To another origin with TLS: followed without the credentials.
    secure.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    to(format!("https://{}", secure.address));
    sandbox.ok(&pull);
    assert_eq!(secure.requests().len(), 2, "config and layer");
    assert!(!shown_credentials(&secure));
    sandbox.ok(&["rm", &reference]);
    // To itself: as before.
    registry.rule(|request| {
        if !request.headers.contains_key("authorization") {
            return Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let moved = request.path.replace("/v2/x/blobs/", "/v2/y/blobs/");
        (moved != request.path).then(|| Answer::status(302).with("Location", &moved))
    });
    registry.image("y", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    sandbox.ok(&pull);
}

#[test]
fn nothing_of_a_tls_registry_goes_in_clear_text() {
    let sandbox = Sandbox::new();
    let registry = with_image(&sandbox);
    let plain = Registry::start();
    let realm = format!("Bearer realm=\"http://{}/token\"", plain.address);
    registry.rule(move |_| Some(Answer::status(401).with("WWW-Authenticate", &realm)));
    let reference = format!("{}/x:t", registry.address);
    let how = ["-q", "--cert-dir", "certs", "--creds", "user:pass"];
    let error = sandbox.fails(&[&["pull"][..], &how, &[&reference]].concat());
    assert!(error.contains("a token realm must be https"), "{error}");

    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:latest", &[tar], json!({}));
    let place = format!("http://{}/upload", plain.address);
    registry.rule(move |request| match request.method.as_str() {
        "HEAD" => Some(Answer::status(404)),
        _ => Some(Answer::status(202).with("Location", &place)),
    });
    let error = sandbox.fails(&[&["push"][..], &how, &["x", &reference]].concat());
    assert!(error.contains("a place without TLS, refused"), "{error}");
    assert!(plain.requests().is_empty());
}

#[test]
fn the_systems_authorities_are_trusted() {
    let sandbox = Sandbox::new();
    let registry = with_image(&sandbox);
    let reference = format!("{}/x:t", registry.address);
    let pull = |variable: &str| {
        let mut command = sandbox.command();
        command.args(["pull", "-q", &reference]).env(variable, sandbox.path.join("certs/ca.crt"));
        command.output().unwrap().status.success()
    };
    assert!(!pull("ANYTHING"), "the authority is nobody's");
    assert!(pull("SSL_CERT_FILE"));
}
