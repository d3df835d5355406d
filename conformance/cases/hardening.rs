//! What must hold when somebody presses: descriptors that could lead out, locked mounts, commands that
//! meet a hook which hangs, a create that was killed.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::case::{Case, Failure, Outcome, Peer};
use crate::console::ConsoleSocket;
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun 1.8.1 does it otherwise")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("hardening/program-through-a-descriptor", program).not_on(CRUN),
    Case::new("hardening/exec-through-a-descriptor", program_of_exec).not_on(CRUN),
    Case::new("hardening/created-init-holds-nothing-of-the-callers", held).not_on(CRUN),
    Case::new("hardening/hooks-hold-nothing-of-the-runtimes", held_by_hooks).not_on(&[
        (Peer::Runc, "runc 1.1 leaves some of its own open"),
        (Peer::Crun, "not looked at"),
    ]),
    Case::new("hardening/bind-in-a-user-namespace-keeps-the-hosts-flags", locked).not_on(CRUN),
    Case::new("hardening/mount-target-is-a-link-into-proc", into_proc).not_on(CRUN),
    Case::new("hardening/sysctl-of-the-hosts-network-by-path", host_sysctl).not_on(CRUN),
    Case::new("hardening/standard-streams-are-the-users", streams).not_on(CRUN),
    Case::new("hardening/few-descriptors-and-many-binds", few_descriptors).not_on(CRUN),
    Case::new("hardening/exec-takes-over-what-its-file-leaves-out", defaults).not_on(CRUN),
    Case::new("hardening/long-overlay-options", long_options),
    Case::new("hardening/killed-create-can-be-deleted", killed_create).not_on(CRUN),
    Case::new("hardening/delete-waits-for-a-create-that-dies", dying_create)
        .not_on(&[(Peer::Runc, "has no lock"), (Peer::Crun, "fails for an id that is gone")]),
    Case::new("hardening/delete-of-a-create-that-made-no-cgroup", no_cgroup_yet).not_on(&[
        (Peer::Runc, "ghost only: the state of a create that was killed"),
        (Peer::Crun, "ghost only: the state of a create that was killed"),
    ]),
    Case::new("hardening/delete-force-during-a-hook-that-hangs", hanging_hook)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves its cgroup"), (Peer::Crun, "crun waits")]),
    Case::new("hardening/term-ends-a-created-container", term_created).not_on(CRUN),
    Case::new("hardening/uid-that-means-none", no_uid)
        .not_on(&[(Peer::Runc, "runc 1.1 runs it as root"), (Peer::Crun, "crun runs it as root")]),
];

/// A link that leads, through a descriptor on a directory of the host, to a static program there; its
/// name is the applet that it is to be.
fn way_out(env: &Env, fd: i32) -> Result<PathBuf, Failure> {
    let program = env.dir.join("busybox");
    if !program.exists() {
        fs::copy("/bin/busybox", &program)?;
    }
    let up = "../".repeat(12);
    Ok(PathBuf::from(format!("/proc/self/fd/{fd}/{up}{}", program.display())))
}

fn program(env: &mut Env) -> Outcome {
    for fd in 3..24 {
        let mut bundle = env.bundle()?;
        let opt = bundle.rootfs().join("opt");
        fs::create_dir_all(&opt)?;
        symlink(way_out(env, fd)?, opt.join("echo"))?;
        bundle.args(&["/opt/echo", "out"]);
        let output = env.run(&bundle)?.output()?;
        ensure!(output.code() != 0 && output.stdout.is_empty(), "descriptor {fd}: {output}");
    }
    Ok(())
}

fn program_of_exec(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    for fd in 3..16 {
        let dir = bundle.rootfs().join(format!("opt/{fd}"));
        fs::create_dir_all(&dir)?;
        symlink(way_out(env, fd)?, dir.join("echo"))?;
    }
    let id = env.detach(&bundle, "d", &[])?;
    for fd in 3..16 {
        let output = env.exec(&id, &[], &[&format!("/opt/{fd}/echo"), "out"]).output()?;
        ensure!(output.code() != 0 && output.stdout.is_empty(), "descriptor {fd}: {output}");
    }
    Ok(())
}

fn held(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.id("c");
    env.adopt(&id);
    let secret = env.dir.join("secret");
    fs::write(&secret, "secret")?;
    let open = format!("exec 9<'{}'; exec \"$@\"", secret.display());
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.runtime(&["create", "--bundle", &dir, &id]).under(&["sh", "-c", &open, "sh"]).ok()?;
    let pid = env.pid(&id)?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = fs::read_link(entry?.path())?;
        ensure!(target != secret, "init of a created container holds {}", secret.display());
    }
    Ok(())
}

