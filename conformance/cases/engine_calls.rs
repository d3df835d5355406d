//! The runtime called word by word as each engine calls it, and what they read back: nothing on stdout
//! or stderr but what was asked for.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bundle::Bundle;
use crate::call::{Call, Output, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const LIMITS: &[Need] = &[Need::Controllers];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "it has other flags, and needs a preloaded library")];

const GREEDY: &[(Peer, &str)] = &[CRUN[0], (Peer::Runc, "it needs 4 MiB or more")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("engine-calls/containerd-and-docker", shim).needs(LIMITS).not_on(CRUN),
    Case::new("engine-calls/buildkit", buildkit).not_on(CRUN),
    Case::new("engine-calls/cri-o", cri_o).needs(LIMITS).not_on(CRUN),
    Case::new("engine-calls/buildah", buildah).not_on(CRUN),
    Case::new("engine-calls/podman", podman).needs(&[Need::Controllers]).not_on(CRUN),
    Case::new("engine-calls/restore-of-go-runc", go_runc).not_on(CRUN),
    Case::new("engine-calls/least-memory-that-engines-give", least_memory)
        .needs(LIMITS)
        .not_on(GREEDY),
];

fn path(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// A call that has nothing to tell.
fn silent(call: Call) -> Outcome {
    let output = call.ok()?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{output}");
    Ok(())
}

/// The `process` of a bundle with another command, in a file.
fn process(env: &Env, bundle: &Bundle, script: &str) -> Result<String, Failure> {
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(["sh", "-c", script]);
    let file = env.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process)?)?;
    Ok(path(file))
}

/// The shim's and so Docker's: a log in the bundle, ever the same global flags.
fn shim(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let (id, dir, root) = (env.id("one"), path(&bundle.dir), path(env.root()));
    env.adopt(&id);
    let log = bundle.dir.join("log.json");
    let global = ["--root", &root, "--log", &path(&log), "--log-format", "json"];
    let call = |words: &[&str]| env.bare_runtime(&[&global[..], words].concat());
    let pid = path(bundle.dir.join("init.pid"));
    let words = ["create", "--bundle", &dir, "--pid-file", &pid, "--no-new-keyring", &id];
    silent(call(&words))?;
    silent(call(&["start", &id]))?;
    let first = fs::read_to_string(&pid)?;
    let spec = process(env, &bundle, "exec sleep 1001")?;
    let extra = path(bundle.dir.join("extra.pid"));
    silent(call(&["exec", "--process", &spec, "--detach", "--pid-file", &extra, &id]))?;
    let second = fs::read_to_string(&extra)?;
    let output = call(&["ps", "--format", "json", &id]).ok()?;
    ensure_eq!(output.stderr, "", "stderr of ps");
    let pids = output.json()?;
    ensure_eq!(pids, json!([first.parse::<i32>()?, second.parse::<i32>()?]), "pids");
    silent(call(&["pause", &id]))?;
    silent(call(&["resume", &id]))?;
    let resources = env.dir.join("resources");
    fs::write(&resources, r#"{"memory": {"limit": 67108864}, "pids": {"limit": 44}}"#)?;
    silent(call(&["update", "--resources=-", &id]).stdin(fs::File::open(&resources)?))?;
    silent(call(&["kill", "--all", &id, "9"]))?;
    env.wait_status(&id, "stopped")?;
    ensure_eq!(fs::read_to_string(&log).unwrap_or_default(), "", "the log of what went well");
    // The shim takes the last line's message for the error.
    let output = call(&["kill", &id, "15"]).exits(1)?;
    let text = fs::read_to_string(&log)?;
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    ensure_eq!(
        (&line["level"], &line["msg"]),
        (&json!("error"), &json!("container not running")),
        "{output}"
    );
    silent(call(&["delete", &id]))?;
    silent(call(&["delete", "--force", &id]))
}

fn buildkit(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("until [ -e /go ]; do sleep 0.02; done; exit 4");
    bundle.save()?;
    let (id, dir) = (env.id("one"), path(&bundle.dir));
    env.adopt(&id);
    let running = env.runtime(&["run", "--bundle", &dir, "--keep", &id]).spawn()?;
    wait_until(env.shared.limit, "the container to run", || {
        let output = env.verb("state", &id).output()?;
        ensure!(output.code() == 0 || output.stderr.contains("does not exist"), "{output}");
        Ok(output.stdout.contains("\"status\": \"running\"").then_some(()))
    })?;
    let spec = process(env, &bundle, "echo in; exit 3")?;
    let pid = path(env.dir.join("exec.pid"));
    let words = ["exec", "--process", &spec, "--pid-file", &pid, &id];
    let output = env.runtime(&words).exits(3)?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("in\n", ""), "exec");
    ensure!(fs::read_to_string(&pid)?.parse::<i32>()? > 0, "the pid file of exec");
    fs::write(bundle.rootfs().join("go"), "")?;
    // Its exit status is the container's, which is still there.
    running.wait()?.expect_code(4)?;
    ensure_eq!(env.status(&id)?, "stopped", "status");
    silent(env.verb("delete", &id))
}

