//! The six kinds of hooks: when they run, where, what they read, and what their failure does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("hooks/order-and-state", order_and_state)
        .not_on(&[(Peer::Crun, "crun leaves keys of the state out")]),
    Case::new("hooks/environment-and-arguments", environment),
    Case::new("hooks/several-run-in-order", several),
    Case::new("hooks/namespaces", namespaces),
    Case::new("hooks/failure-before-start", failure_before)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("hooks/failure-of-poststart", failure_poststart)
        .not_on(&[(Peer::Crun, "crun goes on"), (Peer::Runc, "runc 1.1 kills the container")]),
    Case::new("hooks/failure-of-poststop-is-a-warning", failure_poststop),
    Case::new("hooks/timeout-beyond-all-clocks", endless).not_on(&[
        (Peer::Runc, "takes it for one that has passed"),
        (Peer::Crun, "has no timeouts"),
    ]),
    Case::new("hooks/timeout", timeout)
        .not_on(&[(Peer::Crun, "crun does not stop a hook's children")]),
    Case::new("hooks/missing-program", missing)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("hooks/network-made-by-a-hook", network),
    Case::new("hooks/poststop-runs-at-forced-delete", poststop_forced)
        .not_on(&[(Peer::Crun, "crun breaks off the state that poststop reads")]),
];

/// A script on the host that notes its name and what it reads.
pub fn script(env: &Env, name: &str, body: &str) -> Result<PathBuf, Failure> {
    let path = env.dir.join(format!("hook-{name}"));
    fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn note(env: &Env) -> PathBuf {
    env.dir.join("notes")
}

fn notes(env: &Env) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(note(env)).unwrap_or_default();
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle that has a hook of every kind, all noting the state they read.
fn hooked(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/hooks", json!({}))?;
    let file = note(env);
    for kind in KINDS {
        let body = format!(
            "(printf '{{\"hook\": \"{kind}\", \"state\": '; cat; echo '}}') | tr -d '\\n' >> {0}; echo >> {0}",
            file.display()
        );
        let path = match kind {
            // Inside the container: a shell, and a file bound into it.
            "startContainer" => PathBuf::from("/hook"),
            _ => script(env, kind, &body)?,
        };
        bundle.set(&format!("/hooks/{kind}"), json!([{"path": path, "args": ["hook"]}]))?;
        if kind == "startContainer" {
            let inside = bundle.rootfs().join("hook");
            fs::write(
                &inside,
                format!("#!/bin/sh\n{}\n", body.replace(&*file.to_string_lossy(), "/notes")),
            )?;
            fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))?;
        }
    }
    fs::write(&file, "")?;
    bundle.bind(&file, "/notes", &["rw"])?;
    bundle.args(&["sleep", "1000"]);
    Ok(bundle)
}

fn names(notes: &[Value]) -> Vec<&str> {
    notes.iter().filter_map(|note| note["hook"].as_str()).collect()
}

fn order_and_state(env: &mut Env) -> Outcome {
    let mut bundle = hooked(env)?;
    bundle.set("/annotations", json!({"a": "b"}))?;
    let id = env.create(&bundle, "c", &[])?;
    let pid = env.pid(&id)?;
    // The spec's order; runc 1.1 runs poststart at the end of create.
    let mut order = KINDS;
    let mut created = 3;
    if env.is(Peer::Runc) {
        order.swap(3, 4);
        created = 4;
    }
    ensure_eq!(names(&notes(env)?), order[..created], "after create");
    env.verb("start", &id).ok()?;
    ensure_eq!(names(&notes(env)?), order[..5], "after start");
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    let notes = notes(env)?;
    ensure_eq!(names(&notes), order, "after delete");
    for (note, kind) in notes.iter().zip(order) {
        let state = &note["state"];
        ensure_eq!(state["id"], json!(id), "id for {kind}");
        ensure_eq!(state["bundle"], json!(bundle.dir), "bundle for {kind}");
        ensure_eq!(state["annotations"], json!({"a": "b"}), "annotations for {kind}");
        ensure!(state["ociVersion"].is_string(), "ociVersion for {kind}");
        // The spec's words; runc says "creating" up to the start, and "created" in startContainer.
        let status = state["status"].as_str().unwrap_or_default();
        let wanted: &[&str] = match kind {
            "poststart" if env.is(Peer::Runc) => &["created"],
            "poststart" => &["running"],
            "poststop" => &["stopped"],
            "startContainer" => &["created"],
            _ => &["creating"],
        };
        ensure!(wanted.contains(&status), "status for {kind}: {status}");
        let seen = state["pid"].as_i64();
        match kind {
            "poststop" => ensure!(seen.is_none_or(|p| p == 0), "pid for poststop: {seen:?}"),
            "createContainer" | "startContainer" => ensure!(seen.is_some(), "no pid for {kind}"),
            _ => ensure_eq!(seen, Some(i64::from(pid)), "pid for {kind}"),
        }
    }
    Ok(())
}

