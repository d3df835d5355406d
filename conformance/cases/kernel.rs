//! Kernels that lack a system call or a flag: what is gone without, and what is refused by its name.
//! runtime/docs/kernel-features.md has the whole list.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::case::{Case, Need, Outcome, Peer};
use crate::console::ConsoleSocket;
use crate::env::Env;
use crate::shim::without;
use crate::{ensure, ensure_eq};

/// The peers have fall-backs for kernels older than ours.
pub const OURS: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: which calls it needs, and its words"),
    (Peer::Crun, "ghost only: which calls it needs, and its words"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("kernel/run-names-the-missing-call", run).not_on(OURS),
    Case::new("kernel/exec-names-the-missing-call", exec).not_on(OURS),
    Case::new("kernel/kill-and-delete-name-the-missing-call", kill).not_on(OURS),
    Case::new("kernel/sections-name-the-missing-call", sections).not_on(OURS),
    Case::new("kernel/device-rules-name-the-missing-call", device_rules)
        .needs(&[Need::V2])
        .not_on(OURS),
    Case::new("kernel/goes-without", fall_backs).not_on(OURS),
    Case::new("kernel/goes-without-executable-memory-files", no_mfd_exec).not_on(OURS),
    Case::new("kernel/seccomp-flag-of-a-newer-one", seccomp_flag).not_on(OURS),
    Case::new("kernel/seccomp-agent-names-the-missing-call", seccomp_agent).not_on(OURS),
    Case::new("kernel/flags-of-a-newer-one", flags).not_on(OURS),
    Case::new("kernel/fields-name-what-is-newer", fields).not_on(OURS),
    Case::new("kernel/terminals-name-what-is-newer", terminal).not_on(OURS),
    Case::new("kernel/user-namespaces-are-turned-off", no_user_namespaces).not_on(OURS),
];

/// Names, numbers on x86-64, and the versions of Linux that brought them.
pub(super) const NEEDED: &[(&str, u32, &str)] = &[
    ("clone3", 435, "5.3"),
    ("close_range", 436, "5.9"),
    ("execveat", 322, "3.19"),
    ("fsconfig", 431, "5.2"),
    ("fsmount", 432, "5.2"),
    ("fsopen", 430, "5.2"),
    ("mount_setattr", 442, "5.12"),
    ("move_mount", 429, "5.2"),
    ("open_tree", 428, "5.2"),
    ("openat2", 437, "5.6"),
    ("statx", 332, "4.11"),
];
const ENOSYS: u32 = 38;
const EINVAL: u32 = 22;

/// What the error says of it.
pub(super) fn remark(name: &str, since: &str) -> String {
    format!("function not implemented (this kernel, or a filter, has no {name} of Linux {since})")
}

fn run(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/true"])?;
    for (name, number, since) in NEEDED {
        let output = without(env, env.run(&bundle)?, &format!("{number}={ENOSYS}")).exits(1)?;
        ensure!(output.stderr.contains(&remark(name, since)), "{name}: {output}");
        env.nothing_left()?;
    }
    // Several are told together.
    let output = without(env, env.run(&bundle)?, "430=38,437=38").exits(1)?;
    let both = "has no fsopen of Linux 5.2, no openat2 of Linux 5.6)";
    ensure!(output.stderr.contains(both), "{output}");
    env.nothing_left()
}

fn exec(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    for (name, number, since) in
        [("clone3", 435, "5.3"), ("close_range", 436, "5.9"), ("pidfd_open", 434, "5.3")]
    {
        let call = env.exec(&id, &[], &["true"]);
        let output = without(env, call, &format!("{number}={ENOSYS}")).exits(255)?;
        ensure!(output.stderr.contains(&remark(name, since)), "{name}: {output}");
    }
    // Before Linux 5.8, setns takes no pidfd.
    let output = without(env, env.exec(&id, &[], &["true"]), "308=22").exits(255)?;
    ensure!(output.stderr.contains("join the container's"), "{output}");
    ensure_eq!(env.status(&id)?, "running", "status");
    let pids: Value = serde_json::from_str(&env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout)?;
    ensure_eq!(pids.as_array().map(Vec::len), Some(1), "processes");
    Ok(())
}

