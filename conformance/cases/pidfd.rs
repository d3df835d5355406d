//! `--pidfd-socket`: whoever listens gets a pidfd of the process.

use std::fs;
use std::os::fd::AsRawFd;

use crate::case::{Case, Failure, Outcome, Peer};
use crate::console::ConsoleSocket;
use crate::env::Env;
use crate::{ensure, ensure_eq};

const NEW: &[(Peer, &str)] = &[(Peer::Runc, "since runc 1.2"), (Peer::Crun, "has no such flag")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("pidfd/create-and-run", init).not_on(NEW),
    Case::new("pidfd/exec", exec).not_on(NEW),
    Case::new("pidfd/socket-missing", missing).not_on(NEW),
];

fn socket(env: &Env, name: &str) -> Result<(ConsoleSocket, String), Failure> {
    let socket = ConsoleSocket::bind(&env.dir.join(name))?;
    let path = socket.path.to_string_lossy().into_owned();
    Ok((socket, path))
}

/// The message is `kind`, with one pidfd, of `pid`.
fn check(env: &Env, socket: &ConsoleSocket, kind: &str, pid: i32) -> Outcome {
    let message = socket.receive(env.shared.limit)?;
    ensure_eq!(message.name, kind, "text");
    ensure_eq!(message.fds.len(), 1, "descriptors");
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", message.fds[0].as_raw_fd()))?;
    ensure!(info.lines().any(|line| line == format!("Pid:\t{pid}")), "not of {pid}: {info}");
    Ok(())
}

fn init(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let (one, path) = socket(env, "one")?;
    let id = env.create(&bundle, "c", &["--pidfd-socket", &path])?;
    check(env, &one, "standard", env.pid(&id)?)?;
    let (two, path) = socket(env, "two")?;
    let id = env.detach(&bundle, "r", &["--pidfd-socket", &path])?;
    check(env, &two, "standard", env.pid(&id)?)
}

fn exec(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let (one, path) = socket(env, "one")?;
    let file = env.dir.join("pid");
    let pid_file = file.to_string_lossy().into_owned();
    let flags = ["--detach", "--pid-file", &pid_file, "--pidfd-socket", &path];
    env.exec(&id, &flags, &["sleep", "1000"]).ok()?;
    check(env, &one, "setns", fs::read_to_string(&file)?.parse()?)
}

fn missing(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let path = env.dir.join("nope").to_string_lossy().into_owned();
    for verb in ["create", "run"] {
        let words = [verb, "-b", &dir, "--pidfd-socket", &path, &env.id("m")];
        let output = env.runtime(&words).exits(1)?;
        ensure!(output.stderr.contains(&path), "the socket is not named: {output}");
        env.nothing_left()?;
    }
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let output = env.exec(&id, &["--pidfd-socket", &path], &["true"]).exits(255)?;
    ensure!(output.stderr.contains(&path), "the socket is not named: {output}");
    Ok(())
}
