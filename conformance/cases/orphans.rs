//! Whose children the orphans of a container without a PID namespace become.

use std::fs;
use std::path::Path;

use crate::call::{Running, wait_until};
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("orphans/are-the-runtime's", adopted),
    Case::new("orphans/no-subreaper", left)
        .not_on(&[(Peer::Crun, "crun takes the flag and adopts them all the same")]),
];

/// Runs a container that makes an orphan; gives the call, the container's id and the orphan's process id.
fn orphan(env: &Env, flags: &[&str]) -> Result<(Running, String, u32), Failure> {
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("pid")?.writable();
    bundle.shell("(sleep 1000 & echo $! > /new; mv /new /orphan); exec sleep 1000");
    bundle.save()?;
    let id = env.id("c");
    let dir = bundle.dir.to_string_lossy().into_owned();
    let words = [&["run", "--bundle", &dir][..], flags, &[&id]].concat();
    let running = env.runtime(&words).spawn()?;
    let file = bundle.rootfs().join("orphan");
    env.wait_file(&file)?;
    let pid = fs::read_to_string(&file)?.trim().parse()?;
    let init = u32::try_from(env.pid(&id)?)?;
    // Its first parent is a moment from its end.
    wait_until(env.shared.limit, "an orphan", || {
        let parent = parent(pid)?;
        let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
        Ok((parent != init && name.trim() != "sh").then_some(()))
    })?;
    Ok((running, id, pid))
}

fn parent(pid: u32) -> Result<u32, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = text.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.ok_or_else(|| Failure(format!("no parent in {text}")))?.trim().parse()?)
}

fn adopted(env: &mut Env) -> Outcome {
    let (running, id, pid) = orphan(env, &[])?;
    ensure_eq!(parent(pid)?, running.pid(), "the orphan's parent");
    env.command(&["kill", "-KILL", &pid.to_string()]).ok()?;
    wait_until(env.shared.limit, "the orphan to be reaped", || {
        Ok((!Path::new("/proc").join(pid.to_string()).exists()).then_some(()))
    })?;
    ensure_eq!(env.status(&id)?, "running", "status");
    end(env, running, &id)
}

fn left(env: &mut Env) -> Outcome {
    let (running, id, pid) = orphan(env, &["--no-subreaper"])?;
    ensure!(parent(pid)? != running.pid(), "the orphan is the runtime's");
    end(env, running, &id)
}

fn end(env: &Env, running: Running, id: &str) -> Outcome {
    env.runtime(&["kill", id, "KILL"]).ok()?;
    running.wait()?.expect_code(137)
}
