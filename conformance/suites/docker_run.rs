//! Docker's containers with the runtime under test: the `docker` commands are what a user types.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::asked::{self, Client};
use super::docker::{Docker, start};
use super::podman::Manager;
use super::{engine, manual};
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const DOCKER: &[Need] = &[Need::Native, Need::Controllers, Need::Command("dockerd")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];
const NOT_PRIVILEGED: &[(Peer, &str)] = &[
    CRUN[0],
    (Peer::Runc, "it insists on every capability, some of which a sandbox's root may lack"),
];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    case("docker/run-exit-codes", exit_codes),
    case("docker/run-what-the-flags-ask-for", flags),
    case("docker/privileged", privileged).not_on(NOT_PRIVILEGED),
    case("docker/run-mounts", mounts),
    case("docker/run-joins-a-container", joins),
    case("docker/run-terminal", terminal),
    case("docker/exec", exec),
    case("docker/exec-terminal", exec_terminal),
    case("docker/stop-kill-and-logs", stop),
    case("docker/pause-and-unpause", pause),
    case("docker/update", update),
    case("docker/top-stats-and-inspect", watch),
    case("docker/restart-policy", restart),
    case("docker/live-restore", live_restore),
    case("docker/build", build),
    case("docker/change-of-runtime", change),
    case("docker/runtime-of-the-command-line", add_runtime),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome) -> Case {
    Case::new(name, run).needs(DOCKER).not_on(CRUN)
}

fn exit_codes(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    asked::run_streams(&docker)?;
    docker.run(&["--rm", "--pid", "host"], &["sh", "-c", "kill -KILL $$"]).exits(137)?;
    for (command, code, text) in [
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        let output = docker.run(&["--rm"], &[command]).exits(code)?;
        ensure!(output.stderr.contains(text), "{text:?}: {output}");
    }
    ensure_eq!(docker.call(&["ps", "-aq"]).ok()?.stdout, "", "containers after run --rm");
    docker.end()
}

fn flags(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    asked::default_container(&docker)?;
    asked::process_flags(&docker)?;
    let output = docker.run(&["--rm", "--init"], &["cat", "/proc/1/comm"]).ok()?;
    ensure_eq!(output.stdout, "docker-init\n", "the first process");
    docker.end()
}

fn privileged(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    docker.run(&["--rm", "--privileged"], &["mount", "-t", "tmpfs", "t", "/mnt"]).ok()?;
    docker.start("host", "sleep 1000")?;
    let found = docker.call(&["exec", "--privileged", "host", "/bin/probe"]).ok()?.json()?;
    ensure!(found["status"]["CapEff"] != asked::DEFAULT_CAPABILITIES, "capabilities of exec");
    docker.end()
}

fn mounts(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    asked::mounts(&docker)?;
    docker.end()
}

fn joins(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    docker.run(&["-d", "--name", "first", "--ipc", "shareable"], &["sleep", "1000"]).ok()?;
    let flags = ["run", "--rm", "--runtime", "ghost-runc"];
    let join = ["--network", "container:first", "--pid", "container:first"];
    let join = [&join[..], &["--ipc", "container:first", "box", "sh", "-c"]].concat();
    let script = "cat /proc/1/comm; readlink /proc/self/ns/net";
    let output = docker.call(&[&flags[..], &join, &[script]].concat()).ok()?;
    let first = docker.call(&["exec", "first", "readlink", "/proc/self/ns/net"]).ok()?;
    ensure_eq!(
        output.stdout,
        format!("sleep\n{}", first.stdout),
        "process 1 and network namespace"
    );
    docker.end()
}

fn terminal(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    asked::run_terminal(&docker)?;
    docker.end()
}

fn exec(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    docker.start("host", "sleep 1000")?;
    asked::exec(&docker, "host")?;
    for (command, text) in
        [("nosuch", "executable file not found in $PATH"), ("/etc/passwd", "permission denied")]
    {
        let output = docker.call(&["exec", "host", command]).exits(126)?;
        let shown = output.stdout.contains(text) || output.stderr.contains(text);
        ensure!(shown, "{text:?}: {output}");
    }
    docker.end()
}