/// With everything open that a start may need: a terminal, binds of the host's, a filter for exec.
fn held_by_hooks(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    let mut hooks = json!({});
    let kinds =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        let out = match kind {
            "startContainer" => PathBuf::from("/tmp/hook"),
            kind => env.dir.join(kind),
        };
        let script = format!("echo $(ls /proc/self/fd) > '{}'", out.display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
        hooks[kind] = hook;
    }
    bundle.set("/hooks", hooks)?;
    let host = env.dir.join("host");
    fs::create_dir(&host)?;
    bundle.bind(&host, "/mnt", &[])?.writable();
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}))?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.save()?;
    let path = env.dir.join("console.sock");
    let _socket = ConsoleSocket::bind(&path)?;
    let id = env.id("c");
    env.adopt(&id);
    let open = ["sh", "-c", "exec 9<'/dev/zero'; exec \"$@\"", "sh"];
    let (dir, socket) = (bundle.dir.to_string_lossy(), path.to_string_lossy());
    let words = ["create", "--bundle", &dir, "--console-socket", &socket, &id];
    env.runtime(&words).under(&open).ok()?;
    env.verb("start", &id).under(&open).ok()?;
    env.runtime(&["delete", "--force", &id]).under(&open).ok()?;
    for kind in kinds {
        let out = match kind {
            "startContainer" => bundle.rootfs().join("tmp/hook"),
            kind => env.dir.join(kind),
        };
        let names = fs::read_to_string(out)?;
        // The last is the directory that is listed.
        ensure_eq!(names.trim(), "0 1 2 3", "descriptors of {kind}");
    }
    env.nothing_left()
}

fn locked(env: &mut Env) -> Outcome {
    let host = env.dir.join("host");
    fs::create_dir(&host)?;
    let name = host.to_string_lossy().into_owned();
    env.command(&["mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec", "x", &name]).ok()?;
    let mut bundle = env.bundle()?;
    bundle.namespace("user", None)?;
    bundle.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1000}]))?;
    bundle.set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1000}]))?;
    bundle.mount(json!({"destination": "/mnt", "source": host, "options": ["rbind"]}))?;
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]);
    bundle.writable();
    bundle.shell("mount -o remount,bind,rw,suid,dev,exec /mnt; touch /mnt/x && echo written; grep ' /mnt ' /proc/self/mountinfo");
    let output = env.run(&bundle)?.output();
    env.command(&["umount", &name]).ok()?;
    let output = output?;
    ensure!(output.stdout.contains("ro,nosuid,nodev,noexec"), "flags: {output}");
    ensure!(
        !output.stdout.contains("written"),
        "the host's read-only mount was written to: {output}"
    );
    Ok(())
}

fn into_proc(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let mut bundle = env.bundle()?;
    symlink("/proc/sys/kernel", bundle.rootfs().join("kernel"))?;
    bundle.bind(&source, "/kernel", &[])?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("/proc"), "{output}");
    env.nothing_left()
}

fn host_sysctl(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("network", Some("/proc/self/ns/net"))?;
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "63"}))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("net.ipv4.ip_default_ttl"), "{output}");
    env.nothing_left()
}

fn streams(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    bundle.shell("echo again > /dev/stdout");
    let run = env.run(&bundle)?.under(&["sh", "-c", "\"$@\" | cat", "sh"]);
    ensure_eq!(run.ok()?.stdout.trim(), "again", "what a user wrote to its own /dev/stdout");
    Ok(())
}

fn few_descriptors(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    for number in 0..60 {
        let source = env.dir.join(format!("source-{number}"));
        fs::create_dir(&source)?;
        bundle.bind(&source, &format!("/mnt/{number}"), &[])?;
    }
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 16, "hard": 16}]);
    bundle.set("/process/rlimits", limit)?;
    bundle.writable();
    bundle.shell("ulimit -n > /limit");
    let id = env.create(&bundle, "c", &[])?;
    env.verb("start", &id).ok()?;
    let limit = env.wait_file(&bundle.rootfs().join("limit"))?;
    ensure_eq!(limit.trim(), "16", "the limit");
    Ok(())
}

fn defaults(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/process/oomScoreAdj", json!(500))?;
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_KILL"]);
    let id = env.detach(&bundle, "d", &[])?;
    let file = env.dir.join("process.json");
    let process = json!({
        "args": ["sh", "-c", "cat /proc/self/oom_score_adj; grep CapEff /proc/self/status"],
        "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
    });
    fs::write(&file, process.to_string())?;
    let output = env.runtime(&["exec", "--process", &file.to_string_lossy(), &id]).ok()?;
    ensure!(output.stdout.starts_with("500\n"), "oom_score_adj: {output}");
    ensure!(output.stdout.contains("0000000000000020"), "capabilities: {output}");
    Ok(())
}

