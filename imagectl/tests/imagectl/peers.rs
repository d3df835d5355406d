//! The test images of hack/images, unpacked here, by umoci and by podman: the trees must be the same.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::sandbox::Sandbox;

/// A tree as text, one line a file: type, mode, owner, time, device, size and content, link target, the
/// first name of a hard link, extended attributes.
const TREE: &str = r#"
import hashlib, os, stat, sys
names = {}
def show(path, name):
    s, extra = os.lstat(path), ""
    if stat.S_ISREG(s.st_mode):
        extra = f"{s.st_size} " + hashlib.sha256(open(path, "rb").read()).hexdigest()
    elif stat.S_ISLNK(s.st_mode):
        extra = repr(os.readlink(path))
    if not stat.S_ISDIR(s.st_mode) and s.st_nlink > 1:
        extra += f" = {names.setdefault(s.st_ino, name)!r}"
    xattrs = [(x, os.getxattr(path, x, follow_symlinks=False)) for x in sorted(os.listxattr(path, follow_symlinks=False))]
    print(ascii(name), oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev, extra, xattrs)
    if stat.S_ISDIR(s.st_mode):
        for child in sorted(os.listdir(path)):
            show(path + b"/" + child, name + b"/" + child)
show(os.fsencode(sys.argv[1]), b"")
"#;