fn kill(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    for (name, number, since) in [("pidfd_open", 434, "5.3"), ("pidfd_send_signal", 424, "5.1")] {
        for verb in [&["kill"][..], &["delete", "--force"]] {
            let call = env.runtime(&[verb, &[&id]].concat());
            let output = without(env, call, &format!("{number}={ENOSYS}")).exits(1)?;
            ensure!(output.stderr.contains(&remark(name, since)), "{verb:?}, {name}: {output}");
        }
    }
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

/// Calls that one section of the configuration needs.
fn sections(env: &mut Env) -> Outcome {
    for (pointer, value, number, words) in [
        (
            "/mounts/-",
            json!({"destination": "/dev/shm", "type": "tmpfs", "options": ["remount", "noexec"]}),
            433,
            remark("fspick", "5.2"),
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 3}),
            251,
            "process.ioPriority: ioprio_set IOPRIO_CLASS_BE 3: function not implemented".to_owned(),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 1}),
            314,
            remark("sched_setattr", "3.14"),
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_LOCAL", "nodes": "", "flags": []}),
            238,
            remark("set_mempolicy", "2.6.7"),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW"}),
            317,
            remark("seccomp", "3.17"),
        ),
    ] {
        let mut bundle = env.bundle()?;
        bundle.args(&["/bin/true"]).set(pointer, value)?;
        let output = without(env, env.run(&bundle)?, &format!("{number}={ENOSYS}")).exits(1)?;
        ensure!(output.stderr.contains(&words), "{pointer}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn device_rules(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/true"])?;
    let output = without(env, env.run(&bundle)?, "321=38").exits(1)?;
    ensure!(output.stderr.contains("device filter"), "{output}");
    ensure!(output.stderr.contains("has no bpf of Linux 3.18)"), "{output}");
    // BPF_PROG_ATTACH, with a flag that is not known.
    let output = without(env, env.run(&bundle)?, &format!("321/0:8={EINVAL}")).exits(1)?;
    ensure!(output.stderr.contains("device filter"), "{output}");
    env.nothing_left()
}

fn fall_backs(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("echo it runs");
    for (name, number) in [
        // Session keyrings may be configured out.
        ("keyctl", 250),
        ("faccessat2", 439),
        // For what this bundle does not ask for.
        ("fspick", 433),
        ("ioprio_set", 251),
        ("memfd_create", 319),
        ("pidfd_getfd", 438),
        ("pidfd_open", 434),
        ("sched_setattr", 314),
        ("seccomp", 317),
        ("set_mempolicy", 238),
    ] {
        let output = without(env, env.run(&bundle)?, &format!("{number}={ENOSYS}")).output()?;
        ensure_eq!(output.code(), 0, "without {name}: {output}");
        ensure_eq!((&*output.stdout, &*output.stderr), ("it runs\n", ""), "without {name}");
    }
    env.nothing_left()
}

/// Where the binary can't be protected by a mount it becomes a memory file, which before MFD_EXEC
/// (Linux 6.3) is executable by itself. exec takes nothing else of the mount calls.
fn no_mfd_exec(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    for answers in ["428=38", "428=38,319/1&0x10=22"] {
        let output = without(env, env.exec(&id, &[], &["echo", "it runs"]), answers).ok()?;
        ensure_eq!(output.stdout, "it runs\n", "output under {answers}");
    }
    let output = without(env, env.exec(&id, &[], &["true"]), "428=38,319=38").exits(255)?;
    ensure!(output.stderr.contains("copy the runtime's own binary"), "{output}");
    ensure!(output.stderr.contains("no open_tree of Linux 5.2"), "{output}");
    Ok(())
}

/// A profile with an agent and flags, of which WAIT_KILLABLE_RECV is Linux 5.19.
fn seccomp_flag(env: &mut Env) -> Outcome {
    const OLDER: &str = "317/1&0x20=22";
    let agent = Agent::start(env, &["111=:4242"])?;
    let mut bundle = env.bundle()?;
    bundle.args(&["/bin/rawcall", "111"]);
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    });
    bundle.set("/linux/seccomp", profile.clone())?;
    let output = without(env, env.run(&bundle)?, OLDER).exits(1)?;
    let wanted = "linux.seccomp.flags[1]: this kernel does not know \
                  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    ensure!(output.stderr.contains(wanted), "{output}");
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG"]);
    bundle.set("/linux/seccomp", profile)?;
    ensure_eq!(without(env, env.run(&bundle)?, OLDER).ok()?.stdout, "4242\n", "without the flag");
    let features = without(env, env.runtime(&["features"]), OLDER).ok()?;
    let features: Value = serde_json::from_str(&features.stdout)?;
    let flags = &features["linux"]["seccomp"]["supportedFlags"];
    ensure_eq!(flags.as_array().map(Vec::len), Some(3), "supportedFlags: {flags}");
    drop(agent);
    env.nothing_left()
}

