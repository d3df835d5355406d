//! The options of `bundle`: what they make of config.json, and that runtimes run it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::archive::Archive;
use super::sandbox::Sandbox;
use super::store::put_image;

const PASSWD: &str = "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nvideo:x:44:app\n";

/// An image with busybox in it.
fn busybox(sandbox: &Sandbox, run: Value) {
    let program = std::fs::read("/bin/busybox").unwrap();
    let mut archive = Archive::new()
        .dir("bin")
        .program("bin/busybox", &program)
        .dir("etc")
        .file("etc/passwd", PASSWD)
        .file("etc/group", GROUP)
        .dir("srv")
        .dir("srv/www")
        .symlink("www", "srv/www");
    for name in ["dev", "proc", "sys", "tmp"] {
        archive = archive.dir(name);
    }
    for applet in ["sh", "id", "pwd", "cat", "ls", "env", "stat", "hostname", "grep", "touch"] {
        archive = archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    put_image(sandbox, "docker.io/library/x:latest", &[archive.tar()], run);
}

fn config(sandbox: &Sandbox, options: &[&str]) -> Value {
    let bundle = sandbox.path.join("b");
    sandbox.ok(&[&["bundle", "--copy", "x", "b"], options].concat());
    let config = std::fs::read(bundle.join("config.json")).unwrap();
    sandbox.ok(&["unbundle", "b"]);
    serde_json::from_slice(&config).unwrap()
}

fn plain(sandbox: &Sandbox) {
    let archive = Archive::new().dir("etc").file("etc/passwd", PASSWD).file("etc/group", GROUP);
    let run = json!({ "Cmd": ["/x"], "User": "app", "Env": ["PATH=/bin", "A=1"],
        "Labels": { "l": "image" }, "Volumes": { "/data": {} }, "StopSignal": "SIGINT" });
    put_image(sandbox, "docker.io/library/x:latest", &[archive.tar()], run);
}

#[test]
fn every_option_has_its_field() {
    let sandbox = Sandbox::new();
    plain(&sandbox);
    let options = [
        "--env",
        "A=2",
        "-e",
        "B=3",
        "--user",
        "0:44",
        "--cwd",
        "/etc",
        "--hostname",
        "h",
        "--memory",
        "64m",
        "--cpus",
        "1.5",
        "--pids",
        "20",
        "-v",
        "/etc/hosts:/etc/hosts:ro",
        "--mount",
        "type=tmpfs,dst=/data,tmpfs-size=1m",
        "--read-only",
        "--cap-add",
        "chown",
        "--cap-drop",
        "CAP_KILL",
        "--seccomp",
        "unconfined",
        "--network",
        "/proc/1/ns/net",
        "--annotation",
        "l=mine",
        "--annotation",
        "m=",
    ];
    let spec = config(&sandbox, &options);
    let process = &spec["process"];
    assert_eq!(process["env"], json!(["PATH=/bin", "A=2", "B=3"]));
    assert_eq!(process["user"], json!({ "uid": 0, "gid": 44 }));
    assert_eq!((&process["cwd"], &spec["hostname"]), (&json!("/etc"), &json!("h")));
    for set in ["bounding", "effective", "permitted", "ambient"] {
        let expected = json!(["CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"]);
        assert_eq!(process["capabilities"][set], expected, "{set}");
    }
    let resources = &spec["linux"]["resources"];
    assert_eq!(resources["memory"], json!({ "limit": 64 << 20 }));
    assert_eq!(resources["cpu"], json!({ "quota": 150_000, "period": 100_000 }));
    assert_eq!(resources["pids"], json!({ "limit": 20 }));
    assert_eq!(spec["root"]["readonly"], true);
    assert_eq!(spec["linux"].get("seccomp"), None);
    let mounts = spec["mounts"].as_array().unwrap();
    let of = |path: &str| -> Vec<&Value> {
        mounts.iter().filter(|mount| mount["destination"] == path).collect()
    };
    assert_eq!(of("/etc/hosts")[0]["options"], json!(["rbind", "ro", "rprivate"]));
    // The caller's mount takes the place of the image's volume.
    assert_eq!(of("/data").len(), 1);
    assert_eq!(of("/data")[0]["options"], json!(["nosuid", "nodev", "size=1m"]));
    let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!({ "type": "network", "path": "/proc/1/ns/net" })));
    assert_eq!(spec["annotations"]["l"], "mine");
    assert_eq!(spec["annotations"]["m"], "");
    assert_eq!(spec["annotations"]["org.opencontainers.image.stopSignal"], "SIGINT");
    // Without options, the image's and the defaults.
    let spec = config(&sandbox, &["--network", "host"]);
    assert_eq!(
        spec["process"]["user"],
        json!({ "uid": 1000, "gid": 1000, "additionalGids": [44] })
    );
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
    assert!(!namespaces.iter().any(|namespace| namespace["type"] == "network"));
}

#[test]
fn a_profile_is_fitted_to_the_process() {
    let sandbox = Sandbox::new();
    plain(&sandbox);
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": [
        { "names": ["mount"], "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
    ] });
    std::fs::write(sandbox.path.join("p.json"), profile.to_string()).unwrap();
    let rules = |options: &[&str]| {
        let spec = config(&sandbox, &[&["--seccomp", "p.json"], options].concat());
        assert_eq!(spec["linux"]["seccomp"].get("archMap"), None);
        spec["linux"]["seccomp"]["syscalls"].clone()
    };
    assert_eq!(rules(&[]), json!([{ "names": ["mount"], "action": "SCMP_ACT_ERRNO" }]));
    assert_eq!(rules(&["--cap-add", "sys_admin"]), json!([]));
}

