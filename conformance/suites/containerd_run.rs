//! containerd's containers with the runtime under test, driven by `ctr`.

use std::fs;
use std::path::PathBuf;

use super::containerd::Containerd;
use super::engine;
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CONTAINERD: &[Need] = &[
    Need::Controllers,
    Need::Command("containerd"),
    Need::Command("ctr"),
    Need::Command("containerd-shim-runc-v2"),
];
const NATIVE: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("containerd"), Need::Command("ctr")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    case("containerd/run-by-the-manual", manual, NATIVE),
    case("containerd/run-exit-codes", exit_codes, NATIVE),
    case("containerd/errors-reach-the-user", errors, NATIVE),
    case("containerd/run-what-the-flags-ask-for", flags, NATIVE),
    case("containerd/run-limits", limits, CONTAINERD),
    case("containerd/run-terminal", terminal, NATIVE),
    case("containerd/exec", exec, NATIVE),
    case("containerd/exec-terminal", exec_terminal, NATIVE),
    case("containerd/pause-and-resume", pause, CONTAINERD),
    case("containerd/kill-and-delete", kill, NATIVE),
    case("containerd/metrics", metrics, NATIVE),
    case("containerd/killed-shim-is-cleaned-up", killed_shim, NATIVE),
    case("containerd/containers-outlive-the-daemon", daemon_crash, NATIVE),
    case("containerd/change-of-runtime", change, NATIVE),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome, needs: &'static [Need]) -> Case {
    Case::new(name, run).needs(needs).not_on(CRUN)
}

fn manual(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    ensure_eq!(containerd.manual("ctr", &[])?.ok()?.stdout, "hello\n", "what it prints");
    // The flag is what chooses the runtime.
    let runtime = env.shared.runtime.to_string_lossy();
    let output = containerd.manual("ctr", &[(&runtime, "/no/such/runtime")])?.exits(1)?;
    ensure!(output.stderr.contains("/no/such/runtime"), "{output}");
    containerd.end()
}

fn exit_codes(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let output = containerd.run(&["--rm"], "a", &["sh", "-c", "echo out; echo err >&2"]).ok()?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"), "streams");
    containerd.run(&["--rm"], "a", &["sh", "-c", "exit 7"]).exits(7)?;
    let output = containerd.run(&["--rm"], "a", &["nosuch"]).exits(1)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    // Nothing of the failure is in the way of the next.
    containerd.run(&["--rm"], "a", &["true"]).ok()?;
    containerd.end()
}

/// The runtime's text, which the shim reads from log.json.
fn errors(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let fails = |flags: &[&str], command: &[&str], text: &str| -> Outcome {
        let output = containerd.run(&[&["--rm"], flags].concat(), "a", command).exits(1)?;
        ensure!(output.stderr.contains("OCI runtime create failed: "), "{output}");
        ensure!(!output.stderr.contains("unable to retrieve OCI runtime error"), "{output}");
        ensure!(output.stderr.contains(text), "{text:?}: {output}");
        Ok(())
    };
    fails(&[], &["/no/such"], "no such file or directory")?;
    fails(&[], &["/etc/passwd"], "permission denied")?;
    fails(&["--cwd", "/etc/passwd"], &["true"], "not a directory")?;
    fails(&["--mount", "type=bind,src=/no/such,dst=/mnt"], &["true"], "no such file or directory")?;
    fails(&["--with-ns", "ipc:/no/such"], &["true"], "no such file or directory")?;
    containerd.end()
}

fn flags(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let data = env.dir.join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("file"), "content\n")?;
    let mount = format!("type=bind,src={},dst=/mnt,options=rbind:ro", data.display());
    let flags = [
        "--rm",
        "--read-only",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        "--seccomp",
        "--cap-drop",
        "CAP_CHOWN",
        "--mount",
        &mount,
        "--device",
        "/dev/fuse",
    ];
    let found = containerd.run(&flags, "a", &["/bin/probe"]).ok()?.json()?;
    ensure_eq!(found["cwd"], "/tmp", "cwd");
    ensure!(found["env"].to_string().contains("A=b"), "environment {}", found["env"]);
    ensure_eq!(found["status"]["Seccomp"], "2", "seccomp mode");
    ensure_eq!(found["status"]["NoNewPrivs"], "1", "NoNewPrivs");
    // containerd's default capabilities, CAP_CHOWN (bit 0) left out.
    ensure_eq!(found["status"]["CapEff"], "00000000a80425fa", "effective capabilities");
    let script = "cat /mnt/file; touch /mnt/x /x || stat -c %t:%T /dev/fuse";
    let output = containerd.run(&flags, "a", &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "content\na:e5\n", "mount and device");
    containerd.run(&["--rm", "--privileged"], "a", &["mount", "-t", "tmpfs", "t", "/mnt"]).ok()?;
    let output = containerd.run(&["--rm"], "a", &["mount", "-t", "tmpfs", "t", "/mnt"]).output()?;
    ensure!(output.code() != 0, "mount without a privilege: {output}");
    let identity = ["--rm", "--net-host", "--with-ns", "ipc:/proc/1/ns/ipc"];
    let output = containerd.run(&identity, "a", &["readlink", "/proc/self/ns/ipc"]).ok()?;
    let own = fs::read_link("/proc/self/ns/ipc")?;
    ensure_eq!(output.stdout.trim(), own.to_string_lossy(), "the joined namespace");
    containerd.end()
}