fn seccomp_agent(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let mut bundle = env.bundle()?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.args(&["/bin/true"]).set("/linux/seccomp", profile)?;
    let output = without(env, env.run(&bundle)?, "438=38").exits(1)?;
    ensure!(output.stderr.contains("pidfd_getfd of the seccomp listener"), "{output}");
    ensure!(output.stderr.contains(&remark("pidfd_getfd", "5.6")), "{output}");
    drop(agent);
    env.nothing_left()
}

/// A flag that the kernel does not know reads as EINVAL: the call and its object are named.
fn flags(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/true"])?;
    for (number, words) in [
        // CLONE_INTO_CGROUP, Linux 5.7; in a view of v1 there is no such flag, but the others.
        (435, "clone3 of the container's init: invalid argument"),
        // RESOLVE_IN_ROOT, a later one for mounts, and a mount attribute.
        (437, "mounts[0].destination (proc on /proc): make the mount point: invalid argument"),
        (442, "root.path: set the options of a bind of"),
        // P_PIDFD, Linux 5.4.
        (247, "wait for process"),
    ] {
        let output = without(env, env.run(&bundle)?, &format!("{number}={EINVAL}")).exits(1)?;
        ensure!(output.stderr.contains(words), "{words}: {output}");
        ensure!(!output.stderr.contains("this kernel"), "nothing is missing: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

/// One field each, of the kernel's newer things: a value, a flag, a command, or a type.
fn fields(env: &mut Env) -> Outcome {
    for (pointer, value, answer, words) in [
        (
            "/mounts/-",
            json!({"destination": "/tmp", "type": "tmpfs", "options": ["nosymfollow"]}),
            // fsmount with MOUNT_ATTR_NOSYMFOLLOW, Linux 5.14.
            "432/2&0x200000=22",
            "mounts[7] (tmpfs on /tmp): fsmount: invalid argument",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}),
            "238/0:5=22",
            "linux.memoryPolicy: set_mempolicy MPOL_PREFERRED_MANY, nodes 0: invalid argument",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}),
            "238/0:6=22",
            "linux.memoryPolicy: set_mempolicy MPOL_WEIGHTED_INTERLEAVE, nodes 0: invalid argument",
        ),
        (
            "/linux/namespaces/-",
            json!({"type": "time"}),
            "435=22",
            "clone3 of the container's init: invalid argument",
        ),
        (
            "/linux/namespaces/-",
            json!({"type": "cgroup", "path": "/proc/1/ns/net"}),
            // ioctl NS_GET_NSTYPE, Linux 4.11.
            "16/1:0xb703=25",
            "linux.namespaces[5].path: /proc/1/ns/net is not a cgroup namespace",
        ),
    ] {
        let mut bundle = env.bundle_with(&["/bin/true"])?;
        bundle.drop_namespace("cgroup")?.set(pointer, value)?;
        let output = without(env, env.run(&bundle)?, answer).exits(1)?;
        ensure!(output.stderr.contains(words), "{words}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

/// ioctl TIOCGPTPEER, Linux 4.13.
fn terminal(env: &mut Env) -> Outcome {
    const OLDER: &str = "16/1:0x5441=25";
    let socket = ConsoleSocket::bind(&env.dir.join("console.sock"))?;
    let path = socket.path.to_string_lossy().into_owned();
    let mut bundle = env.bundle_with(&["/bin/true"])?;
    bundle.set("/process/terminal", json!(true))?.save()?;
    let (dir, id) = (bundle.dir.to_string_lossy().into_owned(), env.id("c"));
    let call = env.runtime(&["create", "--bundle", &dir, "--console-socket", &path, &id]);
    let output = without(env, call, OLDER).exits(1)?;
    ensure!(output.stderr.contains("open the terminal: not a typewriter"), "{output}");
    env.nothing_left()
}

/// As user.max_user_namespaces and distributions' own switches do it.
fn no_user_namespaces(env: &mut Env) -> Outcome {
    env.become_user()?;
    let bundle = env.bundle_with(&["/bin/true"])?;
    for (errno, words) in [(28, "no space left on device"), (1, "operation not permitted")] {
        let output = without(env, env.run(&bundle)?, &format!("435={errno}")).exits(1)?;
        let wanted = format!("clone3 of the container's init: {words}");
        ensure!(output.stderr.contains(&wanted), "{wanted}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}