/// What each kind of hook was started with, word for word.
fn environment(env: &mut Env) -> Outcome {
    // createContainer may see a /proc of other numbers than its own: no /proc/$$.
    const NOTE: &str = "exec 3< /proc/self/cmdline; cat <&3 > $OUT.args; env > $OUT.env";
    // The shell's own.
    const SHELL: [&str; 3] = ["PWD=", "SHLVL=", "_="];
    let notes = env.dir.join("notes");
    fs::create_dir(&notes)?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.bind(&notes, "/notes", &["rw"])?.set("/hooks", json!({}))?;
    let started = |kind: &str| {
        let out = match kind {
            "startContainer" => PathBuf::from("/notes").join(kind),
            _ => notes.join(kind),
        };
        let args = ["sh", "-c", NOTE, "zero", "two words", "", kind].map(str::to_owned);
        let variables = [
            "EMPTY=".to_owned(),
            format!("KIND={kind} A=1"),
            format!("OUT={}", out.display()),
            "PATH=/usr/bin:/bin".to_owned(),
        ];
        (args, variables)
    };
    for kind in KINDS {
        let (args, variables) = started(kind);
        let hook = json!([{"path": "/bin/sh", "args": args, "env": variables}]);
        bundle.set(&format!("/hooks/{kind}"), hook)?;
    }
    env.run(&bundle)?.env("LEAK", "1").ok()?;
    let read = |kind: &str, extension: &str| {
        fs::read_to_string(notes.join(kind).with_extension(extension))
    };
    for kind in KINDS {
        let (args, variables) = started(kind);
        let words = read(kind, "args")?;
        let words: Vec<&str> = words.split_terminator('\0').collect();
        ensure_eq!(words, args, "arguments of {kind}");
        let lines = read(kind, "env")?;
        let own = |line: &&str| !SHELL.iter().any(|name| line.starts_with(name));
        let mut lines: Vec<&str> = lines.lines().filter(own).collect();
        lines.sort_unstable();
        ensure_eq!(lines, variables, "environment of {kind}");
    }
    Ok(())
}

fn several(env: &mut Env) -> Outcome {
    let file = note(env);
    let path = script(env, "echo", &format!("echo $1 >> {}", file.display()))?;
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    let one = |word: &str| json!({"path": path, "args": ["x", word]});
    bundle.set("/hooks", json!({"createRuntime": [one("a"), one("b"), one("c")]}))?;
    env.run(&bundle)?.ok()?;
    ensure_eq!(fs::read_to_string(file)?, "a\nb\nc\n", "order");
    Ok(())
}

fn namespaces(env: &mut Env) -> Outcome {
    // createRuntime and prestart: the runtime's; createContainer: the container's, with the host's
    // files still in reach; startContainer: all the container's.
    let line = "echo $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/uts)";
    let mut bundle = env.bundle()?;
    bundle.set("/hooks", json!({}))?;
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let file = env.dir.join(format!("ns-{kind}"));
        let path = script(env, kind, &format!("{line} > {}", file.display()))?;
        bundle.set(&format!("/hooks/{kind}"), json!([{"path": path}]))?;
    }
    bundle.args(&["sleep", "1000"]);
    let id = env.create(&bundle, "c", &[])?;
    let words = |pid: &str| -> Result<String, Failure> {
        let one = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}"));
        Ok(format!(
            "{} {} {}\n",
            one("mnt")?.display(),
            one("net")?.display(),
            one("uts")?.display()
        ))
    };
    let (host, container) = (words("self")?, words(&env.pid(&id)?.to_string())?);
    let read = |kind: &str| fs::read_to_string(env.dir.join(format!("ns-{kind}")));
    ensure_eq!(read("prestart")?, host, "namespaces of prestart");
    ensure_eq!(read("createRuntime")?, host, "namespaces of createRuntime");
    ensure_eq!(read("createContainer")?, container, "namespaces of createContainer");
    Ok(())
}

fn fails(env: &Env, kind: &str, path: &Path) -> Result<Bundle, Failure> {
    let mut bundle = hooked(env)?;
    bundle.set(&format!("/hooks/{kind}"), json!([{"path": path, "args": ["false"]}]))?;
    Ok(bundle)
}

