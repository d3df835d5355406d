//! Hooks beyond their order: where they run, what they may leave out, and what becomes of those that
//! hang or fail.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::hooks::script;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const GHOST: &[(Peer, &str)] = &[
    (Peer::Runc, "runc 1.1 is of an older version of the spec"),
    (Peer::Crun, "crun 1.8.1 is of an older version of the spec"),
];
const CRUN_CGROUP: &[(Peer, &str)] = &[(Peer::Crun, "crun 1.8.1 leaves its cgroup")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("hooks/start-container-runs-in-the-container", start_container),
    Case::new("hooks/poststart-and-poststop-run-outside", outside),
    Case::new("hooks/working-directory-is-the-bundle", directory)
        .not_on(&[(Peer::Crun, "crun stays where it is")]),
    Case::new("hooks/path-alone", path_alone),
    Case::new("hooks/empty-environment", empty_environment)
        .not_on(&[(Peer::Runc, "runc gives its own"), (Peer::Crun, "crun gives its own")]),
    Case::new("hooks/state-that-nobody-reads", unread),
    Case::new("hooks/bad-values", bad).not_on(CRUN_CGROUP),
    Case::new("hooks/timeout-of-every-kind", timeouts).not_on(GHOST),
    Case::new("hooks/first-failure-ends-its-kind", first_failure).not_on(CRUN_CGROUP),
    Case::new("hooks/failed-poststart-is-the-last-of-its-kind", poststart).not_on(GHOST),
    Case::new("hooks/every-poststop-runs", every_poststop).not_on(GHOST),
];

fn hook(env: &Env, name: &str, body: &str) -> Result<Value, Failure> {
    let path = script(env, name, body)?;
    Ok(json!({"path": path, "env": ["PATH=/usr/bin:/bin"]}))
}

fn start_container(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.set(
        "/hooks",
        json!({"startContainer": [{
            "path": "/bin/sh", "env": ["PATH=/bin"],
            "args": ["sh", "-c", "for n in mnt net uts pid ipc; do readlink /proc/self/ns/$n; done > /out"],
        }]}),
    )?;
    bundle.args(&["sleep", "1000"]);
    let id = env.create(&bundle, "c", &[])?;
    let out = bundle.rootfs().join("out");
    ensure!(!out.exists(), "startContainer ran before start");
    env.verb("start", &id).ok()?;
    let pid = env.pid(&id)?;
    let mut wanted = String::new();
    for name in ["mnt", "net", "uts", "pid", "ipc"] {
        let link = fs::read_link(format!("/proc/{pid}/ns/{name}"))?;
        wanted.push_str(&format!("{}\n", link.display()));
    }
    ensure_eq!(fs::read_to_string(out)?, wanted, "namespaces of startContainer");
    Ok(())
}

fn outside(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/hooks", json!({}))?;
    let mut files = Vec::new();
    for kind in ["poststart", "poststop"] {
        let file = env.dir.join(kind);
        let body = format!(
            "for n in mnt net uts pid; do readlink /proc/self/ns/$n; done > {}",
            file.display()
        );
        bundle.set(&format!("/hooks/{kind}"), json!([hook(env, kind, &body)?]))?;
        files.push(file);
    }
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    ensure!(!files[1].exists(), "poststop ran before delete");
    env.runtime(&["delete", "--force", &id]).ok()?;
    let mut wanted = String::new();
    for name in ["mnt", "net", "uts", "pid"] {
        let link = fs::read_link(format!("/proc/self/ns/{name}"))?;
        wanted.push_str(&format!("{}\n", link.display()));
    }
    for file in files {
        ensure_eq!(fs::read_to_string(&file)?, wanted, "namespaces of {}", file.display());
    }
    Ok(())
}

fn directory(env: &mut Env) -> Outcome {
    let file = env.dir.join("pwd");
    let one = hook(env, "pwd", &format!("pwd >> {}", file.display()))?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/hooks", json!({"createRuntime": [one]}))?;
    env.run(&bundle)?.ok()?;
    ensure_eq!(fs::read_to_string(file)?, format!("{}\n", bundle.dir.display()), "folder");
    Ok(())
}

fn path_alone(env: &mut Env) -> Outcome {
    let file = env.dir.join("ran");
    let path = script(env, "alone", &format!("echo $# > {}", file.display()))?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/hooks", json!({"createRuntime": [{"path": path}]}))?;
    env.run(&bundle)?.ok()?;
    ensure_eq!(fs::read_to_string(file)?, "0\n", "number of arguments");
    Ok(())
}

fn empty_environment(env: &mut Env) -> Outcome {
    let file = env.dir.join("env");
    let path = script(env, "env", &format!("/usr/bin/env > {}", file.display()))?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/hooks", json!({"createRuntime": [{"path": path}]}))?;
    env.run(&bundle)?.env("LEAK", "1").ok()?;
    let text = fs::read_to_string(file)?;
    ensure!(!text.contains("LEAK"), "the caller's environment leaks: {text}");
    Ok(())
}

