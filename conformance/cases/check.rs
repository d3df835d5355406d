//! `check`: what keeps a bundle from being created, without creating anything. That it fails where
//! `create` fails is in `bad_values`, row by row.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const GHOST: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc has no such command"),
    (Peer::Crun, "ghost only: crun has no such command"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("check/good-bundles", good).not_on(GHOST),
    Case::new("check/text-and-json", formats).not_on(GHOST),
    Case::new("check/makes-nothing", makes_nothing).not_on(GHOST),
    Case::new("check/tells-more-than-one-refusal", several).not_on(GHOST),
    Case::new("check/joined-namespaces-are-left-alone", joined).not_on(GHOST),
    Case::new("check/warnings-do-not-fail", warnings).not_on(GHOST),
    Case::new("check/controller-that-is-missing", no_controller).needs(&[Need::V2]).not_on(GHOST),
    Case::new("check/cgroup-that-is-taken", taken).needs(&[Need::V1]).not_on(GHOST),
    Case::new("check/as-a-user", user).not_on(GHOST),
    Case::new("systemd/check", systemd).needs(&[Need::Systemd]).not_on(GHOST),
    Case::new("check/usage", usage).not_on(GHOST),
];

pub(super) fn check(env: &Env, bundle: &Bundle, code: i32) -> Result<Vec<Value>, Failure> {
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env.runtime(&["check", "-f", "json", "-b", &dir]).exits(code)?;
    ensure_eq!(output.stderr, "", "stderr");
    match serde_json::from_str(&output.stdout)? {
        Value::Array(findings) => Ok(findings),
        other => Err(Failure(format!("no array: {other}"))),
    }
}

pub(super) fn find<'a>(findings: &'a [Value], path: &str) -> Result<&'a Value, Failure> {
    let found = findings.iter().find(|finding| finding["path"] == path);
    found.ok_or_else(|| Failure(format!("no {path} in {findings:?}")))
}

