//! NOTIFY_SOCKET: who waits for the container to be ready, as systemd and podman do, is told.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use serde_json::json;

use crate::bundle::Bundle;
use crate::call::{Call, wait_until};
use crate::case::{Case, Failure, Outcome, Peer};
use crate::console::receive;
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "has another directory, and no barrier")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("readiness/run-detached", run_detached).not_on(CRUN),
    Case::new("readiness/create-and-start", create_and_start).not_on(CRUN),
    Case::new("readiness/run-in-the-foreground", foreground).not_on(CRUN),
    Case::new("readiness/of-a-user-in-a-user-namespace", in_user_namespace).not_on(CRUN),
    Case::new("readiness/ends-without-a-word", silent).not_on(&[
        (Peer::Runc, "waits for whoever reaps the process"),
        (Peer::Crun, "has another directory, and no barrier"),
    ]),
    Case::new("readiness/start-after-a-refused-one", start_again).not_on(CRUN),
    Case::new("readiness/start-of-a-running-one-takes-nothing-away", twice).not_on(&[
        (Peer::Runc, "the second start takes the socket over"),
        (Peer::Crun, "has another directory, and no barrier"),
    ]),
    Case::new("readiness/host-socket-full", full).not_on(&[
        (Peer::Runc, "waits for ever"),
        (Peer::Crun, "has another directory, and no barrier"),
    ]),
    Case::new("readiness/host-socket-missing", missing).not_on(&[
        (Peer::Runc, "leaves the container"),
        (Peer::Crun, "has another directory, and no barrier"),
    ]),
];

/// A container that says it is ready after a moment.
fn ready(env: &Env, seconds: &str) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["/bin/probe", "ready", seconds]);
    Ok(bundle)
}

/// What the call says to the host's socket.
fn host(env: &Env, call: Call, socket: &UnixDatagram) -> Result<Vec<String>, Failure> {
    let running = call.spawn()?;
    let said = heard(env, socket)?;
    let output = running.wait()?;
    ensure_eq!(output.code(), 0, "exit code of {output}");
    ensure_eq!(output.stderr, "", "stderr of {output}");
    Ok(said)
}

/// What is said to the host's socket, up to the barrier, which is let go of.
fn heard(env: &Env, socket: &UnixDatagram) -> Result<Vec<String>, Failure> {
    socket.set_nonblocking(true)?;
    let mut said = Vec::new();
    wait_until(env.shared.limit, "the barrier", || {
        let Some((text, fds)) = receive(socket)? else { return Ok(None) };
        said.push(text.trim_end().to_owned());
        let barrier = check_barrier(&text, fds)?;
        Ok((barrier || !has_barrier(env) && text.starts_with("MAINPID=")).then_some(()))
    })?;
    Ok(said)
}

/// runc sends one since 1.2.
fn has_barrier(env: &Env) -> bool {
    env.is(Peer::Ghost)
}

fn check_barrier(text: &str, fds: Vec<OwnedFd>) -> Result<bool, Failure> {
    let is_barrier = text == "BARRIER=1";
    ensure_eq!(fds.len(), usize::from(is_barrier), "descriptors with {text:?}");
    Ok(is_barrier)
}

fn check(env: &Env, id: &str, said: &[String]) -> Outcome {
    let pid = env.pid(id)?;
    let wanted = ["READY=1".to_owned(), format!("MAINPID={pid}"), "BARRIER=1".into()];
    ensure_eq!(said, &wanted[..if has_barrier(env) { 3 } else { 2 }], "said");
    Ok(())
}

fn socket(env: &Env) -> Result<(UnixDatagram, String), Failure> {
    let path = env.dir.join("host.sock");
    Ok((UnixDatagram::bind(&path)?, path.to_string_lossy().into_owned()))
}

fn run_detached(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let bundle = ready(env, "1000")?;
    bundle.save()?;
    detached(env, &bundle, &socket, &path)
}

fn detached(env: &Env, bundle: &Bundle, socket: &UnixDatagram, path: &str) -> Outcome {
    let id = env.id("d");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    let call = env.runtime(&["run", "--detach", "-b", &dir, &id]).env("NOTIFY_SOCKET", path);
    let said = host(env, call, socket)?;
    check(env, &id, &said)
}