fn unread(env: &mut Env) -> Outcome {
    // More than a pipe holds, to a hook that never looks.
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/annotations", json!({"long": "x".repeat(200_000)}))?;
    let one = hook(env, "unread", "exit 0")?;
    bundle.set(
        "/hooks",
        json!({"createRuntime": [one], "createContainer": [one], "poststart": [one], "poststop": [one]}),
    )?;
    env.run(&bundle)?.ok()?;
    env.nothing_left()
}

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn bad(env: &mut Env) -> Outcome {
    for kind in KINDS {
        for (value, name) in [
            (json!({"path": "bin/true"}), "path"),
            (json!({"path": "/bin/true", "timeout": 0}), "timeout"),
            (json!({"path": "/bin/true", "timeout": -1}), "timeout"),
        ] {
            // runc 1.1 takes what ends at once, and finds no relative path.
            if !env.is(Peer::Ghost) && name == "timeout" {
                continue;
            }
            let mut bundle = env.bundle_with(&["true"])?;
            bundle.set("/hooks", json!({kind: [{"path": "/bin/true"}, value]}))?;
            let call = env.run(&bundle)?;
            if !env.is(Peer::Ghost) {
                call.output()?;
                continue;
            }
            let output = call.exits(1)?;
            let field = format!("hooks.{kind}[1].{name}");
            ensure!(output.stderr.contains(&field), "{field} is not named: {output}");
            env.nothing_left()?;
        }
    }
    Ok(())
}

fn slow(env: &Env, kind: &str) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    let hook = match kind {
        "startContainer" => json!({"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}),
        _ => {
            json!({"path": script(env, kind, "exec sleep 60")?, "env": ["PATH=/bin"], "timeout": 1})
        }
    };
    bundle.set("/hooks", json!({kind: [hook]}))?;
    Ok(bundle)
}

fn timeouts(env: &mut Env) -> Outcome {
    for kind in KINDS.into_iter().filter(|kind| *kind != "poststop") {
        let start = Instant::now();
        let output = env.run(&slow(env, kind)?)?.exits(1)?;
        ensure!(start.elapsed() < Duration::from_secs(30), "{kind} took {:?}", start.elapsed());
        for word in [kind, "timed out"] {
            ensure!(output.stderr.contains(word), "no {word} in {output}");
        }
        env.nothing_left()?;
    }
    let mut bundle = slow(env, "poststop")?;
    bundle.args(&["true"]);
    // Nothing is to be stopped any more: a warning.
    ensure!(warned(env, &bundle)?.contains("timed out"), "no warning");
    env.nothing_left()
}

/// What a `run` that succeeds logs with --debug, which shows warnings too.
fn warned(env: &Env, bundle: &Bundle) -> Result<String, Failure> {
    bundle.save()?;
    let (dir, id) = (bundle.dir.to_string_lossy().into_owned(), env.id("run"));
    Ok(env.runtime(&["--debug", "run", "--bundle", &dir, &id]).ok()?.stderr)
}

fn first_failure(env: &mut Env) -> Outcome {
    let file = env.dir.join("ran");
    let bad = hook(env, "bad", "exit 3")?;
    let note = hook(env, "note", &format!("echo x >> {}", file.display()))?;
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = env.bundle_with(&["true"])?;
        bundle.set("/hooks", json!({kind: [note, bad, note]}))?;
        fs::write(&file, "")?;
        env.run(&bundle)?.exits(1)?;
        ensure_eq!(fs::read_to_string(&file)?, "x\n", "{kind} hooks that ran");
        env.nothing_left()?;
    }
    Ok(())
}

fn poststart(env: &mut Env) -> Outcome {
    let file = env.dir.join("ran");
    let note = |word: &str| hook(env, word, &format!("echo {word} >> {}", file.display()));
    let bad = hook(env, "bad", "echo this went wrong >&2; exit 3")?;
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    let hooks =
        json!({"poststart": [note("one")?, bad, note("two")?], "poststop": [note("stop")?]});
    bundle.set("/hooks", hooks)?;
    let id = env.create(&bundle, "c", &[])?;
    let output = env.verb("start", &id).exits(1)?;
    for word in ["poststart", "#1", "this went wrong"] {
        ensure!(output.stderr.contains(word), "no {word} in {output}");
    }
    env.wait_status(&id, "stopped")?;
    ensure_eq!(fs::read_to_string(&file)?, "one\n", "hooks before delete");
    env.verb("delete", &id).ok()?;
    ensure_eq!(fs::read_to_string(&file)?, "one\nstop\n", "hooks after delete");
    env.nothing_left()
}

fn every_poststop(env: &mut Env) -> Outcome {
    let file = env.dir.join("ran");
    let note = hook(env, "note", &format!("echo x >> {}", file.display()))?;
    let bad = hook(env, "bad", "exit 3")?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/hooks", json!({"poststop": [note, bad, note]}))?;
    ensure!(warned(env, &bundle)?.contains("poststop hook #1"), "no warning");
    ensure_eq!(fs::read_to_string(&file)?, "x\nx\n", "hooks that ran");
    env.nothing_left()
}