/// What `create` takes, `check` takes, with no finding but warnings.
fn good(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let plain = bundle.config.clone();
    let source = env.dir.join("source");
    fs::create_dir_all(source.join("deep"))?;
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let rows: &[(&str, &[(&str, Value)])] = &[
        ("the default bundle", &[]),
        ("a root that is written to", &[("/root/readonly", json!(false))]),
        ("a working directory that is not there", &[("/process/cwd", json!("/made/for/this"))]),
        ("a user", &[("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [7]}))]),
        (
            "mounts of many kinds",
            &[
                (
                    "/mounts/7",
                    json!({"destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "ro"]}),
                ),
                ("/mounts/8", json!({"destination": "/b", "source": source, "options": ["rbind"]})),
                (
                    "/mounts/9",
                    json!({"destination": "/b/made", "type": "tmpfs", "source": "tmpfs"}),
                ),
                (
                    "/mounts/10",
                    json!({"destination": "/c/d/e", "source": "/etc/hostname", "options": ["bind"]}),
                ),
            ],
        ),
        (
            "devices",
            &[("/linux/devices", json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]))],
        ),
        (
            "sysctls",
            &[("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "99"}))],
        ),
        (
            "limits of the process",
            &[
                ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 10}])),
                ("/process/oomScoreAdj", json!(500)),
            ],
        ),
        ("seccomp", &[("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}))]),
        (
            "hooks, which do not run",
            &[(
                "/hooks",
                json!({"createRuntime": [{"path": "/bin/touch", "args": ["touch", env.dir.join("hooked")]}]}),
            )],
        ),
        (
            "a user namespace",
            &[
                ("/linux/namespaces/5", json!({"type": "user"})),
                ("/linux/uidMappings", map.clone()),
                ("/linux/gidMappings", map.clone()),
            ],
        ),
        (
            "a time namespace",
            &[
                ("/linux/namespaces/5", json!({"type": "time"})),
                ("/linux/timeOffsets", json!({"boottime": {"secs": 100}})),
            ],
        ),
        ("a terminal", &[("/process/terminal", json!(true))]),
    ];
    let mut failures = Vec::new();
    for (what, changes) in rows {
        bundle.config = plain.clone();
        for (pointer, value) in *changes {
            super::bad_values::put(&mut bundle.config, pointer, &value.to_string())?;
        }
        if let Err(failure) = check(env, &bundle, 0) {
            failures.push(format!("{what}: check: {failure}"));
        }
        if *what == "a terminal" || what.starts_with("hooks") {
            // It takes a console socket, or would run.
            continue;
        }
        let dir = bundle.dir.to_string_lossy().into_owned();
        let id = env.id("good");
        if let Err(failure) = env.runtime(&["create", "-b", &dir, &id]).ok() {
            failures.push(format!("{what}: create: {failure}"));
        }
        env.runtime(&["delete", "--force", &id]).ok()?;
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n  "));
    ensure!(!env.dir.join("hooked").exists(), "a hook ran");
    Ok(())
}

fn formats(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("relative"))?;
    bundle.set("/linux/rootfsPropagation", json!("sideways"))?;
    let findings = check(env, &bundle, 1)?;
    let config = fs::read_to_string(bundle.dir.join("config.json"))?;
    let line = 1 + config.lines().take_while(|line| !line.contains("\"relative\"")).count();
    let cwd = find(&findings, "process.cwd")?;
    ensure_eq!(cwd["line"], json!(line), "line");
    ensure_eq!(cwd["kind"], json!("violation"), "kind");
    ensure_eq!(cwd["message"], json!("\"relative\" is not an absolute path"), "message");
    let keys: BTreeSet<&str> = cwd.as_object().into_iter().flatten().map(|(k, _)| &**k).collect();
    ensure_eq!(keys, BTreeSet::from(["path", "line", "kind", "message"]), "keys");
    let lines: Vec<_> = findings.iter().filter_map(|finding| finding["line"].as_u64()).collect();
    ensure!(lines.is_sorted() && lines.len() == 2, "lines {lines:?}");
    // The form of compilers.
    let output = env.runtime(&["check"]).cwd(&bundle.dir).exits(1)?;
    let wanted = format!("config.json:{line}: process.cwd: \"relative\" is not an absolute path\n");
    let first = output.stdout.lines().find(|line| line.contains("process.cwd")).unwrap_or_default();
    ensure!(format!("{first}\n").ends_with(&wanted), "{output}");
    // Types, too.
    bundle.set("/process/args", json!([1, "x", 2]))?;
    let findings = check(env, &bundle, 1)?;
    find(&findings, "process.args[0]")?;
    find(&findings, "process.args[2]")?;
    fs::write(bundle.dir.join("config.json"), "{\n\"ociVersion\": }")?;
    let output = env.runtime(&["check"]).cwd(&bundle.dir).exits(1)?;
    ensure!(output.stdout.contains("config.json:2: "), "{output}");
    fs::remove_file(bundle.dir.join("config.json"))?;
    let output = env.runtime(&["check"]).cwd(&bundle.dir).exits(1)?;
    ensure!(output.stdout.contains("config.json not found"), "{output}");
    Ok(())
}

/// Every file below a directory, with what changes when it does.
fn snapshot(dir: &Path, into: &mut Vec<String>) -> Outcome {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let stamps = (meta.ino(), meta.mode(), meta.size(), meta.mtime_nsec(), meta.ctime_nsec());
        into.push(format!("{} {stamps:?}", entry.path().display()));
        if meta.is_dir() {
            snapshot(&entry.path(), into)?;
        }
    }
    into.sort();
    Ok(())
}

fn makes_nothing(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.set("/process/cwd", json!("/made/for/this"))?;
    let host = env.dir.join("host");
    fs::create_dir(&host)?;
    bundle.mount(json!({"destination": "/new/tmp", "type": "tmpfs", "source": "tmpfs"}))?;
    bundle.bind(&host, "/new/host", &[])?;
    bundle.mount(json!({"destination": "/new/host/in", "type": "tmpfs", "source": "tmpfs"}))?;
    bundle.set(
        "/linux/devices",
        json!([{"path": "/new/device", "type": "c", "major": 1, "minor": 3},
               {"path": "/new/host/device", "type": "c", "major": 1, "minor": 3}]),
    )?;
    bundle.set("/linux/rootfsPropagation", json!("shared"))?;
    bundle.save()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    snapshot(&env.dir, &mut before)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env.runtime(&["check", "-b", &dir]).ok()?;
    snapshot(&env.dir, &mut after)?;
    // The runner keeps what commands print there.
    let own = |line: &&String| {
        line.contains("/bundle") || line.contains("/host") || line.contains("/state")
    };
    let (before, after): (Vec<_>, Vec<_>) =
        (before.iter().filter(own).collect(), after.iter().filter(own).collect());
    ensure_eq!(before, after, "files, before and after {output}");
    ensure_eq!(mounts, fs::read_to_string("/proc/self/mountinfo")?, "mounts");
    env.nothing_left()
}

fn several(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({"destination": "/a", "source": "/no/such/a", "options": ["bind"]}))?;
    bundle.mount(json!({"destination": "/b", "type": "dreamfs", "source": "x"}))?;
    bundle.mount(
        json!({"destination": "/c", "type": "tmpfs", "source": "x", "options": ["dream=1"]}),
    )?;
    bundle.set("/linux/sysctl", json!({"net.core.dream": "1", "net.ipv4.ip_forward": "maybe"}))?;
    bundle.args(&["no-such-program"]);
    let findings = check(env, &bundle, 1)?;
    for path in [
        "mounts[7].source",
        "mounts[8].type",
        "mounts[9].options",
        "linux.sysctl[net.core.dream]",
        "linux.sysctl[net.ipv4.ip_forward]",
        "process.args",
    ] {
        let finding = find(&findings, path)?;
        ensure_eq!(finding["kind"], json!("host"), "kind of {finding}");
        ensure!(finding["line"].is_u64(), "no line: {finding}");
    }
    ensure_eq!(findings.len(), 6, "findings {findings:?}");
    env.nothing_left()
}

fn joined(env: &mut Env) -> Outcome {
    let mut other = env.bundle()?;
    other.args(&["sleep", "1000"]);
    let id = env.detach(&other, "other", &[])?;
    let pid = env.pid(&id)?;
    let mut bundle = env.bundle()?;
    bundle.namespace("uts", Some(&format!("/proc/{pid}/ns/uts")))?;
    bundle.namespace("network", Some(&format!("/proc/{pid}/ns/net")))?;
    bundle.set("/hostname", json!("changed"))?;
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))?;
    let name = env.exec(&id, &[], &["hostname"]).ok()?.stdout;
    let forward = env.exec(&id, &[], &["cat", "/proc/sys/net/ipv4/ip_forward"]).ok()?.stdout;
    check(env, &bundle, 0)?;
    ensure_eq!(env.exec(&id, &[], &["hostname"]).ok()?.stdout, name, "the other's hostname");
    let now = env.exec(&id, &[], &["cat", "/proc/sys/net/ipv4/ip_forward"]).ok()?.stdout;
    ensure_eq!(now, forward, "the other's sysctl");
    Ok(())
}