fn exec_terminal(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    docker.start("host", "sleep 1000")?;
    asked::exec_terminal(&docker, "host")?;
    docker.end()
}

fn stop(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    let script = "trap 'exit 5' TERM; trap 'echo caught' USR1; echo ready; echo err >&2; \
                  while true; do sleep 0.02; done";
    docker.start("polite", script)?;
    docker.start("deaf", "trap '' TERM; echo ready; while true; do sleep 0.02; done")?;
    docker.wait_logs("polite", "ready")?;
    docker.wait_logs("deaf", "ready")?;
    let follow = docker.call(&["logs", "-f", "polite"]).spawn()?;
    docker.call(&["kill", "-s", "USR1", "polite"]).ok()?;
    follow.wait_for_stdout("caught")?;
    docker.call(&["stop", "-t", "30", "polite"]).ok()?;
    let output = follow.wait()?;
    ensure_eq!(output.stdout, "ready\ncaught\n", "logs -f");
    ensure_eq!(output.stderr, "err\n", "logs -f, stderr");
    ensure_eq!(docker.inspect("polite", "{{.State.ExitCode}}")?, "5", "exit code");
    docker.call(&["stop", "-t", "1", "deaf"]).ok()?;
    ensure_eq!(docker.inspect("deaf", "{{.State.ExitCode}}")?, "137", "exit code");
    docker.call(&["start", "deaf"]).ok()?;
    let output = docker.call(&["rm", "deaf"]).output()?;
    ensure!(output.code() != 0, "rm of a running container: {output}");
    docker.call(&["kill", "deaf"]).ok()?;
    ensure_eq!(docker.call(&["wait", "deaf"]).ok()?.stdout, "137\n", "wait");
    docker.call(&["rm", "deaf"]).ok()?;
    docker.end()
}

fn pause(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    docker.start("one", "sleep 1000")?;
    docker.call(&["pause", "one"]).ok()?;
    ensure_eq!(docker.inspect("one", "{{.State.Status}}")?, "paused", "status");
    let output = docker.call(&["exec", "one", "true"]).output()?;
    ensure!(output.code() != 0, "exec in a paused container: {output}");
    docker.call(&["unpause", "one"]).ok()?;
    docker.call(&["exec", "one", "true"]).ok()?;
    docker.call(&["pause", "one"]).ok()?;
    // Docker thaws it for that.
    docker.call(&["rm", "-f", "one"]).ok()?;
    docker.end()
}

fn update(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    let flags = ["-d", "--name", "one", "--memory", "32m", "--pids-limit", "99"];
    docker.run(&flags, &["sleep", "1000"]).ok()?;
    let group = format!("{}/{}", env.mark, docker.inspect("one", "{{.Id}}")?);
    let file = |v1: &str, v2: &str| engine::group_file(env, &group, v1, v2);
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "33554432", "memory");
    let words = ["update", "--memory", "64m", "--memory-swap", "128m", "--cpus", "0.5"];
    let words = [&words[..], &["--pids-limit", "44", "--cpu-shares", "512", "one"]].concat();
    docker.call(&words).ok()?;
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "67108864", "memory");
    ensure_eq!(file("pids/pids.max", "pids.max")?, "44", "pids");
    ensure!(file("cpu/cpu.cfs_quota_us", "cpu.max")?.starts_with("50000"), "cpu");
    if !env.shared.host.v2 {
        ensure_eq!(file("memory/memory.memsw.limit_in_bytes", "")?, "134217728", "swap");
        ensure_eq!(file("cpu/cpu.shares", "")?, "512", "shares");
    }
    docker.end()
}

fn watch(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    docker.run(&["-d", "--name", "one", "--memory", "32m"], &["sleep", "1000"]).ok()?;
    let output = docker.call(&["top", "one"]).ok()?;
    ensure!(output.stdout.contains("sleep 1000"), "{output}");
    let format = "{{.PIDs}} {{.MemUsage}}";
    let output = docker.call(&["stats", "--no-stream", "--format", format, "one"]).ok()?;
    ensure!(output.stdout.starts_with("1 ") && output.stdout.contains("/ 32MiB"), "{output}");
    ensure_eq!(docker.inspect("one", "{{.HostConfig.Runtime}}")?, "ghost-runc", "runtime");
    let pid = docker.inspect("one", "{{.State.Pid}}")?;
    ensure!(engine::processes_with(&["sleep 1000"]).contains(&pid.parse()?), "pid {pid}");
    let since = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"];
    let output = docker.call(&since).ok()?;
    ensure!(output.stdout.contains("start\n"), "{output}");
    let output = docker.call(&["info", "--format", "{{json .Runtimes}}"]).ok()?;
    ensure!(output.stdout.contains(&*env.shared.runtime.to_string_lossy()), "{output}");
    docker.end()
}

