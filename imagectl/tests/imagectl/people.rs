//! Who runs the command, and how they end it: without root, and by Ctrl-C.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, Registry};
use super::sandbox::{Sandbox, names};

const NOBODY: u32 = 65534;

/// A directory that a user without rights can reach, with the binary in it.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("imagectl-home-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_imagectl"), path.join("imagectl")).unwrap();
        Self(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let id = NOBODY.to_string();
        Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "./imagectl"])
            .args(arguments)
            .current_dir(&self.0)
            .env_clear()
            .env("HOME", &self.0)
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_root() {
    let registry = Registry::start();
    let tar = Archive::new()
        .pax(&[
            ("uid", "7"),
            ("SCHILY.xattr.security.capability", "x"),
            ("SCHILY.xattr.user.a", "b"),
        ])
        .file("owned", "x")
        .device(b'3', "null", (1, 3))
        .pax(&[("uid", "0")])
        .dir("shut")
        .file("shut/x", "x")
        .tar();
    registry.image("x", "t", &[tar], json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let home = Home::new();
    home.ok(&["pull", "-q", "--tls-verify=false", &reference]);
    // The store is the user's own, without unpacked layers.
    let store = home.0.join(".local/share/imagectl");
    assert_eq!(names(&store.join("layers")), [""; 0]);
    assert_eq!(std::fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = home.run(&["bundle", &reference, "b"]);
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && errors.contains("only root can mount"), "{errors}");
    assert!(!home.0.join("b").exists());
    home.ok(&["bundle", "--copy", &reference, "b"]);
    let rootfs = home.0.join("b/rootfs");
    for (name, kind) in [("owned", "file"), ("null", "file"), ("shut", "directory")] {
        let metadata = std::fs::metadata(rootfs.join(name)).unwrap();
        assert_eq!(metadata.uid(), NOBODY, "{name}");
        assert_eq!(metadata.is_dir(), kind == "directory", "{name}");
        assert_eq!(metadata.is_file(), kind == "file", "{name}");
    }
    std::fs::set_permissions(rootfs.join("shut"), PermissionsExt::from_mode(0o500)).unwrap();
    home.ok(&["unbundle", "b"]);
    assert!(!home.0.join("b").exists());
    home.ok(&["rm", &reference]);
    assert_eq!(names(&store.join("blobs/sha256")), [""; 0]);
}

#[test]
fn ctrl_c_leaves_nothing_partial() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new().file("a", &"x".repeat(100_000)).tar();
    let blob = super::archive::gzip(&tar);
    registry.image("x", "t", &[tar], json!({}));
    let layer = imagectl::digest::Digest::of(&blob).to_string();
    let path = layer.clone();
    registry.rule(move |request| {
        // Less than was promised, and the connection stays open.
        let answer = || Answer { cut: Some(50), stay: true, ..Answer::ok("", &blob) };
        request.path.ends_with(&path).then(answer)
    });
    let reference = format!("{}/x:t", registry.address);
    let mut child = sandbox
        .command()
        .args(["pull", "-q", "--tls-verify=false", &reference])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !registry.requests().iter().any(|request| request.path.ends_with(&layer)) {
        assert!(Instant::now() < deadline, "the layer is never asked for");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut errors).unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(errors, "imagectl: interrupted\n");
    sandbox.assert_store_is_empty();
}
