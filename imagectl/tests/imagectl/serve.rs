//! The store as a registry.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::{Archive, gzip};
use super::peers::{compare, free_port, run, tree};
use super::sandbox::Sandbox;
use super::store::put_image;

/// `imagectl serve`, ended with the test.
pub struct Serving {
    child: Child,
    pub address: String,
}

impl Serving {
    fn start(sandbox: &Sandbox) -> Self {
        Self::with(sandbox, &[])
    }

    pub fn with(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::at(sandbox, "127.0.0.1:0", arguments)
    }

    pub fn at(sandbox: &Sandbox, address: &str, arguments: &[&str]) -> Self {
        let mut child = sandbox
            .command()
            .args(["serve", "--listen", address])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at ").unwrap().to_owned();
        Self { child, address }
    }

    /// The answer to a request as it is.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let _ = stream.write_all(request.as_bytes());
        // What is no request may be answered by the connection's end, before it is sent in full.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It is gone or it goes now; there is nothing to do about either.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tar() -> Vec<u8> {
    Archive::new().dir("./").dir("d").file("d/a", "hello").tar()
}

fn serving() -> (Sandbox, Serving) {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "docker.io/library/x:1", &[tar()], json!({ "Cmd": ["/x"] }));
    let serving = Serving::start(&sandbox);
    (sandbox, serving)
}

#[test]
fn everybody_pulls_from_it() {
    let (sandbox, serving) = serving();
    sandbox.ok(&["unpack", "x:1", "tree"]);
    let original = tree(&sandbox, "tree");
    let other = Sandbox::new();
    for name in ["library/x:1", "docker.io/library/x:1"] {
        let reference = format!("{}/{name}", serving.address);
        let said = other.pull(&reference);
        let (_, digest) = said.trim().split_once(' ').unwrap();
        let directory = name.replace(['/', ':'], "-");
        other.ok(&["unpack", &reference, &directory]);
        compare("serve", &original, &tree(&other, &directory));
        let by_digest = format!("{}/library/x@{digest}", serving.address);
        other.pull(&by_digest);
    }
    let theirs = format!("docker://{}/library/x:1", serving.address);
    run(&other, "skopeo", &["copy", "-q", "--src-tls-verify=false", &theirs, "dir:skopeo"]);
    run(&other, "skopeo", &["list-tags", "--tls-verify=false", &theirs.replace(":1", "")]);
    // Images that come later are there at once.
    sandbox.ok(&["tag", "x:1", "x:2"]);
    other.pull(&format!("{}/library/x:2", serving.address));
    let missing = other.run(&[
        "pull",
        "-q",
        "--tls-verify=false",
        &format!("{}/library/x:3", serving.address),
    ]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("404"), "{missing:?}");
}