fn restart(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    let flags = ["-d", "--name", "one", "--restart", "on-failure:2"];
    docker.run(&flags, &["sh", "-c", "echo run; exit 3"]).ok()?;
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
    wait_until(env.shared.limit, "the last restart", || {
        Ok((docker.inspect("one", format)? == "exited 3 2").then_some(()))
    })?;
    ensure_eq!(docker.call(&["logs", "one"]).ok()?.stdout, "run\n".repeat(3), "logs");
    docker.run(&["-d", "--name", "two", "--restart", "always"], &["sleep", "1000"]).ok()?;
    let pid = docker.inspect("two", "{{.State.Pid}}")?;
    engine::kill(pid.parse()?)?;
    wait_until(env.shared.limit, "a new process", || {
        let now = docker.inspect("two", "{{.State.Running}} {{.State.Pid}}")?;
        Ok((now.starts_with("true") && !now.ends_with(&format!(" {pid}"))).then_some(()))
    })?;
    docker.call(&["restart", "-t", "0", "two"]).ok()?;
    docker.call(&["exec", "two", "true"]).ok()?;
    docker.end()
}

/// Add a line to the manual's daemon.json, without a restart; `info` then says so.
fn set(docker: &Docker, key: &str, value: Value, info: &str) -> Outcome {
    let mut config: Value = serde_json::from_str(&manual::snippet(docker.env, "docker-config")?)?;
    let said = format!("{}\n", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    config[key] = value;
    fs::write(docker.dir.join("daemon.json"), serde_json::to_vec(&config)?)?;
    docker.daemon.signal(Signal::HUP)?;
    wait_until(docker.env.shared.limit, &format!("the new {key}"), || {
        Ok((docker.call(&["info", "--format", info]).ok()?.stdout == said).then_some(()))
    })
}

/// Make the manual's runtime the default one.
fn set_default(docker: &Docker) -> Outcome {
    set(docker, "default-runtime", "ghost-runc".into(), "{{.DefaultRuntime}}")?;
    // Docker shows as the runtime's version what stands behind "commit:".
    let shown = docker.call(&["info", "--format", "{{.RuncCommit.ID}}"]).ok()?.stdout;
    let version = docker.env.bare_runtime(&["--version"]).ok()?.stdout;
    let commit = format!("\ncommit: {}\n", shown.trim_end());
    ensure!(version.contains(&commit), "Docker shows {shown:?}, of {version:?}");
    Ok(())
}

/// Containers outlive the daemon, and the next one takes them over.
fn live_restore(env: &mut Env) -> Outcome {
    let mut docker = Docker::new(env)?;
    set(&docker, "live-restore", true.into(), "{{.LiveRestoreEnabled}}")?;
    docker.start("one", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.02; done")?;
    docker.wait_logs("one", "ready")?;
    let before = docker.inspect("one", "{{.State.Pid}}")?;
    docker.daemon.signal(Signal::TERM)?;
    wait_until(env.shared.limit, "the daemon to end", || {
        crate::leaks::reap();
        Ok(engine::processes_with(&["dockerd", "--config-file"]).is_empty().then_some(()))
    })?;
    ensure!(Path::new("/proc").join(&before).exists(), "the container went with the daemon");
    docker.daemon = start(env, &docker.dir, Manager::Cgroupfs, &[])?;
    ensure_eq!(docker.inspect("one", "{{.State.Pid}}")?, before, "pid");
    docker.call(&["exec", "one", "sh", "-c", "exit 3"]).exits(3)?;
    docker.call(&["pause", "one"]).ok()?;
    docker.call(&["unpause", "one"]).ok()?;
    docker.call(&["stop", "-t", "30", "one"]).ok()?;
    ensure_eq!(docker.inspect("one", "{{.State.ExitCode}}")?, "5", "exit code");
    let data = docker.dir.join("data");
    docker.end()?;
    // A daemon that expects another after it leaves its directory bound on itself.
    engine::unmount_storage(&data)
}

fn build(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    set_default(&docker)?;
    let context = env.dir.join("context");
    fs::create_dir(&context)?;
    let lines = "FROM box\nRUN echo built >/file && id -u >>/file && chmod 777 /mnt\n\
                 USER 5\nRUN id -u >/mnt/user\nCMD cat /file /mnt/user\n";
    fs::write(context.join("Dockerfile"), lines)?;
    let folder = context.to_string_lossy().into_owned();
    docker.call(&["build", "--network", "none", "-t", "built", &folder]).ok()?;
    let output = docker.call(&["run", "--rm", "--network", "none", "built"]).ok()?;
    ensure_eq!(output.stdout, "built\n0\n5\n", "what was built");
    fs::write(context.join("Dockerfile"), "FROM box\nRUN exit 9\n")?;
    let output = docker.call(&["build", "--network", "none", &folder]).exits(9)?;
    ensure!(output.stderr.contains("returned a non-zero code: 9"), "{output}");
    docker.end()
}

/// Docker keeps the runtime with each container: those that are there stay runc's.
fn change(env: &mut Env) -> Outcome {
    let docker = Docker::new(env)?;
    let run = |name: &str| {
        docker.call(&["run", "-d", "--name", name, "--network", "none", "box", "sleep", "1000"])
    };
    run("old").ok()?;
    set_default(&docker)?;
    run("new").ok()?;
    for (name, runtime) in [("old", "runc"), ("new", "ghost-runc")] {
        ensure_eq!(docker.inspect(name, "{{.HostConfig.Runtime}}")?, runtime, "{name}");
        docker.call(&["exec", name, "sh", "-c", "exit 3"]).exits(3)?;
        docker.call(&["pause", name]).ok()?;
        docker.call(&["unpause", name]).ok()?;
        docker.call(&["restart", "-t", "0", name]).ok()?;
        docker.call(&["exec", name, "true"]).ok()?;
    }
    // Whose they are, where the shim has either keep them.
    let root = docker.dir.join("exec/runtime-runc/moby").to_string_lossy().into_owned();
    let known = |name: &str| -> Result<bool, Failure> {
        let id = docker.inspect(name, "{{.Id}}")?;
        Ok(env.bare_runtime(&["--root", &root, "state", &id]).output()?.status.success())
    };
    if env.is(Peer::Ghost) {
        ensure!(!known("old")? && known("new")?, "a runtime has the other's container");
    }
    for name in ["old", "new"] {
        docker.call(&["stop", "-t", "0", name]).ok()?;
        docker.call(&["start", name]).ok()?;
        docker.call(&["kill", name]).ok()?;
        docker.call(&["rm", name]).ok()?;
    }
    docker.end()
}

/// The manual's flag of dockerd, without a table of runtimes in the file.
fn add_runtime(env: &mut Env) -> Outcome {
    let words = manual::command(env, "docker-flag", &[])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ensure_eq!(words.first(), Some(&"dockerd"), "engines.md: the command");
    let flags = [&words[1..], &["--default-runtime", "ghost-runc"]].concat();
    let docker = Docker::with_config(env, "{}", Manager::Cgroupfs, &flags)?;
    docker.run(&["--rm"], &["sh", "-c", "exit 7"]).exits(7)?;
    let words = ["run", "-d", "--name", "one", "--network", "none", "box", "sleep", "1000"];
    docker.call(&words).ok()?;
    ensure_eq!(docker.inspect("one", "{{.HostConfig.Runtime}}")?, "ghost-runc", "the default");
    docker.call(&["exec", "one", "sh", "-c", "exit 3"]).exits(3)?;
    let output = docker.call(&["info", "--format", "{{json .Runtimes}}"]).ok()?;
    ensure!(output.stdout.contains(&*env.shared.runtime.to_string_lossy()), "{output}");
    docker.end()
}