fn long_options(env: &mut Env) -> Outcome {
    let mut lower = Vec::new();
    for number in 0..4 {
        let dir = env.dir.join(format!("{number}{}", "l".repeat(100)));
        fs::create_dir(&dir)?;
        fs::write(dir.join(number.to_string()), "")?;
        lower.push(dir.to_string_lossy().into_owned());
    }
    let mut bundle = env.bundle()?;
    let options = json!([format!("lowerdir={}", lower.join(":")), "ro", "nosuid"]);
    bundle.mount(
        json!({"destination": "/mnt", "type": "overlay", "source": "overlay", "options": options}),
    )?;
    bundle.writable();
    bundle.shell("ls /mnt; grep -c ' /mnt ro,nosuid' /proc/self/mountinfo");
    let output = env.run(&bundle)?.ok()?;
    ensure_eq!(output.stdout, "0\n1\n2\n3\n1\n", "the layers, and the flags");
    Ok(())
}

fn killed_create(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for number in 0..25 {
        let id = env.id(&format!("k{number}"));
        env.adopt(&id);
        // From before its first step to after its last.
        let limit = format!("0.{:03}", number);
        env.runtime(&["create", "--bundle", &dir, &id])
            .under(&["timeout", "--signal", "KILL", &limit])
            .output()?;
        env.runtime(&["delete", "--force", &id]).ok()?;
        env.runtime(&["create", "--bundle", &dir, &id]).ok()?;
        env.runtime(&["delete", "--force", &id]).ok()?;
    }
    env.nothing_left()
}

/// Made as the runtime makes it: for its caller alone.
fn state_directory(env: &Env, id: &str) -> Result<PathBuf, Failure> {
    let dir = env.root().join(id);
    DirBuilder::new().mode(0o700).create(&dir)?;
    if env.user.is_some() {
        crate::user::own_tree(&dir)?;
    }
    Ok(dir)
}

/// What a create leaves that is killed before it has saved anything, and is not gone yet.
fn dying_create(env: &mut Env) -> Outcome {
    let id = env.id("d");
    let dir = state_directory(env, &id)?;
    let held = env.dir.join("held");
    let script = format!("echo yes > '{}'; sleep 0.5", held.display());
    let lock = env.command(&["flock", &dir.to_string_lossy(), "sh", "-c", &script]).spawn()?;
    env.wait_file(&held)?;
    env.runtime(&["delete", "--force", &id]).ok()?;
    ensure!(!dir.exists(), "the state directory is left");
    ensure_eq!(lock.wait()?.code(), 0, "flock");
    Ok(())
}

/// A create saves where its cgroup is to be before it knows that the place is free. Killed then, it
/// leaves a state whose cgroup is another container's.
fn no_cgroup_yet(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let other = env.detach(&bundle, "other", &[])?;
    let mut state: serde_json::Value =
        serde_json::from_slice(&fs::read(env.root().join(&other).join("state.json"))?)?;
    let id = env.id("killed");
    state["id"] = json!(id);
    state["pid"] = json!(0);
    for key in ["ready", "owns_pids", "owns_cgroup"] {
        ensure!(state[key].is_boolean(), "no {key} in the state");
        state[key] = json!(false);
    }
    let dir = state_directory(env, &id)?;
    fs::write(dir.join("state.json"), state.to_string())?;
    if env.user.is_some() {
        crate::user::own_tree(&dir)?;
    }
    env.runtime(&["delete", "--force", &id]).ok()?;
    ensure!(!env.root().join(&id).exists(), "the state directory is left");
    ensure_eq!(env.status(&other)?, "running", "status of the container that has the cgroup");
    Ok(())
}

fn hanging_hook(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    let reached = env.dir.join("reached");
    let script = format!("echo {} > '{}'; exec sleep 100", "$$", reached.display());
    bundle.set(
        "/hooks",
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}),
    )?;
    bundle.save()?;
    let id = env.id("h");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    let create = env.runtime(&["create", "--bundle", &dir, &id]).spawn()?;
    let hook = env.wait_file(&reached)?;
    let output = env.exec(&id, &[], &["cat", "/etc/shadow"]).output()?;
    ensure!(
        output.code() != 0 && output.stdout.is_empty(),
        "exec before the root is the container's: {output}"
    );
    env.runtime(&["delete", "--force", &id]).limit(Duration::from_secs(20)).ok()?;
    env.command(&["kill", "-KILL", hook.trim()]).ok()?;
    ensure!(create.wait()?.code() != 0, "create of a container that was deleted succeeded");
    env.nothing_left()
}

fn term_created(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let id = env.create(&bundle, "c", &[])?;
    env.runtime(&["kill", &id, "TERM"]).ok()?;
    env.wait_status(&id, "stopped")
}

fn no_uid(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/user/uid", json!(u32::MAX))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("process.user.uid"), "{output}");
    env.nothing_left()
}
