//! Scopes of a user's own manager: a caller without privileges, with XDG_RUNTIME_DIR alone in its
//! environment, from outside of what that manager has.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::cgroups_v2::group_of;
use super::systemd::{call, fails, start, unit};
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::user::UID;
use crate::{ensure, ensure_eq};

const SYSTEMD: &[Need] = &[Need::Systemd];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("systemd-user/scope", scope).needs(SYSTEMD),
    Case::new("systemd-user/exec-is-in-the-scope", exec)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves the process in its caller's cgroup")]),
    Case::new("systemd-user/exec-without-a-runtime-directory", exec_without_directory)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves the process in its caller's cgroup")]),
    Case::new("systemd-user/update", update).needs(SYSTEMD),
    Case::new("systemd-user/bus-that-is-not-there", no_bus)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "its words are others")]),
    Case::new("systemd-user/bus-that-does-not-answer", silent_bus)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "its words are others, or it waits longer")]),
];

/// From now on, the user calls the runtime, in its real session.
fn bundle(env: &mut Env) -> Result<Bundle, Failure> {
    env.become_user()?;
    if let Some(user) = &mut env.user {
        user.runtime_dir = format!("/run/user/{UID}").into();
    }
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    bundle.set("/linux/cgroupsPath", json!(format!(":cf:{}", env.mark)))?;
    bundle
        .set("/linux/resources", json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 33}}))?;
    Ok(bundle)
}

/// A property, as the user's systemctl shows it.
fn property(env: &Env, name: &str) -> Result<String, Failure> {
    let unit = unit(env);
    let words = ["systemctl", "--user", "show", "--value", "-p", name, &unit];
    let call = env.command(&words);
    let output = match &env.user {
        Some(user) => user.call(call).ok()?,
        None => call.ok()?,
    };
    Ok(output.stdout.trim().to_owned())
}

fn scope(env: &mut Env) -> Outcome {
    let bundle = bundle(env)?;
    let id = start(env, &bundle, "c")?;
    let group = group_of(env.pid(&id)?)?;
    let wanted = format!("user@{UID}.service/user.slice/{}", unit(env));
    ensure!(group.ends_with(&wanted), "group {}", group.display());
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "user.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "33"),
    ] {
        ensure_eq!(property(env, name)?, value, "{name}");
    }
    for (file, value) in [("memory.max", "67108864"), ("pids.max", "33")] {
        ensure_eq!(fs::read_to_string(group.join(file))?.trim(), value, "{file}");
    }
    env.verb("pause", &id).ok()?;
    ensure_eq!(env.status(&id)?, "paused", "status");
    env.verb("resume", &id).ok()?;
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    ensure_eq!(property(env, "ActiveState")?, "inactive", "ActiveState");
    ensure_eq!(property(env, "LoadState")?, "not-found", "LoadState");
    env.nothing_left()
}

fn exec(env: &mut Env) -> Outcome {
    // The user may not move a process from its caller's cgroup into its manager's: systemd does.
    let bundle = bundle(env)?;
    let id = start(env, &bundle, "c")?;
    env.exec(&id, &["--detach"], &["sleep", "1000"]).ok()?;
    let group = group_of(env.pid(&id)?)?;
    let procs = fs::read_to_string(group.join("cgroup.procs"))?;
    ensure_eq!(procs.lines().count(), 2, "processes in the scope");
    let output = env.exec(&id, &[], &["cat", "/proc/self/cgroup"]).ok()?;
    ensure_eq!(output.stdout, "0::/\n", "its own view");
    Ok(())
}

/// Not even XDG_RUNTIME_DIR leads to the user's manager: its user ID does.
fn exec_without_directory(env: &mut Env) -> Outcome {
    let bundle = bundle(env)?;
    let id = start(env, &bundle, "c")?;
    let call = env.exec(&id, &["--detach"], &["sleep", "1000"]);
    call.under(&["env", "--unset=XDG_RUNTIME_DIR"]).ok()?;
    let procs = fs::read_to_string(group_of(env.pid(&id)?)?.join("cgroup.procs"))?;
    ensure_eq!(procs.lines().count(), 2, "processes in the scope");
    Ok(())
}

fn update(env: &mut Env) -> Outcome {
    let bundle = bundle(env)?;
    let id = start(env, &bundle, "c")?;
    env.runtime(&["update", "--pids-limit", "44", &id]).ok()?;
    ensure_eq!(property(env, "TasksMax")?, "44", "TasksMax");
    let group = group_of(env.pid(&id)?)?;
    ensure_eq!(fs::read_to_string(group.join("pids.max"))?.trim(), "44", "pids.max");
    Ok(())
}

fn no_bus(env: &mut Env) -> Outcome {
    let bundle = bundle(env)?;
    let dir = env.dir.join("xdg");
    let call = call(env, &bundle, "c")?.env("XDG_RUNTIME_DIR", &dir);
    fails(env, call, &["systemd: ", &unit(env), "No such file or directory"])?;
    Ok(())
}

fn silent_bus(env: &mut Env) -> Outcome {
    let bundle = bundle(env)?;
    let path = env.dir.join("bus");
    let listener = UnixListener::bind(&path)?;
    crate::user::own_tree(&path)?;
    let address = format!("unix:path={}", path.display());
    let call = call(env, &bundle, "c")?.env("DBUS_SESSION_BUS_ADDRESS", &address);
    fails(env, call, &[&unit(env), "no answer within 10 s"])?;
    drop(listener);
    Ok(())
}
