//! Pushing to the store as a registry: by the specification, and by everybody's clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use imagectl::digest::Digest;
use serde_json::{Value, json};

use super::archive::{Archive, gzip};
use super::peers::{compare, run, tree};
use super::registry::{CONFIG, INDEX, LAYER, MANIFEST};
use super::sandbox::{Sandbox, names};
use super::serve::Serving;
use super::store::put_image;

/// One connection, so that what one request leaves unread would spoil the next.
struct Client(BufReader<TcpStream>);

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

impl Client {
    fn connect(serving: &Serving) -> Self {
        Self(BufReader::new(TcpStream::connect(&serving.address).unwrap()))
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.0.get_ref().write_all(&[head.as_bytes(), body].concat()).unwrap();
        self.reply(method)
    }

    fn reply(&mut self, method: &str) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "{method}: {head:?}");
        }
        let mut reply = Reply { status: head[9..12].parse().unwrap(), head, body: String::new() };
        let length = reply.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.0.read_exact(&mut body).unwrap();
        reply.body = String::from_utf8_lossy(&body).into_owned();
        reply
    }

    /// Sends a blob at once and gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        let path = format!("/v2/x/blobs/uploads/?digest={digest}");
        assert_eq!(self.ask("POST", &path, "", bytes).status, 201);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }
}

fn writable() -> (Sandbox, Serving) {
    let sandbox = Sandbox::new();
    let serving = Serving::with(&sandbox, &["--writable"]);
    (sandbox, serving)
}