fn create_and_start(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let bundle = ready(env, "1000")?;
    bundle.save()?;
    let id = env.id("c");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.runtime(&["create", "-b", &dir, &id]).env("NOTIFY_SOCKET", &path).ok()?;
    let call = env.runtime(&["start", &id]).env("NOTIFY_SOCKET", &path);
    let said = host(env, call, &socket)?;
    check(env, &id, &said)
}

fn foreground(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let bundle = ready(env, "1")?;
    let call = env.run(&bundle)?.env("NOTIFY_SOCKET", &path);
    let said = host(env, call, &socket)?;
    ensure!(said[1].starts_with("MAINPID="), "messages {said:?}");
    env.nothing_left()
}

fn in_user_namespace(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let mut bundle = ready(env, "1000")?;
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.namespace("user", None)?.set("/linux/uidMappings", mapping.clone())?;
    bundle.set("/linux/gidMappings", mapping)?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    // The rootfs is not the container's root's, who makes the mount points.
    std::fs::create_dir_all(bundle.rootfs().join("run/notify"))?;
    bundle.save()?;
    detached(env, &bundle, &socket, &path)
}

fn silent(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let bundle = env.bundle_with(&["true"])?;
    let id = env.id("s");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.runtime(&["run", "--detach", "-b", &dir, &id]).env("NOTIFY_SOCKET", &path).ok()?;
    socket.set_nonblocking(true)?;
    ensure!(receive(&socket)?.is_none(), "something was said");
    Ok(())
}

fn missing(env: &mut Env) -> Outcome {
    let bundle = ready(env, "1000")?;
    bundle.save()?;
    let path = env.dir.join("nope.sock");
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("m");
    let words = ["run", "--detach", "-b", &dir, &id];
    let output = env.runtime(&words).env("NOTIFY_SOCKET", &path).exits(1)?;
    ensure!(output.stderr.contains("nope.sock"), "the socket is not named: {output}");
    env.nothing_left()
}

fn start_again(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let bundle = ready(env, "1000")?;
    bundle.save()?;
    let id = env.id("a");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.runtime(&["create", "-b", &dir, &id]).env("NOTIFY_SOCKET", &path).ok()?;
    env.verb("pause", &id).ok()?;
    env.runtime(&["start", &id]).env("NOTIFY_SOCKET", &path).exits(1)?;
    env.verb("resume", &id).ok()?;
    let call = env.runtime(&["start", &id]).env("NOTIFY_SOCKET", &path);
    let said = host(env, call, &socket)?;
    check(env, &id, &said)
}

/// Whoever listens has stopped to read: the container's end is not held up by that for ever.
fn full(env: &mut Env) -> Outcome {
    let (_socket, path) = socket(env)?;
    let client = UnixDatagram::unbound()?;
    client.set_nonblocking(true)?;
    while client.send_to(b"x", &path).is_ok() {}
    let bundle = ready(env, "1")?;
    let call = env.run(&bundle)?.env("NOTIFY_SOCKET", &path);
    call.limit(std::time::Duration::from_secs(120)).ok()?;
    env.nothing_left()
}

fn twice(env: &mut Env) -> Outcome {
    let (socket, path) = socket(env)?;
    let mut bundle = env.bundle()?;
    bundle.shell("while [ ! -e /go ]; do sleep 0.05; done; exec /bin/probe ready 1000");
    bundle.save()?;
    let id = env.id("t");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.runtime(&["create", "-b", &dir, &id]).env("NOTIFY_SOCKET", &path).ok()?;
    let first = env.runtime(&["start", &id]).env("NOTIFY_SOCKET", &path).spawn()?;
    env.wait_status(&id, "running")?;
    env.runtime(&["start", &id]).env("NOTIFY_SOCKET", &path).exits(1)?;
    std::fs::write(bundle.rootfs().join("go"), "")?;
    let said = heard(env, &socket)?;
    ensure_eq!(first.wait()?.code(), 0, "exit code of the first start");
    check(env, &id, &said)
}
