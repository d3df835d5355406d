//! Seccomp profiles that leave system calls to an agent (SCMP_ACT_NOTIFY).

use std::path::Path;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::bundle::Bundle;
use crate::call::wait_until;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::user::UID;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("seccomp/notify-agent-answers", answers).not_on(&[NO_STATE]),
    Case::new("seccomp/notify-for-a-user", user),
    Case::new("seccomp/notify-process-state-of-init", state_of_init).not_on(&[NO_STATE]),
    Case::new("seccomp/notify-process-state-of-exec", state_of_exec).not_on(&[NO_STATE]),
    Case::new("seccomp/notify-for-what-the-start-itself-calls", everything),
    Case::new("seccomp/notify-in-a-user-namespace", user_namespace),
    Case::new("seccomp/notify-without-privileges", rootless)
        .not_on(&[(Peer::Runc, "1.1 may not take the listener of an exec over"), NO_STATE]),
    Case::new("seccomp/notify-prctl-without-privileges", rootless_prctl)
        .not_on(&[(Peer::Runc, "takes the listener over otherwise"), NO_STATE]),
    Case::new("seccomp/notify-flags", flags).not_on(&[
        (Peer::Runc, "Debian's libseccomp does not know WAIT_KILLABLE_RECV"),
        (Peer::Crun, "it passes TSYNC on, which the kernel refuses beside a listener"),
    ]),
    Case::new("seccomp/notify-agent-that-ends", agent_ends).not_on(&[NO_STATE]),
    Case::new("seccomp/notify-relative-listener-path", relative)
        .not_on(&[(Peer::Crun, "wants an absolute path")]),
    Case::new("seccomp/notify-hook-without-descriptors", hook),
    Case::new("seccomp/notify-without-listener-path", no_path)
        .not_on(&[(Peer::Crun, "starts it with a listener that nobody has")]),
    Case::new("seccomp/notify-without-agent", no_agent),
    Case::new("seccomp/notify-exec-without-agent", exec_no_agent)
        .not_on(&[(Peer::Crun, "its container ends with the agent, now and then")]),
    Case::new("seccomp/notify-metadata-without-listener-path", only_metadata)
        .not_on(&[(Peer::Runc, "passes over it"), (Peer::Crun, "passes over it")]),
    Case::new("seccomp/notify-listener-path-without-the-action", only_path)
        .not_on(&[(Peer::Crun, "connects all the same")]),
    Case::new("seccomp/notify-refused-for-write-and-as-default", refused)
        .not_on(&[(Peer::Crun, "takes both")]),
];

/// What Debian's crun sends.
const NO_STATE: (Peer, &str) = (Peer::Crun, "the state it sends is not JSON");
const GETPGRP: &[&str] = &["/bin/rawcall", "111"];

fn profile(path: &Path, names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": path, "listenerMetadata": "of the case",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    })
}

/// A bundle that leaves these calls to an agent at `path`.
fn leaving(env: &Env, path: &Path, names: &[&str], args: &[&str]) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", profile(path, names))?;
    bundle.args(args);
    Ok(bundle)
}

fn answers(env: &mut Env) -> Outcome {
    for nnp in [true, false] {
        let agent = Agent::start(env, &["111=:4242", "135=123"])?;
        let mut bundle = leaving(env, &agent.path, &["getpgrp", "personality"], GETPGRP)?;
        bundle.set("/process/noNewPrivileges", json!(nnp))?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "4242\n", "getpgrp, noNewPrivileges {nnp}");
        bundle.args(&["/bin/rawcall", "135", "0xffffffff"]);
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "ENOMEDIUM\n", "personality");
        ensure_eq!(agent.states()?.len(), 2, "process states");
        drop(agent);
        std::fs::remove_file(env.dir.join("agent.sock"))?;
    }
    env.nothing_left()
}

/// Neither loading the filter nor handing its listener over needs what the process has not.
fn user(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    for nnp in [true, false] {
        let mut bundle = leaving(env, &agent.path, &["getpgrp"], GETPGRP)?;
        bundle.set("/process/noNewPrivileges", json!(nnp))?;
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
        bundle.set("/process/capabilities", json!({}))?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "4242\n", "getpgrp of a user, {nnp}");
    }
    Ok(())
}