fn failure_before(env: &mut Env) -> Outcome {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let path = match kind {
            "startContainer" => PathBuf::from("/bin/false"),
            _ => script(env, "fail", "echo this went wrong >&2; exit 3")?,
        };
        let bundle = fails(env, kind, &path)?;
        let output = env.run(&bundle)?.exits(1)?;
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
        ensure!(output.stderr.contains("hook"), "the line does not speak of a hook: {output}");
        if env.is(Peer::Ghost) {
            ensure!(output.stderr.contains(kind), "the line does not name {kind}: {output}");
            if kind != "startContainer" {
                ensure!(output.stderr.contains("this went wrong"), "its stderr is lost: {output}");
            }
        }
        let notes = notes(env)?;
        let seen = names(&notes);
        if !env.is(Peer::Runc) {
            ensure!(!seen.contains(&"poststart"), "poststart ran after {kind} failed");
        }
        if env.is(Peer::Ghost) {
            ensure_eq!(seen.last(), Some(&"poststop"), "the last hook after {kind} failed");
        }
        env.nothing_left()?;
    }
    Ok(())
}

fn failure_poststart(env: &mut Env) -> Outcome {
    // Since version 1.3 of the spec it stops the container, as runc always did.
    let path = script(env, "fail", "exit 3")?;
    let bundle = fails(env, "poststart", &path)?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("hook"), "the line does not speak of a hook: {output}");
    env.nothing_left()?;
    if env.is(Peer::Ghost) {
        let id = env.create(&bundle, "c", &[])?;
        let output = env.verb("start", &id).exits(1)?;
        ensure!(output.stderr.contains("poststart"), "{output}");
        env.wait_status(&id, "stopped")?;
    }
    Ok(())
}

fn failure_poststop(env: &mut Env) -> Outcome {
    let path = script(env, "fail", "exit 3")?;
    let mut bundle = fails(env, "poststop", &path)?;
    bundle.args(&["true"]);
    env.run(&bundle)?.ok()?;
    env.nothing_left()
}

fn timeout(env: &mut Env) -> Outcome {
    // runc waits for whoever holds the hook's output, and so for what the hook started.
    let body = if env.is(Peer::Ghost) { "sleep 30 & sleep 30" } else { "exec sleep 30" };
    let path = script(env, "slow", body)?;
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    bundle.set("/hooks", json!({"createRuntime": [{"path": path, "timeout": 1}]}))?;
    let start = Instant::now();
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(start.elapsed() < Duration::from_secs(8), "took {:?}", start.elapsed());
    ensure!(start.elapsed() > Duration::from_millis(900), "took only {:?}", start.elapsed());
    if env.is(Peer::Ghost) {
        ensure!(output.stderr.contains("createRuntime"), "{output}");
    }
    crate::leaks::processes().iter().filter(|(_, line)| line.contains("sleep 30")).for_each(
        |(pid, _)| {
            // runc ends the hook alone, not what it started.
            if let Some(pid) = rustix::process::Pid::from_raw(*pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        },
    );
    env.nothing_left()
}

fn missing(env: &mut Env) -> Outcome {
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let mut bundle = env.bundle()?;
        bundle.args(&["true"]);
        bundle.set("/hooks", json!({kind: [{"path": "/no/such/hook"}]}))?;
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("/no/such/hook"), "{output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn network(env: &mut Env) -> Outcome {
    // What a CNI plugin does: it finds the network namespace by the pid of the state.
    let path = script(
        env,
        "net",
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | tr -dc 0-9); nsenter -t $pid -n ip link set lo mtu 1234",
    )?;
    let mut bundle = env.bundle()?;
    bundle.args(&["cat", "/sys/class/net/lo/mtu"]);
    bundle.set(
        "/hooks",
        json!({"prestart": [{"path": path, "env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]}]}),
    )?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1234\n", "mtu");
    Ok(())
}

fn poststop_forced(env: &mut Env) -> Outcome {
    let bundle = hooked(env)?;
    let id = env.detach(&bundle, "d", &[])?;
    env.runtime(&["delete", "--force", &id]).ok()?;
    let notes = notes(env)?;
    ensure_eq!(names(&notes).last(), Some(&"poststop"), "last hook");
    Ok(())
}

fn endless(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["echo", "ran"]);
    let hook = json!([{"path": "/bin/true", "args": ["true"], "timeout": i64::MAX}]);
    bundle.set("/hooks", json!({"createRuntime": hook}))?;
    let output = env.run(&bundle)?.ok()?;
    ensure_eq!(output.stdout, "ran\n", "stdout");
    Ok(())
}