#[test]
fn bad_values_are_named_and_leave_nothing() {
    let sandbox = Sandbox::new();
    plain(&sandbox);
    std::fs::write(sandbox.path.join("p.json"), "{").unwrap();
    for (options, words) in [
        (["--env", "=x"], "--env: '=x' has no name"),
        (["--env", "NO_SUCH_NAME"], "--env: 'NO_SUCH_NAME' has no value"),
        (["--user", "nobody"], "user 'nobody' of the image: no such user"),
        (["--cwd", "etc"], "--cwd: 'etc' is not absolute"),
        (["--cwd", "/etc/passwd"], "/etc/passwd is no directory"),
        (["--memory", "lots"], "--memory: 'lots' is no size"),
        (["--cpus", "0"], "--cpus: '0' is less"),
        (["--pids", "-2"], "--pids: -2 is neither"),
        (["--volume", "/etc"], "--volume: '/etc': is not SOURCE"),
        (["--mount", "type=x,dst=/x"], "--mount: 'type=x,dst=/x': type 'x'"),
        (["--cap-add", "fly"], "--cap-add: 'fly' is no capability"),
        (["--cap-drop", ""], "--cap-drop: '' is no capability"),
        (["--seccomp", "nowhere.json"], "open the seccomp profile nowhere.json"),
        (["--seccomp", "p.json"], "the seccomp profile p.json is not valid"),
        (["--network", "bridge"], "--network: 'bridge' is not host"),
        (["--annotation", "x"], "--annotation: 'x' is not NAME=VALUE"),
    ] {
        let error = sandbox.fails(&[&["bundle", "--copy", "x", "b"], &options[..]].concat());
        assert!(error.contains(words), "{options:?}: {error}");
        assert!(!sandbox.path.join("b").exists(), "{options:?}");
    }
}

/// runc, and the ghost-runc that is built, or that `GHOST_RUNC` names.
pub fn runtimes() -> [PathBuf; 2] {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/dist/ghost-runc");
    let ghost = std::env::var_os("GHOST_RUNC").map_or_else(|| PathBuf::from(built), PathBuf::from);
    let runc = PathBuf::from("/usr/sbin/runc");
    assert!(runc.exists(), "runc is missing: hack/deps installs it");
    assert!(ghost.exists(), "{} is missing: hack/build ghost-runc makes it", ghost.display());
    [runc, ghost]
}

/// Runs the command in a bundle made with the options, on every runtime; all must say the same.
fn says(sandbox: &Sandbox, options: &str, command: &str) -> String {
    let mut said: Vec<String> = Vec::new();
    for runtime in runtimes() {
        let name = format!("imagectl-{}", std::process::id());
        let script = format!(
            "PATH=$PATH:/usr/sbin:/sbin
             $imagectl bundle {options} x b -- {command} >/dev/null
             {} --root $PWD/run run --bundle b {name} 2>&1 || echo \"code $?\"
             $imagectl unbundle b >/dev/null",
            runtime.display()
        );
        said.push(sandbox.script(&script));
    }
    assert_eq!(said[0], said[1], "runc and ghost-runc");
    said.swap_remove(0)
}

#[test]
fn runtimes_run_what_is_made() {
    let sandbox = Sandbox::new();
    busybox(
        &sandbox,
        json!({ "User": "app", "Env": ["PATH=/bin"], "WorkingDir": "/www/new/dir",
        "Volumes": { "/data": {} } }),
    );
    let line = |options: &str, command: &str| says(&sandbox, options, command).trim().to_owned();
    assert_eq!(line("", "id"), "uid=1000(app) gid=1000 groups=44(video)");
    // The working directory is made, through the image's link, and the process' own.
    assert_eq!(line("", "stat -c '%u:%g %a %n' ."), "1000:1000 755 .");
    assert_eq!(line("--copy", "pwd"), "/srv/www/new/dir");
    let tools = "-u 0 --cwd /";
    assert_eq!(
        line(&format!("{tools} -e A=b --hostname hal"), "sh -c 'echo $A $(hostname)'"),
        "b hal"
    );
    assert_eq!(
        line(&format!("{tools} --cap-drop all"), "grep CapBnd /proc/self/status"),
        "CapBnd:\t0000000000000000"
    );
    assert_eq!(line(tools, "grep Seccomp: /proc/self/status"), "Seccomp:\t2");
    assert_eq!(
        line(&format!("{tools} --seccomp unconfined"), "grep Seccomp: /proc/self/status"),
        "Seccomp:\t0"
    );
    let refused = line(&format!("{tools} --read-only"), "touch /x");
    assert!(refused.contains("Read-only file system"), "{refused}");
    std::fs::write(sandbox.path.join("shown"), "shown").unwrap();
    assert_eq!(line(&format!("{tools} -v shown:/mnt/file:ro"), "cat /mnt/file"), "shown");
    assert_eq!(line(tools, "ls /sys/class/net"), "lo");
    let host = Command::new("ls").arg("/sys/class/net").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    assert_eq!(line(&format!("{tools} --network host"), "ls /sys/class/net"), host.trim());
    // A user namespace: the caller's IDs, and none of the host's rights.
    let mapped = line(&format!("{tools} --rootless --copy"), "cat /proc/self/uid_map");
    assert_eq!(mapped.split_whitespace().collect::<Vec<_>>(), ["0", "0", "65536"]);
}
