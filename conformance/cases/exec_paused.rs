//! `exec --ignore-paused`: a process that waits in a frozen cgroup for its beginning.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::cgroups_v2;
use crate::bundle::Bundle;
use crate::call::{Running, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::silent::Silent;
use crate::{ensure, ensure_eq};

const ENDLESS: &[(Peer, &str)] = &[
    (Peer::Runc, "runc keeps every signal for the process, until that has begun"),
    (Peer::Crun, "crun 1.8 has no --ignore-paused"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("exec-paused/begins-when-resumed", begins)
        .not_on(&[(Peer::Crun, "crun 1.8 has no --ignore-paused")]),
    Case::new("exec-paused/ended-by-a-signal", ended).not_on(ENDLESS),
    Case::new("exec-paused/ended-in-a-cgroup-that-the-container-froze", ended_below)
        .needs(&[Need::V2])
        .not_on(ENDLESS),
    Case::new("exec-paused/runtime-is-killed-meanwhile", killed).not_on(&[
        (Peer::Runc, "runc's child runs the program then"),
        (Peer::Crun, "crun 1.8 has no --ignore-paused"),
    ]),
    Case::new("exec-paused/ended-while-a-file-system-keeps-it", stuck).not_on(ENDLESS),
    Case::new("exec-paused/signal-to-a-process-that-has-begun", passed_on)
        .not_on(&[(Peer::Crun, "crun leaves signals to the terminal")]),
];

const FLAG: &str = "--ignore-paused";

fn sleeping(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.writable().args(&["sleep", "1000"]);
    Ok(bundle)
}

fn sleeper(env: &Env) -> Result<String, Failure> {
    env.detach(&sleeping(env)?, "d", &[])
}

/// The children of all of its threads.
fn children(pid: u32) -> Result<Vec<String>, Failure> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(children)
}

/// Waits until the child of an exec is in the container's freezer.
fn held_back(env: &Env, running: &Running) -> Result<String, Failure> {
    wait_until(env.shared.limit, "a child that waits", || {
        for child in children(running.pid())? {
            let cgroups = fs::read_to_string(format!("/proc/{child}/cgroup")).unwrap_or_default();
            // In a view of one version the lines of the other are there as well.
            let mut freezers =
                cgroups.lines().filter(|l| l.contains(":freezer:") || l.starts_with("0::"));
            if freezers.any(|line| line.contains(&env.mark)) {
                return Ok(Some(child));
            }
        }
        Ok(None)
    })
}

fn begins(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    env.verb("pause", &id).ok()?;
    let running = env.exec(&id, &[FLAG], &["echo", "resumed"]).spawn()?;
    held_back(env, &running)?;
    ensure_eq!(running.stdout()?, "", "output of a paused container");
    env.verb("resume", &id).ok()?;
    ensure_eq!(running.wait()?.stdout, "resumed\n", "output");
    Ok(())
}

/// The exec ends by the signal, as one that could not begin, and leaves no process.
fn ends(env: &Env, id: &str, flags: &[&str], signal: &str) -> Outcome {
    let flags = [flags, &[FLAG]].concat();
    let running = env.exec(id, &flags, &["true"]).spawn()?;
    let child = held_back(env, &running)?;
    env.command(&["kill", &format!("-{signal}"), &running.pid().to_string()]).ok()?;
    let output = running.wait()?;
    output.expect_code(255)?;
    for word in ["exec failed", signal, "is frozen", &env.mark] {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    ensure!(!Path::new("/proc").join(&child).exists(), "{flags:?}: process {child} is left");
    Ok(())
}

fn ended(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    env.verb("pause", &id).ok()?;
    for (flags, signal) in
        [(&[][..], "TERM"), (&[], "INT"), (&["--detach"], "TERM"), (&["--detach"], "HUP")]
    {
        ends(env, &id, flags, signal)?;
    }
    ensure_eq!(env.status(&id)?, "paused", "status");
    env.verb("resume", &id).ok()?;
    env.exec(&id, &[], &["true"]).ok()?;
    let left: Vec<i32> =
        serde_json::from_str(&env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout)?;
    ensure_eq!(left, [env.pid(&id)?], "processes");
    Ok(())
}

fn ended_below(env: &mut Env) -> Outcome {
    let bundle = frozen_below(env)?;
    let id = env.detach(&bundle, "d", &[])?;
    env.wait_file(&bundle.rootfs().join("ready"))?;
    ends(env, &id, &["--cgroup", "a"], "TERM")?;
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

/// A container that freezes its cgroup `a`.
fn frozen_below(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    cgroups_v2::writable_cgroups(&mut bundle);
    bundle.namespace("cgroup", None)?.writable();
    bundle.shell(
        "cd /sys/fs/cgroup && mkdir a && echo 1 > a/cgroup.freeze && echo frozen > /ready; \
         sleep 1000",
    );
    Ok(bundle)
}

/// Nobody is left who would wait for the program: it must not run later.
fn killed(env: &mut Env) -> Outcome {
    let bundle = sleeping(env)?;
    let id = env.detach(&bundle, "d", &[])?;
    env.verb("pause", &id).ok()?;
    let running = env.exec(&id, &[FLAG], &["touch", "/tmp/ran"]).spawn()?;
    held_back(env, &running)?;
    env.command(&["kill", "-KILL", &running.pid().to_string()]).ok()?;
    running.wait()?;
    env.verb("resume", &id).ok()?;
    wait_until(env.shared.limit, "the end of the child", || {
        let listed = env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout;
        let pids: Vec<i32> = serde_json::from_str(&listed)?;
        Ok((pids == [env.pid(&id)?]).then_some(()))
    })?;
    ensure!(!bundle.rootfs().join("tmp/ran").exists(), "the program was run");
    env.exec(&id, &[], &["touch", "/tmp/ran"]).ok()?;
    ensure!(bundle.rootfs().join("tmp/ran").exists(), "a program of now was not run");
    Ok(())
}

/// A process that no freezer holds back has a while after the signal, and is killed then.
fn stuck(env: &mut Env) -> Outcome {
    let mut silent = Silent::new(&env.dir)?;
    let mut bundle = sleeping(env)?;
    bundle.mount(json!({
        "destination": "/mnt", "type": "bind", "source": silent.above, "options": ["rbind", "rslave"],
    }))?;
    let id = env.detach(&bundle, "d", &[])?;
    silent.begin()?;
    let call = env.exec(&id, &[FLAG], &["/mnt/silent/program"]);
    let running = call.limit(Duration::from_secs(60)).spawn()?;
    let child = held_back(env, &running)?;
    wait_until(env.shared.limit, "a child that asks the file system", || {
        // fuse_simple_request and its like.
        let place = fs::read_to_string(format!("/proc/{child}/stack"))?;
        Ok(place.contains("fuse").then_some(()))
    })?;
    env.command(&["kill", "-TERM", &running.pid().to_string()]).ok()?;
    let output = running.wait()?;
    output.expect_code(255)?;
    for word in ["exec failed", "SIGTERM", "10 s later", "was killed"] {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    ensure!(!Path::new("/proc").join(&child).exists(), "process {child} is left");
    env.exec(&id, &[], &["true"]).ok().map(drop)
}

fn passed_on(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let script = "trap 'exit 43' TERM; echo ready; while true; do sleep 0.02; done";
    let running = env.exec(&id, &[FLAG], &["sh", "-c", script]).spawn()?;
    running.wait_for_stdout("ready")?;
    env.command(&["kill", "-TERM", &running.pid().to_string()]).ok()?;
    running.wait()?.expect_code(43)
}