fn state_of_init(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let mut bundle = leaving(env, &agent.path, &["getpgrp"], &["sleep", "1000"])?;
    bundle.set("/annotations", json!({"org.example.key": "value"}))?;
    let id = env.create(&bundle, "c", &[])?;
    env.verb("start", &id).ok()?;
    let pid = env.pid(&id)?;
    let states = agent.states()?;
    ensure_eq!(states.len(), 1, "process states");
    let found = &states[0];
    ensure_eq!(found["fds"], json!(["seccompFd"]), "fds");
    ensure_eq!(found["pid"], json!(pid), "pid");
    ensure_eq!(found["metadata"], "of the case", "metadata");
    ensure!(found["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{found}");
    let state = &found["state"];
    ensure_eq!(state["id"], json!(id), "state.id");
    ensure_eq!(state["pid"], json!(pid), "state.pid");
    ensure_eq!(state["status"], "creating", "state.status");
    ensure_eq!(state["bundle"], json!(bundle.dir), "state.bundle");
    ensure_eq!(state["annotations"]["org.example.key"], "value", "state.annotations");
    ensure_eq!(state["ociVersion"], found["ociVersion"], "state.ociVersion");
    if !env.is(Peer::Runc) {
        // runc leaves it to its garbage collector, and `start` is over by then.
        let wait = || Ok((agent.ended()? == 1).then_some(()));
        wait_until(env.shared.limit, "the end of the connection", wait)?;
    }
    Ok(())
}

fn state_of_exec(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    let bundle = leaving(env, &agent.path, &["getpgrp"], &["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let init = env.pid(&id)?;
    ensure_eq!(env.exec(&id, &[], GETPGRP).ok()?.stdout, "4242\n", "getpgrp of exec");
    let states = agent.states()?;
    ensure_eq!(states.len(), 2, "process states");
    let found = &states[1];
    ensure!(found["pid"].as_i64().is_some_and(|pid| pid > 0), "no pid: {found}");
    ensure!(found["pid"] != json!(init), "init's pid: {found}");
    ensure_eq!(found["metadata"], "of the case", "metadata");
    ensure_eq!(found["state"]["pid"], json!(init), "state.pid");
    ensure_eq!(found["state"]["status"], "running", "state.status");
    Ok(())
}

/// What the runtime calls between the filter and the program waits for the agent like any other call.
fn everything(env: &mut Env) -> Outcome {
    let mut names = vec!["execve", "openat", "open", "read", "close"];
    if env.is(Peer::Ghost) {
        names.extend(["capset", "prctl", "recvfrom", "recvmsg", "sendto", "sendmsg", "munmap"]);
        names.extend(["rt_sigprocmask", "rt_sigaction", "fcntl", "brk", "mmap", "exit_group"]);
    }
    let agent = Agent::start(env, &[])?;
    for nnp in [true, false] {
        let mut bundle = leaving(env, &agent.path, &names, &["/bin/true"])?;
        bundle.set("/process/noNewPrivileges", json!(nnp))?;
        env.run(&bundle)?.ok()?;
    }
    // execve is 59.
    ensure!(agent.asked(59)? >= 2, "execve was not asked for");
    Ok(())
}

fn user_namespace(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    let mut bundle = leaving(env, &agent.path, &["getpgrp"], GETPGRP)?;
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    bundle.namespace("user", None)?;
    bundle.set("/linux/uidMappings", map.clone())?.set("/linux/gidMappings", map)?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "4242\n", "getpgrp");
    Ok(())
}

/// The runtime is called by a user, who needs a way to take the listener over.
fn rootless(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    std::os::unix::fs::chown(&agent.path, Some(UID), Some(UID))?;
    env.become_user()?;
    for nnp in [true, false] {
        let mut bundle = leaving(env, &agent.path, &["getpgrp"], GETPGRP)?;
        bundle.set("/process/noNewPrivileges", json!(nnp))?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "4242\n", "getpgrp, {nnp}");
    }
    let bundle = leaving(env, &agent.path, &["getpgrp"], &["sleep", "1000"])?;
    let id = env.create(&bundle, "c", &[])?;
    env.verb("start", &id).ok()?;
    ensure_eq!(env.exec(&id, &[], GETPGRP).ok()?.stdout, "4242\n", "getpgrp of exec");
    ensure_eq!(agent.states()?.len(), 4, "process states");
    Ok(())
}

/// The process becomes dumpable by prctl under the filter, when nobody is there to answer.
fn rootless_prctl(env: &mut Env) -> Outcome {
    env.become_user()?;
    let path = env.dir.join("agent.sock");
    let bundle = leaving(env, &path, &["getpgrp", "prctl"], GETPGRP)?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("linux.seccomp.syscalls[0].names[1]: "), "{output}");
    env.nothing_left()
}

fn flags(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
    ] {
        let mut bundle = leaving(env, &agent.path, &["getpgrp"], GETPGRP)?;
        bundle.set("/linux/seccomp/flags", flags.clone())?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "4242\n", "getpgrp with {flags}");
    }
    Ok(())
}

