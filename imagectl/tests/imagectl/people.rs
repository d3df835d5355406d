//! Who runs the command, and how they end it: without root, and by Ctrl-C.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("imagectl-home-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Left by a failed test of the same number.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_imagectl"), path.join("imagectl")).unwrap();
        Self(path)
    }

    /// The binary, run by the user in a shell's environment.
    fn command(&self) -> Command {
        let id = NOBODY.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "./imagectl"])
            .current_dir(&self.0)
            .env_clear()
            .env("HOME", &self.0)
            .env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
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
    home.ok(&["bundle", "--copy", &reference, "b"]);
    let mark = std::fs::read(home.0.join("b/imagectl.json")).unwrap();
    let mark: serde_json::Value = serde_json::from_slice(&mark).unwrap();
    let own = json!([{ "containerID": 0, "hostID": NOBODY, "size": 1 }]);
    assert_eq!(mark["ids"], json!({ "uids": own, "gids": own }));
    home.ok(&["unpack", &reference, "tree"]);
    let owned = std::fs::metadata(home.0.join("tree/owned")).unwrap();
    assert_eq!(owned.uid(), NOBODY);
    let rootfs = home.0.join("b/rootfs");
    for (name, kind) in [("owned", "file"), ("null", "file"), ("shut", "directory")] {
        let metadata = std::fs::metadata(rootfs.join(name)).unwrap();
        assert_eq!(metadata.uid(), NOBODY, "{name}");
        // The archive's owner is noted.
        let mut record = [0_u8; 16];
        let found =
            rustix::fs::getxattr(rootfs.join(name), "user.rootlesscontainers", &mut record[..]);
        let expected = if name == "owned" { Ok(2) } else { Err(rustix::io::Errno::NODATA) };
        assert_eq!(found, expected, "{name}");
        assert!(name != "owned" || record.starts_with(b"\x08\x07"), "{record:?}");
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
fn the_store_is_where_the_users_data_is() {
    let home = Home::new();
    let is_store = |path: &str| home.0.join(path).join("imagectl/oci-layout").exists();
    let list = |data: Option<&Path>| {
        let mut command = home.command();
        command.envs(data.map(|data| ("XDG_DATA_HOME", data))).arg("list");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    list(Some(&home.0.join("data")));
    assert!(is_store("data") && !home.0.join(".local").exists());
    let mode = std::fs::metadata(home.0.join("data/imagectl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    std::fs::remove_dir_all(home.0.join("data")).unwrap();
    // What is no absolute path says nothing, by the base directory specification.
    for data in [None, Some(Path::new("")), Some(Path::new("data"))] {
        list(data);
        assert!(is_store(".local/share") && !home.0.join("data").exists(), "{data:?}");
        std::fs::remove_dir_all(home.0.join(".local")).unwrap();
    }
    // Root of a user namespace is the user.
    let output = home.run(&["unshare", "./imagectl", "list"]);
    assert!(output.status.success() && is_store(".local/share"), "{output:?}");
    let nowhere = home.command().env_remove("HOME").arg("list").output().unwrap();
    let errors = String::from_utf8(nowhere.stderr).unwrap();
    let words = "imagectl: --store: neither XDG_DATA_HOME nor HOME says where the store is\n";
    assert_eq!((nowhere.status.code(), errors.as_str()), (Some(1), words));
}

#[test]
fn the_store_of_root_is_the_machines() {
    let sandbox = Sandbox::new();
    // The machine's own is hidden.
    let said = sandbox.script(&format!(
        "mount -t tmpfs none /var/lib; export HOME=$PWD/home XDG_DATA_HOME=$PWD/data
         {} list >/dev/null; ls -d /var/lib/imagectl/oci-layout home data 2>/dev/null || true
         stat -c %a /var/lib/imagectl",
        env!("CARGO_BIN_EXE_imagectl")
    ));
    assert_eq!(said, "/var/lib/imagectl/oci-layout\n700\n");
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

/// The user has a range of IDs: the bundle's files have their owners in it. The script runs where
/// /etc is an overlay, so that the ranges can be given without touching the host's.
#[test]
fn with_a_range_of_ids() {
    let sandbox = Sandbox::new();
    // What only root may set is left out; capabilities become those of the namespace's root.
    let capability = "\u{1}\0\0\u{2}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Archive::new()
        .pax(&[("uid", "7"), ("gid", "8"), ("SCHILY.xattr.trusted.t", "x")])
        .file("owned", "x")
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .file("cap", "x")
        .device(b'3', "null", (1, 3))
        .pax(&[("uid", "7")])
        .dir("shut")
        .file("shut/x", "x")
        .tar();
    let far = Archive::new().pax(&[("uid", "70000")]).file("far", "x").tar();
    let home = std::env::temp_dir().join(format!("imagectl-range-{}", std::process::id()));
    // Left by a failed test of the same number.
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir(&home).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_imagectl"), home.join("imagectl")).unwrap();
    for (name, tar) in [("near", tar), ("far", far)] {
        let file = name;
        let name = format!("docker.io/library/{name}:latest");
        let one = Sandbox::new();
        super::store::put_image(&one, &name, &[tar], json!({ "Cmd": ["/x"], "User": "7" }));
        one.ok(&["save", &name, "--output", home.join(file).to_str().unwrap()]);
    }
    let said = sandbox.script(&format!(
        "mkdir upper work; mount -t overlay etc -o lowerdir=/etc,upperdir=$PWD/upper,workdir=$PWD/work /etc
         echo nobody:100000:65536 | tee /etc/subuid > /etc/subgid
         cd {home}; chown -R nobody .
         as() {{ setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups env -i HOME=$PWD PATH=$PATH \"$@\"; }}
         as ./imagectl load near >/dev/null; as ./imagectl load far >/dev/null
         as ./imagectl bundle --copy near b >/dev/null
         cd b/rootfs; stat -c '%n %u %g %F' owned cap null shut shut/x; getfattr -m - -e hex -d cap | grep capability=; cd ../..
         grep -A1 -c '\"hostID\": 100000' b/config.json
         grep --no-group-separator -A2 '\"containerID\": 1,' b/imagectl.json | tr -d ' \n'; echo
         as ./imagectl unpack near u >/dev/null; stat -c '%n %u %g' u/owned; ! as ./imagectl unpack far v 2>&1; test ! -e v
         as ./imagectl unbundle b >/dev/null; test ! -e b
         ! as ./imagectl bundle --copy far c 2>&1; test ! -e c",
        home = home.display()
    ));
    std::fs::remove_dir_all(&home).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "owned 100006 100007 regular file",
            "cap 65534 65534 regular file",
            "null 65534 65534 regular empty file",
            "shut 100006 65534 directory",
            "shut/x 65534 65534 regular file",
        ],
        "{said}"
    );
    // Version 3, and behind the bits the namespace's root.
    assert!(
        lines[5].starts_with("security.capability=0x01000003") && lines[5].ends_with("feff0000"),
        "{said}"
    );
    assert_eq!(lines[6], "2", "{said}");
    let range = "\"containerID\":1,\"hostID\":100000,\"size\":65536";
    assert_eq!(lines[7], range.repeat(2), "{said}");
    assert_eq!(lines[8], "u/owned 100006 100007", "{said}");
    for line in [lines[9], lines[10]] {
        let word = "entry 'far': its owner 70000:0 has no ID in this user namespace";
        assert!(line.contains(word), "{said}");
    }
}