#[test]
fn pushes_follow_the_specification() {
    let (sandbox, serving) = writable();
    let mut client = Client::connect(&serving);
    let layer = gzip(&Archive::new().file("a", "hello").tar());
    let digest = Digest::of(&layer);

    // In chunks.
    let begun = client.ask("POST", "/v2/x/blobs/uploads/", "", b"");
    assert_eq!(begun.status, 202);
    let place = begun.header("Location").unwrap().to_owned();
    let (one, two) = layer.split_at(10);
    let sent = client.ask("PATCH", &place, "Content-Range: 0-9\r\n", one);
    assert_eq!((sent.status, sent.header("Range")), (202, Some("0-9")));
    let again = client.ask("PATCH", &place, "Content-Range: 0-9\r\n", one);
    assert_eq!((again.status, again.header("Range")), (416, Some("0-9")));
    let status = client.ask("GET", &place, "", b"");
    assert_eq!((status.status, status.header("Range")), (204, Some("0-9")));
    // In HTTP's chunks, with a client that waits for a word.
    let (three, four) = two.split_at(5);
    let head = format!(
        "PATCH {place} HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    client.0.get_ref().write_all(head.as_bytes()).unwrap();
    assert_eq!(client.reply("PATCH").status, 100);
    client.0.get_ref().write_all(&[b"5\r\n", three, b"\r\n0\r\n\r\n"].concat()).unwrap();
    assert_eq!(client.reply("PATCH").status, 202);
    let put = format!("{place}?digest={}", digest.to_string().replace(':', "%3A"));
    let ended = client.ask("PUT", &put, "", four);
    assert_eq!(
        (ended.status, ended.header("Docker-Content-Digest")),
        (201, Some(digest.to_string().as_str()))
    );
    assert_eq!(client.ask("PUT", &put, "", b"").status, 404, "it is over");
    let blob = format!("/v2/x/blobs/{digest}");
    assert_eq!(
        client.ask("HEAD", &blob, "", b"").header("Content-Length"),
        Some(layer.len().to_string().as_str())
    );

    // Mounts: of what is there, and of what is not.
    let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from=x");
    assert_eq!(client.ask("POST", &mount, "", b"").status, 201);
    let missing = format!("/v2/other/blobs/uploads/?mount=sha256:{}&from=x", "0".repeat(64));
    let begun = client.ask("POST", &missing, "", b"");
    assert_eq!(begun.status, 202);
    let place = begun.header("Location").unwrap().to_owned();
    assert_eq!(client.ask("DELETE", &place, "", b"").status, 204);
    assert_eq!(client.ask("PATCH", &place, "", b"x").status, 404);

    // Wrong digests, names and bodies.
    for (path, status, code) in [
        (format!("/v2/x/blobs/uploads/?digest=sha256:{}", "0".repeat(64)), 400, "DIGEST_INVALID"),
        ("/v2/x/blobs/uploads/?digest=sha256:../../x".to_owned(), 400, "DIGEST_INVALID"),
        (format!("/v2/x/blobs/uploads/?digest=sha512:{}", "0".repeat(128)), 400, "DIGEST_INVALID"),
        ("/v2/../x/blobs/uploads/".to_owned(), 400, "NAME_INVALID"),
        ("/v2/X/blobs/uploads/".to_owned(), 400, "NAME_INVALID"),
        ("/v2/x/nothing".to_owned(), 405, "UNSUPPORTED"),
    ] {
        let reply = client.ask("POST", &path, "", b"bytes");
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.body.contains(code), "{}", reply.body);
    }

    // A blob waits for its manifest, and gc for the blob.
    assert!(sandbox.fails(&["gc"]).contains("another imagectl is at work"));
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&Archive::new().file("a", "hello").tar())] } });
    let config = client.blob(CONFIG, config.to_string().as_bytes());
    let layer = json!({ "mediaType": LAYER, "digest": digest, "size": layer.len() });
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let content_type = format!("Content-Type: {MANIFEST}\r\n");
    let mut unknown = manifest.clone();
    unknown["layers"][0]["digest"] = json!(Digest::of(b"unknown"));
    let zeros = format!("/v2/x/manifests/sha256:{}", "0".repeat(64));
    let huge = vec![b' '; (4 << 20) + 1];
    for (path, body, status, code) in [
        ("/v2/x/manifests/t", unknown.to_string().into_bytes(), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("/v2/x/manifests/t", b"{}".to_vec(), 400, "MANIFEST_INVALID"),
        ("/v2/x/manifests/t", huge, 413, "SIZE_INVALID"),
        ("/v2/x/manifests/-t", manifest.to_string().into_bytes(), 400, "NAME_INVALID"),
        (&zeros, manifest.to_string().into_bytes(), 400, "DIGEST_INVALID"),
    ] {
        let reply = client.ask("PUT", path, &content_type, &body);
        assert!(reply.status == status && reply.body.contains(code), "{path}: {}", reply.body);
    }
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::of(&bytes).to_string();
    // By digest, then by tag: one image.
    let by_digest = format!("/v2/x/manifests/{digest}");
    for path in [by_digest.as_str(), "/v2/x/manifests/t"] {
        let reply = client.ask("PUT", path, &content_type, &bytes);
        assert_eq!(
            (reply.status, reply.header("Docker-Content-Digest")),
            (201, Some(digest.as_str()))
        );
        let reply = client.ask("GET", path, "", b"");
        assert_eq!((reply.status, reply.body.as_bytes()), (200, bytes.as_slice()));
    }
    assert_eq!(sandbox.ok(&["list"]).lines().count(), 2);
    sandbox.ok(&["unpack", "localhost/x:t", "tree"]);
    assert_eq!(std::fs::read_to_string(sandbox.path.join("tree/a")).unwrap(), "hello");

    // Lists in parts.
    for tag in ["c", "a", "b"] {
        client.ask("PUT", &format!("/v2/x/manifests/{tag}"), &content_type, &bytes);
    }
    let first = client.ask("GET", "/v2/x/tags/list?n=2", "", b"");
    assert!(first.body.contains(r#""tags":["a","b"]"#), "{}", first.body);
    let next = first.header("Link").unwrap().strip_prefix('<').unwrap().split('>').next().unwrap();
    let second = client.ask("GET", next, "", b"");
    assert!(second.body.contains(r#""tags":["c","t"]"#), "{}", second.body);
    assert_eq!(second.header("Link"), None);
    assert!(client.ask("GET", "/v2/_catalog?n=1", "", b"").header("Link").is_some());

    // Whoever has said enough twice is no client.
    let twice =
        format!("PUT {place} HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.0.get_ref().write_all(twice.as_bytes()).unwrap();
    assert_eq!(client.0.read_line(&mut String::new()).unwrap_or(0), 0);
    // Nothing waits any more.
    sandbox.ok(&["gc"]);
    drop(serving);
    sandbox.ok(&["list"]);
    assert_eq!(names(&sandbox.store().join("ingest")), [""; 0]);
}

#[test]
fn a_push_that_breaks_off_goes_on() {
    let (_sandbox, serving) = writable();
    let mut client = Client::connect(&serving);
    let begun = client.ask("POST", "/v2/x/blobs/uploads/", "", b"");
    let place = begun.header("Location").unwrap().to_owned();
    {
        let broken = Client::connect(&serving);
        let head = format!("PATCH {place} HTTP/1.1\r\nContent-Length: 100\r\n\r\n01234");
        broken.0.get_ref().write_all(head.as_bytes()).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = client.ask("GET", &place, "", b"");
        if status.header("Range") == Some("0-4") {
            break;
        }
        assert!(Instant::now() < deadline, "{}", status.head);
        std::thread::sleep(Duration::from_millis(10));
    }
    let path = format!("{place}?digest={}", Digest::of(b"0123456789"));
    assert_eq!(client.ask("PUT", &path, "Content-Range: 5-9\r\n", b"56789").status, 201);
}

/// A store with an image, and an index that skopeo makes two of.
fn with_image() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let tars = [Archive::new().dir("./").dir("d").file("d/a", "hello").tar(), super::push::big()];
    put_image(&sandbox, "docker.io/library/x:1", &tars, json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["unpack", "x:1", "tree"]);
    let original = tree(&sandbox, "tree");
    (sandbox, original)
}

#[test]
fn imagectl_and_skopeo_push() {
    let (sandbox, original) = with_image();
    let (served, serving) = writable();
    let target = format!("{}/org/x:1", serving.address);
    sandbox.ok(&["push", "-q", "--tls-verify=false", "x:1", &target]);
    let second = format!("{}/org/y:1", serving.address);
    sandbox.ok(&["push", "-q", "--tls-verify=false", "x:1", &second]);
    let other = Sandbox::new();
    other.pull(&target);
    other.ok(&["unpack", &target, "tree"]);
    compare("push", &original, &tree(&other, "tree"));

    let theirs = format!("docker://{}/skopeo/x", serving.address);
    let copy = ["copy", "-q", "--dest-tls-verify=false", "--src-tls-verify=false"];
    let from = format!("docker://{target}");
    run(&other, "skopeo", &[&copy[..], &[&from, &format!("{theirs}:1")]].concat());
    run(&other, "skopeo", &[&copy[..], &[&format!("{theirs}:1"), "dir:out"]].concat());
    run(&other, "skopeo", &[&copy[..], &["dir:out", &format!("{theirs}:2")]].concat());
    other.pull(&format!("{}/skopeo/x:2", serving.address));

    // An index with its images.
    let manifest = served.ok(&["inspect", "--raw", "localhost/org/x:1"]).into_bytes();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{ "mediaType": MANIFEST,
        "digest": Digest::of(&manifest), "size": manifest.len(),
        "platform": { "os": "linux", "architecture": "amd64" } }] });
    let mut client = Client::connect(&serving);
    let headers = format!("Content-Type: {INDEX}\r\n");
    let put = client.ask("PUT", "/v2/org/x/manifests/all", &headers, index.to_string().as_bytes());
    assert_eq!(put.status, 201);
    let all = format!("docker://{}/org/x:all", serving.address);
    run(&other, "skopeo", &[&copy[..], &["--all", &all, &format!("{theirs}:all")]].concat());
    let whole = format!("{}/skopeo/x:all", serving.address);
    let third = Sandbox::new();
    let said = third.ok(&["pull", "-q", "--tls-verify=false", "--all-platforms", &whole]);
    assert!(said.contains(&Digest::of(index.to_string().as_bytes()).to_string()), "{said}");
    // Its images by digest are no images of their own.
    assert!(!served.ok(&["list"]).contains('@'), "{}", served.ok(&["list"]));
}

#[test]
fn podman_pulls_and_pushes() {
    let (sandbox, _) = with_image();
    let (_served, serving) = writable();
    let target = format!("{}/org/x:1", serving.address);
    let said = sandbox.ok(&["push", "-q", "--tls-verify=false", "x:1", &target]);
    let digest = said.trim().rsplit_once(' ').unwrap().1;
    // podman wants a short path for what it keeps while it runs.
    let runtime = format!("/tmp/imagectl-{}", std::process::id());
    let root = sandbox.path.join("podman");
    let place = ["--root", root.to_str().unwrap(), "--runroot", &runtime, "--tmpdir", &runtime];
    let how =
        ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"];
    let podman = |arguments: &[&str]| {
        run(&sandbox, "podman", &[&place[..], &how, arguments].concat());
    };
    podman(&["pull", "-q", "--tls-verify=false", &target]);
    podman(&["pull", "-q", "--tls-verify=false", &format!("{}/org/x@{digest}", serving.address)]);
    let pushed = format!("{}/podman/x:1", serving.address);
    podman(&["push", "-q", "--tls-verify=false", &target, &pushed]);
    // Nothing is mounted there with this driver.
    std::fs::remove_dir_all(&runtime).unwrap();
    let other = Sandbox::new();
    other.pull(&pushed);
    other.ok(&["unpack", &pushed, "tree"]);
    assert_eq!(std::fs::read_to_string(other.path.join("tree/d/a")).unwrap(), "hello");
}

/// containerd of the test's own, ended with it.
struct Containerd {
    child: Child,
    address: String,
}

impl Containerd {
    fn start(sandbox: &Sandbox) -> Self {
        let at = |name: &str| sandbox.path.join(name).to_str().unwrap().to_owned();
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        std::fs::write(at("containerd.toml"), config).unwrap();
        let address = at("c.sock");
        let child = Command::new("containerd")
            .args(["-c", &at("containerd.toml"), "--root", &at("c-root"), "--state", &at("c-run")])
            .args(["--address", &address, "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let containerd = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::os::unix::net::UnixStream::connect(&containerd.address).is_err() {
            assert!(Instant::now() < deadline, "containerd doesn't answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        containerd
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It is gone or it goes now; there is nothing to do about either.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        let _ = self.child.wait();
    }
}

#[test]
fn containerd_pulls_and_pushes() {
    let (sandbox, _) = with_image();
    let (_served, serving) = writable();
    let target = format!("{}/org/x:1", serving.address);
    let said = sandbox.ok(&["push", "-q", "--tls-verify=false", "x:1", &target]);
    let digest = said.trim().rsplit_once(' ').unwrap().1;
    let containerd = Containerd::start(&sandbox);
    let ctr = |arguments: &[&str]| {
        run(&sandbox, "ctr", &[&["--address", &containerd.address][..], arguments].concat());
    };
    ctr(&["images", "pull", "--plain-http", "--snapshotter", "native", &target]);
    let by_digest = format!("{}/org/x@{digest}", serving.address);
    ctr(&["content", "fetch", "--plain-http", &by_digest]);
    let pushed = format!("{}/ctr/x:1", serving.address);
    ctr(&["images", "push", "--plain-http", &pushed, &target]);
    let other = Sandbox::new();
    other.pull(&pushed);
    other.ok(&["unpack", &pushed, "tree"]);
    assert_eq!(std::fs::read_to_string(other.path.join("tree/d/a")).unwrap(), "hello");
}

#[test]
fn what_refers_to_an_image_is_listed() {
    let (served, serving) = writable();
    let mut client = Client::connect(&serving);
    let tar = Archive::new().file("a", "x").tar();
    let layer = client.blob(LAYER, &gzip(&tar));
    let rootfs = json!({ "type": "layers", "diff_ids": [Digest::of(&tar).to_string()] });
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs });
    let config = client.blob(CONFIG, config.to_string().as_bytes());
    let image =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let image = image.to_string().into_bytes();
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    assert_eq!(client.ask("PUT", "/v2/org/x/manifests/1", &headers, &image).status, 201);
    let about = Digest::of(&image);
    let subject =
        json!({ "mediaType": MANIFEST, "digest": about.to_string(), "size": image.len() });
    let empty = client.blob("application/vnd.oci.empty.v1+json", b"{}");
    let mut digests = Vec::new();
    for kind in ["application/signature", "application/sbom"] {
        let artifact = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": empty, "layers": [empty], "subject": subject, "annotations": { "of": kind } });
        let artifact = artifact.to_string().into_bytes();
        let digest = Digest::of(&artifact).to_string();
        let put = client.ask("PUT", &format!("/v2/org/x/manifests/{digest}"), &headers, &artifact);
        assert_eq!(
            (put.status, put.header("OCI-Subject")),
            (201, Some(about.to_string().as_str()))
        );
        digests.push(digest);
    }
    let mut list = |query: &str| {
        let reply = client.ask("GET", &format!("/v2/org/x/referrers/{about}{query}"), "", b"");
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some(INDEX)));
        let filtered = reply.header("OCI-Filters-Applied").is_some();
        let value: Value = serde_json::from_str(&reply.body).unwrap();
        (filtered, value["manifests"].as_array().unwrap().clone())
    };
    let (filtered, all) = list("");
    assert!(!filtered && all.len() == 2, "{all:?}");
    let (filtered, one) = list("?artifactType=application%2Fsbom");
    assert!(filtered && one.len() == 1);
    assert_eq!(
        (&one[0]["digest"], &one[0]["artifactType"], &one[0]["annotations"]["of"]),
        (&json!(digests[1]), &json!("application/sbom"), &json!("application/sbom"))
    );
    // Nothing refers to it, or nobody knows it: an empty list. What is no digest: nothing.
    for path in [format!("/v2/org/x/referrers/{}", digests[0]), format!("/v2/no/referrers/{about}")]
    {
        let reply = client.ask("GET", &path, "", b"");
        assert!(reply.status == 200 && reply.body.contains("\"manifests\":[]"), "{}", reply.body);
    }
    assert_eq!(client.ask("GET", "/v2/org/x/referrers/latest", "", b"").status, 404);
    // An artifact is no image, and told so.
    let reference = format!("{}/org/x@{}", serving.address, digests[0]);
    let error = Sandbox::new().fails(&["pull", "-q", "--tls-verify=false", &reference]);
    assert!(error.contains("an artifact ('application/signature'), not an image"), "{error}");
    assert_eq!(served.ok(&["list"]).lines().count(), 4);
}