fn agent_ends(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    let bundle = leaving(env, &agent.path, &["getpgrp"], &["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let mut bundle = leaving(env, &agent.path, &["getpgrp"], &[])?;
    bundle.shell("sleep 0.5; exec rawcall 111");
    let run = env.run(&bundle)?.spawn()?;
    wait_until(env.shared.limit, "the second process state", || {
        Ok((agent.states()?.len() == 2).then_some(()))
    })?;
    drop(agent);
    // Nobody else holds the listener: the kernel answers.
    ensure_eq!(run.wait()?.stdout, "ENOSYS\n", "getpgrp");
    ensure_eq!(env.status(&id)?, "running", "the other container");
    Ok(())
}

/// It is one below the bundle.
fn relative(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    let bundle = leaving(env, Path::new("../agent.sock"), &["getpgrp"], GETPGRP)?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "4242\n", "getpgrp");
    drop(agent);
    env.nothing_left()
}

fn hook(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let mut bundle = leaving(env, &agent.path, &["getpgrp"], &["cat", "/tmp/fds"])?;
    // In the container: standard streams and the folder that is listed.
    let script = "cat > /dev/null; echo $(ls /proc/self/fd) > /tmp/fds";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
    bundle.writable().set("/hooks", json!({"startContainer": hook}))?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "0 1 2 3\n", "the hook's descriptors");
    Ok(())
}

fn no_path(env: &mut Env) -> Outcome {
    for path in [None, Some("")] {
        let mut bundle = leaving(env, Path::new(""), &["getpgrp"], GETPGRP)?;
        bundle.remove("/linux/seccomp/listenerMetadata")?;
        match path {
            None => bundle.remove("/linux/seccomp/listenerPath")?,
            Some(path) => bundle.set("/linux/seccomp/listenerPath", json!(path))?,
        };
        let output = env.run(&bundle)?.output()?;
        ensure!(output.code() != 0, "it ran: {output}");
        if env.is(Peer::Ghost) {
            output.expect_code(1)?;
            ensure!(output.stderr.contains("linux.seccomp.listenerPath: missing"), "{output}");
        }
        env.nothing_left()?;
    }
    Ok(())
}

fn no_agent(env: &mut Env) -> Outcome {
    let path = env.dir.join("nobody.sock");
    let bundle = leaving(env, &path, &["getpgrp"], &["sleep", "1000"])?;
    let output = env.run(&bundle)?.output()?;
    ensure!(output.code() != 0, "it ran: {output}");
    ensure!(output.stderr.contains("nobody.sock"), "{output}");
    if env.is(Peer::Ghost) {
        output.expect_code(1)?;
        ensure!(output.stderr.contains("linux.seccomp.listenerPath"), "{output}");
    }
    env.nothing_left()?;
    if !env.is(Peer::Ghost) {
        // The peers load the filter during create, and fail there.
        return Ok(());
    }
    let id = env.create(&bundle, "c", &[])?;
    let output = env.verb("start", &id).exits(1)?;
    ensure!(output.stderr.contains("nobody.sock"), "{output}");
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn exec_no_agent(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &["111=:4242"])?;
    let bundle = leaving(env, &agent.path, &["getpgrp"], &["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    drop(agent);
    let output = env.exec(&id, &[], GETPGRP).output()?;
    ensure!(output.code() != 0 && output.stdout.is_empty(), "it ran: {output}");
    ensure!(output.stderr.contains("agent.sock"), "{output}");
    ensure_eq!(env.status(&id)?, "running", "the container");
    let pids: Value = serde_json::from_str(&env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout)?;
    ensure_eq!(pids.as_array().map(Vec::len), Some(1), "processes");
    Ok(())
}

fn only_metadata(env: &mut Env) -> Outcome {
    for names in [["getpgrp"], ["no_such_call"]] {
        let mut bundle = leaving(env, Path::new(""), &names, GETPGRP)?;
        bundle.remove("/linux/seccomp/listenerPath")?;
        let output = env.run(&bundle)?.exits(1)?;
        let wanted = "linux.seccomp.listenerMetadata";
        ensure!(output.stderr.contains(wanted), "{output}");
    }
    env.nothing_left()
}

fn only_path(env: &mut Env) -> Outcome {
    let mut bundle = leaving(env, &env.dir.join("nobody.sock"), &["getpgrp"], GETPGRP)?;
    bundle.set("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_ERRNO"))?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "EPERM\n", "getpgrp");
    Ok(())
}

fn refused(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let mut bundle = leaving(env, &agent.path, &["getpgrp", "write"], GETPGRP)?;
    let output = env.run(&bundle)?.exits(1)?;
    let wanted = "SCMP_ACT_NOTIFY cannot be used for the write syscall";
    ensure!(output.stderr.contains(wanted), "{output}");
    if env.is(Peer::Ghost) {
        ensure!(output.stderr.contains("linux.seccomp"), "{output}");
        ensure!(output.stderr.contains("syscalls[0].names[1]"), "{output}");
    }
    let mut profile = profile(&agent.path, &["getpgrp"]);
    profile["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    bundle.set("/linux/seccomp", profile)?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("SCMP_ACT_NOTIFY cannot be used as default action"), "{output}");
    ensure!(agent.states()?.is_empty(), "the agent was told");
    drop(agent);
    env.nothing_left()
}
