//! podman, rootful, with the runtime under test: what a user types, and what podman makes of the
//! runtime's answers.

use super::asked::{self, Client};
use super::podman::Podman;
use crate::case::{Case, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

// podman limits every container's processes, so it needs a view that has controllers.
const PODMAN: &[Need] = &[Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const NATIVE: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    case("podman/run-exit-codes", exit_codes, PODMAN),
    case("podman/run-streams", streams, NATIVE),
    case("podman/run-default-container", default_container, PODMAN),
    case("podman/run-mounts", mounts, PODMAN),
    case("podman/run-limits", limits, PODMAN),
    case("podman/run-user-namespace", user_namespace, NATIVE),
    case("podman/run-joins-a-container", joins, NATIVE),
    case("podman/errors-without-json-support", plain_errors, NATIVE),
    case("podman/logs", logs, NATIVE),
    case("podman/exec", exec, PODMAN),
    case("podman/stop-sends-term-then-kill", stop, PODMAN),
    case("podman/kill", kill, NATIVE),
    case("podman/rm", rm, NATIVE),
    case("podman/start-again", start_again, NATIVE),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome, needs: &'static [Need]) -> Case {
    Case::new(name, run).needs(needs).not_on(CRUN)
}

fn exit_codes(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.run(&["--rm"], &["true"]).ok()?;
    podman.run(&["--rm"], &["sh", "-c", "exit 7"]).exits(7)?;
    podman.run(&["--rm"], &["sh", "-c", "kill -KILL $$"]).output()?;
    podman.run(&["--rm", "--pid", "host"], &["sh", "-c", "kill -KILL $$"]).exits(137)?;
    let output = podman.run(&["--rm"], &["nosuch"]).exits(127)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    podman.run(&["--rm"], &["/no/such"]).exits(127)?;
    let output = podman.run(&["--rm"], &["/etc/passwd"]).exits(126)?;
    ensure!(output.stderr.contains("permission denied"), "{output}");
    let left = podman.call(&["ps", "-a", "-q"]).ok()?;
    ensure_eq!(left.stdout, "", "containers after run --rm");
    podman.end()
}

fn plain_errors(env: &mut Env) -> Outcome {
    // Without containers.conf naming the runtime, podman reads the plain line from stderr.
    let mut podman = Podman::new(env)?;
    podman.configured = false;
    let output = podman.run(&["--rm"], &["nosuch"]).exits(127)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    podman.run(&["--rm"], &["/etc/passwd"]).exits(126)?;
    podman.end()
}

fn streams(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    asked::run_streams(&podman)?;
    podman.end()
}

fn default_container(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    asked::default_container(&podman)?;
    podman.run(&["--rm"], &["cat", "/run/.containerenv"]).ok()?;
    podman.end()
}

fn mounts(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    asked::mounts(&podman)?;
    podman.end()
}

fn limits(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let script = if env.shared.host.v2 {
        "cd /sys/fs/cgroup; cat memory.max pids.max; cat cpu.max"
    } else {
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max; \
         echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)"
    };
    let output = podman
        .run(
            &["--rm", "--memory", "64m", "--pids-limit", "55", "--cpus", "0.5"],
            &["sh", "-c", script],
        )
        .ok()?;
    ensure_eq!(output.stdout, "67108864\n55\n50000 100000\n", "limits");
    podman.end()
}

fn user_namespace(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let report = podman.report(&["--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000"])?;
    ensure_eq!(report["uid_map"].to_string(), "[\"0 100000 5000\"]", "uid_map");
    ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid inside");
    podman.end()
}

fn joins(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("first", "hostname; sleep 1000")?;
    let flags = ["--rm", "--network", "container:first", "--pid", "container:first"];
    let flags = [&flags[..], &["--ipc", "container:first"]].concat();
    let output = podman.make("run", &flags, &["sh", "-c", "cat /proc/1/comm; echo $$"]).ok()?;
    let (comm, own) = output.stdout.split_once('\n').unwrap_or_default();
    ensure!(["sh", "sleep"].contains(&comm), "process 1: {output}");
    ensure!(own.trim() != "1", "a pid namespace of its own: {output}");
    podman.end()
}

fn logs(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("talker", "echo one; echo two >&2; exit 3")?;
    let output = podman.call(&["wait", "talker"]).ok()?;
    ensure_eq!(output.stdout, "3\n", "wait");
    let output = podman.call(&["logs", "talker"]).ok()?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one\n", "two\n"), "logs");
    podman.end()
}

fn exec(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("host", "sleep 1000")?;
    asked::exec(&podman, "host")?;
    let output = podman.call(&["exec", "host", "nosuch"]).exits(127)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    podman.call(&["exec", "host", "/etc/passwd"]).exits(126)?;
    podman.end()
}

fn stop(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("polite", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done")?;
    podman.start("deaf", "trap '' TERM; echo ready; while true; do sleep 0.05; done")?;
    for name in ["polite", "deaf"] {
        podman.wait_logs(name, "ready")?;
    }
    podman.call(&["stop", "-t", "30", "polite"]).ok()?;
    ensure_eq!(
        podman.inspect("polite", "{{.State.Status}} {{.State.ExitCode}}")?,
        "exited 5",
        "polite"
    );
    podman.call(&["stop", "-t", "1", "deaf"]).ok()?;
    ensure_eq!(
        podman.inspect("deaf", "{{.State.Status}} {{.State.ExitCode}}")?,
        "exited 137",
        "deaf"
    );
    podman.end()
}

fn kill(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("one", "trap 'echo caught' USR1; echo ready; while true; do sleep 0.05; done")?;
    podman.wait_logs("one", "ready")?;
    podman.call(&["kill", "-s", "USR1", "one"]).ok()?;
    podman.wait_logs("one", "caught")?;
    podman.call(&["kill", "one"]).ok()?;
    let output = podman.call(&["wait", "one"]).ok()?;
    ensure_eq!(output.stdout, "137\n", "exit code");
    let output = podman.call(&["kill", "one"]).output()?;
    ensure!(output.code() != 0, "kill of a stopped container: {output}");
    podman.end()
}

fn rm(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("one", "sleep 1000")?;
    let output = podman.call(&["rm", "one"]).output()?;
    ensure!(output.code() != 0, "rm of a running container: {output}");
    podman.call(&["rm", "-f", "-t", "0", "one"]).ok()?;
    ensure_eq!(podman.call(&["ps", "-a", "-q"]).ok()?.stdout, "", "containers");
    // A container that was made and never started.
    podman.make("create", &["--name", "two"], &["true"]).ok()?;
    podman.call(&["rm", "two"]).ok()?;
    podman.end()
}

fn start_again(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.run(&["--name", "one"], &["sh", "-c", "echo x >> /count; wc -l < /count"]).ok()?;
    for count in ["2\n", "3\n"] {
        let output = podman.call(&["start", "-a", "one"]).ok()?;
        ensure_eq!(output.stdout, count, "runs");
    }
    podman.start("two", "sleep 1000")?;
    let before = podman.inspect("two", "{{.State.Pid}}")?;
    podman.call(&["restart", "-t", "0", "two"]).ok()?;
    let after = podman.inspect("two", "{{.State.Pid}} {{.State.Status}}")?;
    ensure!(after.ends_with(" running") && !after.starts_with(&format!("{before} ")), "{after}");
    podman.end()
}