pub fn tree(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let output = Command::new("python3")
        .args(["-c", TREE, path])
        .current_dir(&sandbox.path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub fn run(sandbox: &Sandbox, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(&sandbox.path).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is missing: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

/// Debian's registry, ended with the test.
pub struct Hub(std::process::Child);

impl Hub {
    /// An empty one.
    pub fn empty(sandbox: &Sandbox, port: &str) -> Self {
        let data = sandbox.path.join("registry");
        let child = Command::new(hack("registry"))
            .args([data.to_str().unwrap(), port])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
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

    /// One with the images.
    fn start(sandbox: &Sandbox, port: &str) -> Self {
        let hub = Self::empty(sandbox, port);
        // Packages are fetched once; the test directory outlives the sandbox.
        let out = concat!(env!("CARGO_TARGET_TMPDIR"), "/images");
        run(sandbox, &hack("images"), &["--out", out, "--registry", &format!("127.0.0.1:{port}")]);
        hub
    }
}

fn hack(name: &str) -> String {
    format!("{}/../hack/{name}", env!("CARGO_MANIFEST_DIR"))
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It is gone or it goes now; there is nothing to do about either.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn trees_are_umocis() {
    let sandbox = Sandbox::new();
    let port = free_port();
    let _hub = Hub::start(&sandbox, &port);
    let reference = |name: &str| format!("127.0.0.1:{port}/{name}");
    for (name, files) in [("tiny", 250), ("odd", 300), ("debian", 3000), ("app", 7000)] {
        for tag in ["gzip", "zstd"] {
            sandbox.pull(&reference(&format!("{name}:{tag}")));
        }
        let gzip = reference(&format!("{name}:gzip"));
        let theirs = format!("umoci-{name}");
        run(&sandbox, "umoci", &["raw", "unpack", "--image", &format!("store:{gzip}"), &theirs]);
        let ours = format!("unpack-{name}");
        sandbox.ok(&["unpack", &reference(&format!("{name}:zstd")), &ours]);
        let theirs = tree(&sandbox, &theirs);
        assert!(theirs.len() > files, "{name} has {} files", theirs.len());
        compare(name, &theirs, &tree(&sandbox, &ours));
        sandbox.ok(&["bundle", "--copy", &gzip, "copied"]);
        compare(name, &theirs, &tree(&sandbox, "copied/rootfs"));
        sandbox.ok(&["unbundle", "copied"]);

        compare_with_podman(&sandbox, name, &gzip, &theirs);

        // The overlay is the same but for the link count of what is linked to a deleted name, which
        // stays the lower layer's.
        let shown = sandbox.script(&format!(
            "$imagectl bundle {gzip} b >/dev/null; python3 -c '{TREE}' b/rootfs; $imagectl unbundle b >/dev/null"
        ));
        let overlay: Vec<_> = shown
            .lines()
            .map(|line| match line.starts_with("b'/opt/odd/hl/h0'") {
                true => line.replace(" = b'/opt/odd/hl/h0'", ""),
                false => line.to_owned(),
            })
            .collect();
        compare(name, &theirs, &overlay);
    }
    for tag in ["plain", "docker", "index", "docker-list"] {
        sandbox.pull(&reference(&format!("tiny:{tag}")));
    }
    let store = format!("oci:store:{}", reference("odd:zstd"));
    run(&sandbox, "skopeo", &["copy", "-q", &store, "dir:skopeo"]);
    let arguments = [
        "pull",
        "-q",
        "--tls-verify=false",
        "--platform",
        "linux/arm/v5",
        &reference("tiny:index"),
    ];
    sandbox.ok(&arguments);
    assert!(sandbox.ok(&["list"]).contains("linux/arm/v5"));
}

/// podman's tree, in what it follows the archives: docs/trees.md says where it does not.
fn compare_with_podman(sandbox: &Sandbox, name: &str, reference: &str, ours: &[String]) {
    let shown = sandbox.script(&format!(
        "run=$(mktemp -d); podman() {{ command podman --root $run/root --runroot $run/run --storage-driver vfs --events-backend file \"$@\"; }}
         id=$(podman pull -q --tls-verify=false {reference}); tree=$(podman image mount $id)
         python3 -c '{TREE}' $tree; podman image umount $id >/dev/null; podman rmi -f $id >/dev/null; rm -rf --one-file-system $run"
    ));
    let comparable = |line: &str| -> Option<String> {
        let mut fields: Vec<&str> = line.split(' ').collect();
        let mode = fields.iter().position(|field| field.starts_with("0o"))?;
        // The root has a mode and time of podman's own.
        if fields[0] == "b''" {
            return None;
        }
        // Later layers change the times of directories; times before 1970 become 1970.
        if fields[mode].starts_with("0o4") || line.contains("/before-epoch'") {
            fields[mode + 3] = "";
        }
        // A hard link to a symlink becomes a symlink of its own.
        let end = fields.iter().position(|field| *field == "=").unwrap_or(fields.len());
        Some(fields[..end.max(mode + 4)].join(" "))
    };
    let lines = |tree: &[String]| -> Vec<String> {
        tree.iter()
            .filter_map(|line| comparable(line))
            .map(|line| line.trim_end_matches(" []").trim_end().to_owned())
            .collect()
    };
    let theirs: Vec<String> = shown.lines().map(str::to_owned).collect();
    compare(&format!("{name}, as podman has it"), &lines(&theirs), &lines(ours));
}

pub fn compare(name: &str, theirs: &[String], ours: &[String]) {
    let [theirs, ours] = [theirs, ours].map(|tree| tree.iter().collect::<BTreeSet<_>>());
    let (missing, wrong) = (theirs.difference(&ours), ours.difference(&theirs));
    let (missing, wrong): (Vec<_>, Vec<_>) = (missing.collect(), wrong.collect());
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "{name}: they have {missing:#?}, we have {wrong:#?}"
    );
}

#[test]
fn the_default_config_is_runcs() {
    let sandbox = Sandbox::new();
    run(&sandbox, "runc", &["spec"]);
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(sandbox.path.join(path)).unwrap()).unwrap()
    };
    let theirs = read("config.json");
    super::store::put_image(
        &sandbox,
        "docker.io/library/x:latest",
        &[],
        serde_json::json!({ "Cmd": ["sh"] }),
    );
    sandbox.ok(&["bundle", "--copy", "--tty", "--seccomp", "unconfined", "x", "b"]);
    let ours = read("b/config.json");
    assert_eq!(ours["mounts"], theirs["mounts"]);
    for key in ["maskedPaths", "readonlyPaths", "resources"] {
        assert_eq!(ours["linux"][key], theirs["linux"][key], "{key}");
    }
    assert_eq!(ours["process"], theirs["process"]);
}