fn warnings(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.capabilities(&["bounding"], &["CAP_KILL", "CAP_SYS_TIME"]);
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let call = env.runtime(&["check", "-b", &dir, "--format=json"]);
    let output = call.under(&["setpriv", "--bounding-set=-sys_time"]).ok()?;
    let findings: Vec<Value> = serde_json::from_str(&output.stdout)?;
    let finding = find(&findings, "process.capabilities.bounding")?;
    ensure_eq!(finding["kind"], json!("warning"), "kind");
    ensure!(finding["message"].as_str().is_some_and(|m| m.contains("CAP_SYS_TIME")), "{finding}");
    Ok(())
}

fn no_controller(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}}))?;
    let there = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    if there.split_whitespace().any(|name| name == "rdma") {
        return Ok(());
    }
    let findings = check(env, &bundle, 1)?;
    let finding = find(&findings, "linux.resources.rdma")?;
    ensure_eq!(finding["kind"], json!("host"), "kind of {finding}");
    Ok(())
}

fn taken(env: &mut Env) -> Outcome {
    let path = format!("/{}", env.id("taken"));
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    bundle.set("/linux/cgroupsPath", json!(path))?;
    env.detach(&bundle, "d", &[])?;
    let findings = check(env, &bundle, 1)?;
    ensure!(findings.iter().all(|finding| finding["kind"] == "host"), "{findings:?}");
    let message = findings[0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("cgroup") && message.contains("process"), "{findings:?}");
    Ok(())
}

/// Without root, init can't be tried, and a warning says so; the rest is judged.
fn user(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    let findings = check(env, &bundle, 0)?;
    ensure!(findings.iter().all(|finding| finding["kind"] == "warning"), "{findings:?}");
    let tried = find(&findings, "root.path")?["message"].as_str().unwrap_or_default().to_owned();
    ensure!(tried.contains("not tried"), "{findings:?}");
    bundle.drop_namespace("user")?;
    bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
    let findings = check(env, &bundle, 1)?;
    ensure!(findings.iter().any(|finding| finding["kind"] != "warning"), "{findings:?}");
    env.nothing_left()
}

fn systemd(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    for (path, code) in [("system.slice:check:good", 0), ("no slice at all", 1)] {
        bundle.set("/linux/cgroupsPath", json!(path))?;
        bundle.save()?;
        let dir = bundle.dir.to_string_lossy().into_owned();
        let words = ["--systemd-cgroup", "check", "-f", "json", "-b", &dir];
        let output = env.runtime(&words).exits(code)?;
        ensure_eq!(output.stdout.contains("cgroupsPath"), code == 1, "{output}");
    }
    bundle.set("/linux/cgroupsPath", json!("system.slice:check:good"))?;
    bundle.set("/annotations", json!({"org.systemd.property.TimeoutStopSec": "seven"}))?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env.runtime(&["--systemd-cgroup", "check", "-b", &dir]).exits(1)?;
    ensure!(output.stdout.contains("TimeoutStopSec"), "{output}");
    env.nothing_left()
}

fn usage(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for words in [&["check", "--format", "xml", "-b", &dir][..], &["check", "operand"]] {
        env.runtime(words).exits(1)?;
    }
    Ok(())
}