#[test]
fn it_listens_where_it_is_told_to() {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "docker.io/library/x:1", &[tar()], json!({ "Cmd": ["/x"] }));
    for (address, other) in [("127.0.0.2", "127.0.0.1"), ("[::1]", "127.0.0.1")] {
        let serving = Serving::at(&sandbox, &format!("{address}:0"), &["--writable"]);
        let (host, port) = serving.address.rsplit_once(':').unwrap();
        assert_eq!(host, address);
        assert!(TcpStream::connect(format!("{other}:{port}")).is_err(), "{address}: {other} too");
        let client = Sandbox::new();
        let reference = format!("{}/library/x:1", serving.address);
        let said = client.pull(&reference);
        let (_, digest) = said.trim().split_once(' ').unwrap();
        // By tag and digest together; and what is pushed there is pulled from there.
        client.pull(&format!("{reference}@{digest}"));
        let pushed = format!("{}/pushed:2", serving.address);
        client.ok(&["push", "-q", "--tls-verify=false", &reference, &pushed]);
        let third = Sandbox::new();
        assert_eq!(third.pull(&pushed), format!("{pushed} {digest}\n"));
        assert!(sandbox.ok(&["list"]).contains("localhost/pushed:2"));
        // Debian's skopeo takes no address in brackets.
        if !address.starts_with('[') {
            let (theirs, back) = (format!("docker://{pushed}"), format!("{host}:{port}/back:1"));
            let copy = ["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
            run(&client, "skopeo", &[&copy[..], &[&theirs, &format!("docker://{back}")]].concat());
            assert_eq!(third.pull(&back), format!("{back} {digest}\n"));
        }

        // The place is taken.
        let error = sandbox.fails(&["serve", "--listen", &serving.address]);
        let words = format!("imagectl: listen at {}: Address already in use", serving.address);
        assert!(error.starts_with(&words), "{error}");
    }
    // Given outright, as a site that knows its port would.
    let port = free_port();
    let serving = Serving::at(&sandbox, &format!("127.0.0.1:{port}"), &[]);
    assert_eq!(serving.address, format!("127.0.0.1:{port}"));
    for (address, words) in [
        ("127.0.0.1", "listen at 127.0.0.1: "),
        ("127.0.0.1:99999", "listen at 127.0.0.1:99999: "),
        ("192.0.2.1:0", "listen at 192.0.2.1:0: Cannot assign requested address"),
    ] {
        let error = sandbox.fails(&["serve", "--listen", address]);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn answers_follow_the_specification() {
    let (_sandbox, serving) = serving();
    let layer = gzip(&tar());
    let blob = format!("/v2/library/x/blobs/{}", Digest::of(&layer));
    let close = "Connection: close\r\n";
    assert!(serving.get("/v2/", close).starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(serving.get("/v2/library/x/tags/list?n=5", close).contains(r#""tags":["1"]"#));
    assert!(serving.get("/v2/_catalog", close).contains("library/x"));
    let head = serving.ask(&format!("HEAD {blob} HTTP/1.1\r\n{close}\r\n"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", layer.len())), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let part = serving.get(&blob, &format!("Range: bytes=2-3\r\n{close}"));
    assert!(part.starts_with("HTTP/1.1 206 "), "{part}");
    assert!(part.contains(&format!("Content-Range: bytes 2-3/{}\r\n", layer.len())), "{part}");
    let none = serving.get(&blob, &format!("Range: bytes=999999-\r\n{close}"));
    assert!(none.starts_with("HTTP/1.1 416 "), "{none}");
    for path in [
        "/",
        "/v2/nothing/tags/list",
        "/v2/library/x/manifests/nothing",
        "/v2/library/x/manifests/../../../etc/passwd",
        "/v2/library/x/blobs/sha256:../../index.json",
        &format!("/v2/library/x/blobs/sha256:{}", "0".repeat(64)),
        "/v2/../../etc/passwd",
    ] {
        let answer = serving.get(path, close);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let post = serving.ask(&format!("POST /v2/x/blobs/uploads/ HTTP/1.1\r\n{close}\r\n"));
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("Allow: GET, HEAD"), "{post}");
    // What is no request ends the connection, and nothing else.
    serving.ask("nonsense\r\n\r\n");
    serving.ask(&format!("GET /v2/ HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)));
    // Several requests on one connection.
    let two = serving.ask("GET /v2/ HTTP/1.1\r\n\r\nGET /v2/ HTTP/1.1\r\n\r\n");
    assert_eq!(two.matches("HTTP/1.1 200 OK").count(), 2, "{two}");
    assert!(serving.get("/v2/", close).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn lists_come_in_pages() {
    let (sandbox, serving) = serving();
    sandbox.ok(&["tag", "x:1", "x:2", "x:3", "x:10", "y:1"]);
    let close = "Connection: close\r\n";
    let (mut path, mut pages) = ("/v2/library/x/tags/list?n=3".to_owned(), Vec::new());
    loop {
        let answer = serving.get(&path, close);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(value["name"], "library/x");
        pages.push(value["tags"].clone());
        let link = head.lines().find_map(|line| line.strip_prefix("Link: <"));
        let Some((next, relation)) = link.and_then(|link| link.split_once('>')) else { break };
        assert_eq!(relation, "; rel=\"next\"");
        path = next.to_owned();
    }
    assert_eq!(pages, [json!(["1", "10", "2"]), json!(["3"])]);
    let names = serving.get("/v2/_catalog?n=1&last=docker.io/library/x", close);
    assert!(names.contains(r#"{"repositories":["docker.io/library/y"]}"#), "{names}");
    let none = serving.get("/v2/library/x/tags/list?n=0", close);
    assert!(none.contains(r#""tags":[]"#) && !none.contains("Link: "), "{none}");
}