fn cri_o(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.create(&bundle, "one", &[])?;
    silent(env.verb("start", &id))?;
    // stdout and stderr of these are parsed as one text.
    for words in [&["state", &id][..], &["features"], &["--version"]] {
        let output = env.runtime(words).ok()?;
        ensure_eq!(output.stderr, "", "stderr of {words:?}");
    }
    let spec = process(env, &bundle, "echo out; echo err >&2; exit 3")?;
    let output = env.runtime(&["exec", "--process", &spec, &id]).exits(3)?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"), "exec");
    let resources = env.dir.join("resources");
    fs::write(&resources, r#"{"pids": {"limit": 44}}"#)?;
    let words = ["update", "--resources", "-", &id];
    silent(env.runtime(&words).stdin(fs::File::open(&resources)?))?;
    silent(env.verb("pause", &id))?;
    ensure_eq!(env.status(&id)?, "paused", "status");
    silent(env.verb("resume", &id))?;
    silent(env.runtime(&["kill", "-a", &id, "KILL"]))?;
    env.wait_status(&id, "stopped")?;
    let known = |output: &Output| {
        let known = ["no such process", "container not running", "invalid process"];
        known.iter().any(|text| output.stderr.contains(text))
    };
    let output = env.runtime(&["kill", &id, "TERM"]).exits(1)?;
    ensure!(known(&output), "not what CRI-O takes for a container that is gone: {output}");
    silent(env.runtime(&["delete", "--force", &id]))
}

fn buildah(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let (id, dir, pid) = (env.id("one"), path(&bundle.dir), path(env.dir.join("pid")));
    env.adopt(&id);
    silent(env.runtime(&["create", "--bundle", &dir, "--pid-file", &pid, &id]))?;
    silent(env.verb("start", &id))?;
    silent(env.verb("kill", &id))?;
    let mut seen = Vec::new();
    silent(env.runtime(&["kill", &id, "9"]))?;
    wait_until(env.shared.limit, "the end", || {
        crate::leaks::reap();
        seen.push(env.status(&id)?);
        Ok((seen.last().is_some_and(|status| status == "stopped")).then_some(()))
    })?;
    // It knows no others.
    let known = ["creating", "created", "running", "stopped"];
    ensure!(seen.iter().all(|status| known.contains(&status.as_str())), "statuses {seen:?}");
    silent(env.verb("delete", &id))
}

/// podman leaves one variable in the environment of its own calls.
fn podman(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.create(&bundle, "one", &[])?;
    let call = |words: &[&str]| env.runtime(words).clear_env().env("XDG_RUNTIME_DIR", &env.dir);
    for words in [
        &["start", &id][..],
        &["pause", &id],
        &["resume", &id],
        &["kill", "--all", &id, "15"],
        &["kill", &id, "9"],
    ] {
        silent(call(words))?;
    }
    env.wait_status(&id, "stopped")?;
    silent(call(&["delete", "--force", &id]))?;
    ensure!(call(&["--version"]).ok()?.stdout.contains("version"), "--version");
    Ok(())
}

/// One dash, as nobody else writes it.
fn go_runc(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sh", "-c", "exit 3"])?;
    let words = ["run", "-no-subreaper", "--bundle", &path(&bundle.dir), &env.id("one")];
    env.runtime(&words).exits(3)?;
    Ok(())
}

/// 512 KiB are what CRI-O gives a small runtime's containers at the least; Docker's 6 MiB are more.
fn least_memory(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["/bin/rawcall", "39"])?;
    bundle.set("/linux/resources/memory", json!({"limit": 524_288}))?;
    for _ in 0..5 {
        env.run(&bundle)?.ok()?;
    }
    Ok(())
}
