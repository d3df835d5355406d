//! conmon without an engine, called as podman and CRI-O call it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bundle::Bundle;
use crate::call::{Call, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::ensure_eq;
use crate::env::Env;

const CONMON: &[Need] = &[Need::Native, Need::Command("conmon")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    Case::new("conmon/create-and-start", create).needs(CONMON).not_on(CRUN),
    Case::new("conmon/terminal", terminal).needs(CONMON).not_on(CRUN),
    Case::new("conmon/exec", exec).needs(CONMON).not_on(CRUN),
    Case::new("conmon/exec-terminal", exec_terminal).needs(CONMON).not_on(CRUN),
];

/// A call of conmon's, whose files are in a directory of its own below the case's.
fn conmon(
    env: &Env,
    bundle: &Bundle,
    id: &str,
    folder: &str,
    more: &[&str],
) -> Result<Call, Failure> {
    let dir = env.dir.join(folder);
    fs::create_dir_all(dir.join("exits"))?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let path = |name: &str| text(dir.join(name));
    let root = format!("--root={}", env.root().display());
    let (runtime, log) = (text(env.shared.runtime.clone()), format!("k8s-file:{}", path("log")));
    let words = ["conmon", "--api-version", "1", "--cid", id, "--cuuid", id, "--name", "one"];
    let words = [&words[..], &["--runtime", &runtime, "--runtime-arg", &root]].concat();
    let (bundle, exits, own) = (text(bundle.dir.clone()), path("exits"), text(dir.clone()));
    let words =
        [&words[..], &["--bundle", &bundle, "--exit-dir", &exits, "--full-attach"]].concat();
    let words = [&words[..], &["--log-path", &log, "--socket-dir-path", &own]].concat();
    let (pid, conmon) = (path("pid"), path("conmon.pid"));
    let words = [&words[..], &["--container-pidfile", &pid, "--conmon-pidfile", &conmon]].concat();
    Ok(env.command(&[&words[..], more].concat()))
}

/// Wait until the log has these lines.
fn wait_log(env: &Env, folder: &str, lines: &[&str]) -> Outcome {
    let path = env.dir.join(folder).join("log");
    wait_until(env.shared.limit, &format!("the log to have {lines:?}"), || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let has = |end: &&str| text.lines().any(|line| line.trim_end().ends_with(end));
        Ok(lines.iter().all(has).then_some(()))
    })
}

fn create(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("echo one; echo two >&2; read line; exit 7");
    bundle.save()?;
    let id = env.id("one");
    env.adopt(&id);
    conmon(env, &bundle, &id, "c", &[])?.ok()?;
    ensure_eq!(env.wait_file(&env.dir.join("c/pid"))?, env.pid(&id)?.to_string(), "the pid file");
    ensure_eq!(env.status(&id)?, "created", "status");
    env.verb("start", &id).ok()?;
    // Its stdin is empty, so the container ends.
    let code = env.wait_file(&env.dir.join("c/exits").join(&id))?;
    ensure_eq!(code, "7", "the exit code that conmon saw");
    wait_log(env, "c", &["stdout F one", "stderr F two"])?;
    env.verb("delete", &id).ok()?;
    Ok(())
}

fn terminal(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("tty; test -t 0 && exit 8");
    bundle.config["process"]["terminal"] = true.into();
    bundle.save()?;
    let id = env.id("one");
    env.adopt(&id);
    conmon(env, &bundle, &id, "t", &["--terminal"])?.ok()?;
    // conmon goes to the background before it calls the runtime.
    env.wait_file(&env.dir.join("t/pid"))?;
    env.wait_status(&id, "created")?;
    env.verb("start", &id).ok()?;
    exited(env, Path::new("t"), &id, "8")?;
    wait_log(env, "t", &["stdout F /dev/pts/0"])?;
    env.verb("delete", &id).ok()?;
    Ok(())
}

/// A container that conmon has nothing to do with, and the process to be run in it.
fn target(env: &Env, terminal: bool, script: &str) -> Result<(Bundle, String, String), Failure> {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "one", &[])?;
    let mut process = bundle.config["process"].clone();
    process["args"] = serde_json::json!(["sh", "-c", script]);
    process["terminal"] = terminal.into();
    let file = env.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process)?)?;
    Ok((bundle, id, file.to_string_lossy().into_owned()))
}

fn exited(env: &Env, folder: &Path, id: &str, code: &str) -> Outcome {
    let found = env.wait_file(&env.dir.join(folder).join("exits").join(id))?;
    ensure_eq!(found, code, "the exit code that conmon saw");
    Ok(())
}

fn exec(env: &mut Env) -> Outcome {
    let (bundle, id, file) = target(env, false, "echo one; echo two >&2; exit 5")?;
    conmon(env, &bundle, &id, "e", &["--exec", "--exec-process-spec", &file])?.ok()?;
    exited(env, Path::new("e"), &id, "5")?;
    wait_log(env, "e", &["stdout F one", "stderr F two"])?;
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

fn exec_terminal(env: &mut Env) -> Outcome {
    let (bundle, id, file) = target(env, true, "tty; exit 6")?;
    let flags = ["--exec", "--exec-process-spec", &file, "--terminal"];
    conmon(env, &bundle, &id, "e", &flags)?.ok()?;
    exited(env, Path::new("e"), &id, "6")?;
    wait_log(env, "e", &["stdout F /dev/pts/0"])
}
