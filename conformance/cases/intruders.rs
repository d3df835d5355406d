//! Somebody else in the place of one whom the runtime talks to.

use std::fs;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, socket_with,
};
use serde_json::json;

use crate::agent::Agent;
use crate::case::{Case, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, shim};

const GHOST: &[(Peer, &str)] =
    &[(Peer::Runc, "speaks the language of ghost-runc"), (Peer::Crun, "as runc")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("hardening/only-a-listener-goes-to-the-agent", not_a_listener).not_on(GHOST),
    Case::new("hardening/process-that-joins-ends-without-a-word", wordless).not_on(GHOST),
];

/// A container's init that was taken over says that its standard input is the filter's listener.
fn not_a_listener(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": agent.path,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.set("/linux/seccomp", profile)?;
    let id = env.create(&bundle, "c", &[])?;
    let path = env.root().join(&id).join("exec.sock");
    fs::remove_file(&path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(&path)?)?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    listen(&socket, 1)?;
    let start = env.verb("start", &id).spawn()?;
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    let waiting = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit))?;
    ensure!(waiting == 1, "no connection to exec.sock: {}", start.stderr_tail()?);
    let runtime = accept(&socket)?;
    let mut word = [0; 64];
    recv(&runtime, &mut word, RecvFlags::empty())?;
    send(&runtime, &[&b"l"[..], &0i32.to_ne_bytes()].concat(), SendFlags::empty())?;
    let output = start.wait()?;
    ensure!(output.code() == 1 && output.stderr.contains("seccomp listener"), "{output}");
    ensure!(agent.states()?.is_empty(), "the agent was sent a descriptor");
    env.wait_status(&id, "stopped")
}

/// The intermediate process can't tell the pid of the init that it has made.
fn wordless(env: &mut Env) -> Outcome {
    let other =
        env.command(&["unshare", "--ipc", "sh", "-c", "echo there; exec sleep 100"]).spawn()?;
    other.wait_for_stdout("there")?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.namespace("ipc", Some(&format!("/proc/{}/ns/ipc", other.pid())))?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("c");
    let call = env.runtime(&["create", "--bundle", &dir, &id]);
    // sendto(2) of a message that is neither a byte nor a failure: five bytes.
    let output = shim::without(env, call, "44/2&4=1").exits(1)?;
    drop(other);
    ensure!(output.stderr.contains("joining namespaces (exit status 1)"), "{output}");
    env.nothing_left()
}