fn limits(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let flags = ["-d", "--null-io", "--memory-limit", "67108864", "--cpus", "0.5"];
    containerd.run(&flags, "a", &["sleep", "1000"]).ok()?;
    let group = format!("{}/a", env.mark);
    let file = |v1: &str, v2: &str| engine::group_file(env, &group, v1, v2);
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "67108864", "memory");
    ensure!(file("cpu/cpu.cfs_quota_us", "cpu.max")?.starts_with("50000"), "cpu");
    containerd.delete("a")?;
    containerd.end()
}

fn terminal(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    engine::talk(env, |script| containerd.run(&["--rm", "-t"], "a", script))?;
    containerd.end()
}

fn exec(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    containerd.start("a", "sleep 1000")?;
    let script = ["sh", "-c", "echo out; echo err >&2; exit 9"];
    let output = containerd.exec(&[], "a", &script).exits(9)?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"), "streams");
    let output = containerd.exec(&[], "a", &["nosuch"]).exits(1)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    let output = containerd.exec(&[], "a", &["/etc/passwd"]).exits(1)?;
    ensure!(output.stderr.contains("permission denied"), "{output}");
    let found = containerd.exec(&["--user", "5:6", "--cwd", "/tmp"], "a", &["/bin/probe"]).ok()?;
    let found = found.json()?;
    ensure_eq!(found["status"]["Uid"], "5 5 5 5", "uid");
    ensure_eq!(found["cwd"], "/tmp", "cwd");
    containerd.exec(&["-d", "--exec-id", "other"], "a", &["touch", "/tmp/flag"]).ok()?;
    wait_until(env.shared.limit, "the detached process", || {
        let output = containerd.exec(&[], "a", &["test", "-e", "/tmp/flag"]).output()?;
        Ok(output.status.success().then_some(()))
    })?;
    containerd.delete("a")?;
    containerd.end()
}

fn exec_terminal(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    containerd.start("a", "sleep 1000")?;
    engine::talk(env, |script| containerd.exec(&["-t"], "a", script))?;
    containerd.delete("a")?;
    containerd.end()
}

fn pause(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let script = "while true; do echo tick; sleep 0.02; done";
    let log = containerd.start("a", script)?;
    env.wait_file(&log)?;
    containerd.ctr(&["tasks", "pause", "a"]).ok()?;
    ensure_eq!(containerd.status("a")?, "PAUSED", "status");
    let size = || Ok::<_, Failure>(log.metadata()?.len());
    // What was on its way arrives yet.
    let quiet = wait_until(env.shared.limit, "the container to be still", || {
        let before = size()?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        Ok((size()? == before).then_some(before))
    })?;
    containerd.ctr(&["tasks", "resume", "a"]).ok()?;
    ensure_eq!(containerd.status("a")?, "RUNNING", "status");
    wait_until(env.shared.limit, "the container to go on", || Ok((size()? > quiet).then_some(())))?;
    containerd.delete("a")?;
    containerd.end()
}

fn kill(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let script = "trap 'echo caught' USR1; trap 'exit 5' TERM; echo ready; \
                  while true; do sleep 0.02; done";
    let log = containerd.start("a", script)?;
    let says = |word: &str| {
        wait_until(env.shared.limit, word, || {
            Ok(fs::read_to_string(&log).is_ok_and(|text| text.contains(word)).then_some(()))
        })
    };
    says("ready")?;
    let pids = containerd.ctr(&["tasks", "ps", "a"]).ok()?.stdout;
    ensure!(pids.contains(&containerd.pid("a")?.to_string()), "ps: {pids}");
    let output = containerd.ctr(&["tasks", "rm", "a"]).output()?;
    ensure!(output.code() != 0, "rm of a running task: {output}");
    containerd.ctr(&["tasks", "kill", "--signal", "USR1", "a"]).ok()?;
    says("caught")?;
    containerd.ctr(&["tasks", "kill", "a"]).ok()?;
    containerd.wait_status("a", "STOPPED")?;
    let output = containerd.ctr(&["tasks", "kill", "a"]).output()?;
    ensure!(output.stderr.contains("process already finished"), "a second kill: {output}");
    let output = containerd.ctr(&["tasks", "rm", "a"]).output()?;
    ensure!(output.stderr.contains("exit code 5"), "rm: {output}");
    containerd.delete("a")?;

    // Every process of a container that shares the host's pid namespace is killed with --all.
    containerd.start("b", "sleep 1001 & sleep 1002")?;
    wait_until(env.shared.limit, "both processes", || {
        Ok(engine::processes_with(&["sleep 1001"]).first().copied())
    })?;
    containerd.ctr(&["tasks", "kill", "--all", "--signal", "KILL", "b"]).ok()?;
    containerd.wait_status("b", "STOPPED")?;
    ensure_eq!(engine::processes_with(&["sleep 100"]).len(), 0, "processes after kill --all");
    containerd.delete("b")?;
    containerd.end()
}

