//! Device nodes and what else is in /dev.

use std::fs;

use serde_json::json;

use super::hooks;
use super::mounts::script;
use crate::case::{Case, Need, Outcome, Peer};
use crate::env::Env;
use crate::trace::trace;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("devices/default-devices", default_devices),
    Case::new("devices/extra-devices", extra_devices),
    Case::new("devices/device-that-exists", device_exists),
    Case::new("devices/devpts-is-a-new-instance", devpts),
    Case::new("devices/dev-from-the-host-is-left-alone", dev_bind),
    Case::new("devices/rules-come-before-all-that-they-judge", rules_first)
        .needs(&[Need::V2, Need::Command("strace")])
        .not_on(&[(Peer::Runc, "ghost only: our order"), (Peer::Crun, "ghost only: our order")]),
];

/// The rules take their time here: nothing overtakes them.
fn rules_first(env: &mut Env) -> Outcome {
    let slow: &[&str] = &["-e", "trace=bpf,execve,openat", "-e", "inject=bpf:delay_enter=50000"];
    // No HOME: the image's passwd file is opened, which may be a device.
    let mut bundle = env.bundle_with(&["/bin/true"])?;
    let passwd = trace(env, env.run(&bundle)?, slow)?;
    let hook = hooks::script(env, "late", "true")?;
    bundle.set("/hooks", json!({"createContainer": [{"path": &hook}]}))?;
    let hooked = trace(env, env.run(&bundle)?, slow)?;
    for (text, what) in [(passwd, "/etc/passwd\""), (hooked, "hook-late\"")] {
        let first = text.lines().position(|line| line.contains(what));
        let last = text.lines().collect::<Vec<_>>().iter().rposition(|line| line.contains("bpf"));
        ensure!(first.is_some() && last.is_some(), "no {what} or no rules: {text}");
        ensure!(first > last, "{what} comes before the rules: {text}");
    }

    let disk = env.dir.join("disk").to_string_lossy().into_owned();
    env.command(&["mknod", &disk, "b", "7", "0"]).ok()?;
    let mut bundle = env.bundle_with(&["/bin/true"])?;
    bundle.mount(json!({"destination": "/disk", "type": "ext4", "source": disk}))?;
    let output = env.run(&bundle)?.under(&[&["strace", "-f", "-o", "/dev/null"], slow].concat());
    let output = output.exits(1)?;
    ensure!(output.stderr.contains("operation not permitted"), "a disk: {output}");
    env.nothing_left()
}

fn default_devices(env: &mut Env) -> Outcome {
    let report = env.probe(&mut env.bundle()?)?;
    let dev = &report["dev"];
    for (name, wanted) in [
        ("null", "20666 0:0 1:3"),
        ("zero", "20666 0:0 1:5"),
        ("full", "20666 0:0 1:7"),
        ("random", "20666 0:0 1:8"),
        ("urandom", "20666 0:0 1:9"),
        ("tty", "20666 0:0 5:0"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
        ("shm", "41777 0:0 0:0"),
    ] {
        ensure_eq!(dev[name], wanted, "/dev/{name}");
    }
    let text = script(
        env,
        &mut env.bundle()?,
        "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/full; echo $?; [ -e /dev/kmsg ] || echo none",
    )?;
    ensure_eq!(text, "4\n4\n1\nnone\n", "use of the devices");
    Ok(())
}

fn extra_devices(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/linux/devices",
        json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/sub/dir/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666},
            // podman sends the type too.
            {"path": "/dev/typed", "type": "c", "major": 1, "minor": 5, "fileMode": 0o20604},
            {"path": "/dev/loop9", "type": "b", "major": 7, "minor": 9},
            {"path": "/dev/loop0", "type": "b", "major": 7, "minor": 0, "fileMode": 0o60660},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600, "uid": 5},
            // A character device by another name.
            {"path": "/dev/other", "type": "u", "major": 1, "minor": 8, "gid": 6},
        ]),
    )?;
    let text = script(
        env,
        &mut bundle,
        "stat -c '%n %f %a %u:%g %t:%T' /dev/fuse /dev/sub/dir/zero /dev/typed /dev/loop9 /dev/loop0 /dev/pipe /dev/other",
    )?;
    let lines: Vec<&str> = text.lines().collect();
    let wanted = [
        "/dev/fuse 21a0 640 7:8 a:e5",
        "/dev/sub/dir/zero 21b6 666 0:0 1:5",
        "/dev/typed 2184 604 0:0 1:5",
        "/dev/loop9 61b6 666 0:0 7:9",
        "/dev/loop0 61b0 660 0:0 7:0",
        "/dev/pipe 1180 600 5:0 0:0",
        "/dev/other 21b6 666 0:6 1:8",
    ];
    ensure_eq!(lines, wanted, "the nodes");
    Ok(())
}

fn device_exists(env: &mut Env) -> Outcome {
    // A default device named again takes the given attributes, and is not an error.
    let mut bundle = env.bundle()?;
    bundle.set(
        "/linux/devices",
        json!([{"path": "/dev/full", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 3, "gid": 4}]),
    )?;
    let text = script(env, &mut bundle, "stat -c '%a %u:%g %t:%T' /dev/full")?;
    ensure_eq!(text, "640 3:4 1:7\n", "/dev/full");
    Ok(())
}

fn devpts(env: &mut Env) -> Outcome {
    let text = script(env, &mut env.bundle()?, "ls /dev/pts; stat -c '%a' /dev/pts/ptmx")?;
    ensure_eq!(text, "ptmx\n666\n", "/dev/pts");
    Ok(())
}

fn dev_bind(env: &mut Env) -> Outcome {
    // A bind-mounted /dev belongs to the host: nothing is made in it.
    let mut bundle = env.bundle()?;
    let source = env.dir.join("dev");
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(source.join(name))?;
    }
    let null = source.join("null").to_string_lossy().into_owned();
    env.command(&["mknod", "-m", "666", &null, "c", "1", "3"]).ok()?;
    let mounts = bundle.config["mounts"].as_array_mut();
    if let Some(mount) = mounts.into_iter().flatten().find(|m| m["destination"] == "/dev") {
        *mount =
            json!({"destination": "/dev", "type": "bind", "source": source, "options": ["bind"]});
    }
    script(env, &mut bundle, "true")?;
    let mut names: Vec<String> = fs::read_dir(&source)?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    ensure_eq!(names, ["mqueue", "null", "pts", "shm"], "what is in the host's directory");
    Ok(())
}