fn metrics(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let flags = ["-d", "--null-io", "--memory-limit", "67108864"];
    containerd.run(&flags, "a", &["sleep", "1000"]).ok()?;
    let output = containerd.ctr(&["tasks", "metrics", "--format", "json", "a"]).ok()?;
    let found = output.json()?;
    ensure_eq!(found["pids"]["current"], 1, "pids");
    ensure!(found["cpu"]["usage"]["total"].as_u64() > Some(0), "cpu: {}", found["cpu"]);
    ensure_eq!(found["memory"]["usage"]["limit"], 67_108_864, "memory limit");
    containerd.delete("a")?;
    containerd.end()
}

fn killed_shim(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    containerd.start("a", "sleep 1001")?;
    containerd.start("b", "sleep 1002")?;
    let shims = engine::processes_with(&["containerd-shim", "-id a"]);
    ensure_eq!(shims.len(), 1, "shims of a");
    engine::kill(shims[0])?;
    // containerd has the runtime delete the container by force.
    wait_until(env.shared.limit, "the container's process to be gone", || {
        crate::leaks::reap();
        Ok(engine::processes_with(&["sleep 1001"]).is_empty().then_some(()))
    })?;
    containerd.wait_status("a", "")?;
    ensure_eq!(containerd.status("b")?, "RUNNING", "the other container");
    let group = |root: &PathBuf| root.join(&env.mark).join("a");
    for group in env.shared.host.cgroup_roots().iter().map(group) {
        wait_until(env.shared.limit, &format!("{} to go", group.display()), || {
            Ok((!group.exists()).then_some(()))
        })?;
    }
    let state = format!("/run/containerd/runc/{}/a", env.mark);
    ensure!(!fs::exists(&state)?, "{state} is left");
    // The name is free again.
    containerd.delete("a")?;
    containerd.start("a", "sleep 1001")?;
    containerd.delete("a")?;
    containerd.delete("b")?;
    containerd.end()
}

fn daemon_crash(env: &mut Env) -> Outcome {
    let mut containerd = Containerd::new(env)?;
    containerd.start("a", "sleep 1000")?;
    let pid = containerd.pid("a")?;
    containerd.crash_and_start()?;
    ensure_eq!(containerd.pid("a")?, pid, "pid after a restart of the daemon");
    containerd.exec(&[], "a", &["true"]).ok()?;
    containerd.delete("a")?;
    containerd.end()
}

/// The runtime is kept with each container, so a change of the configuration leaves those that are
/// there to the runtime that made them.
fn change(env: &mut Env) -> Outcome {
    let mut containerd = Containerd::new(env)?;
    let tested = std::mem::replace(&mut containerd.runtime, "runc".to_owned());
    containerd.start("old", "sleep 1000")?;
    containerd.runtime = tested;
    containerd.start("new", "sleep 1000")?;
    for name in ["old", "new"] {
        containerd.exec(&[], name, &["sh", "-c", "exit 3"]).exits(3)?;
        containerd.ctr(&["tasks", "pause", name]).ok()?;
        ensure_eq!(containerd.status(name)?, "PAUSED", "status");
        containerd.ctr(&["tasks", "resume", name]).ok()?;
    }
    // Whose they are, where the shim has either keep them.
    let root = format!("/run/containerd/runc/{}", env.mark);
    let known = |name: &str| {
        env.bare_runtime(&["--root", &root, "state", name]).output().map(|output| output.code())
    };
    if env.is(Peer::Ghost) {
        ensure!(known("old")? != 0 && known("new")? == 0, "a runtime has the other's container");
    }
    containerd.delete("old")?;
    containerd.exec(&[], "new", &["true"]).ok()?;
    containerd.delete("new")?;
    containerd.end()
}
