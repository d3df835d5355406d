//! A container from its start to its removal.

use crate::call::wait_until;
use crate::case::Outcome;
use crate::suites::asked::Client;
use crate::suites::podman::Podman;
use crate::{ensure, ensure_eq};

const SCRIPT: &str = "trap 'echo caught; exit 5' TERM; trap 'echo here' USR2; echo ready; \
                      while true; do sleep 0.05; done";

pub fn life(podman: Podman) -> Outcome {
    // The timer of the health check would be systemd's.
    let health = ["--health-interval", "disable", "--health-retries", "1"];
    let flags = [&["-d", "--name", "a", "--health-cmd", "test -e /tmp/well"], &health[..]].concat();
    podman.run(&flags, &["sh", "-c", SCRIPT]).ok()?;
    podman.call(&["exec", "a", "sh", "-c", "exit 9"]).exits(9)?;
    let output = podman.call(&["top", "a", "comm"]).ok()?;
    ensure!(output.stdout.contains("sh\n"), "{output}");
    let runtime = podman.inspect("a", "{{.OCIRuntime}}")?;
    ensure_eq!(Some(runtime), podman.runtime, "the runtime that podman used");
    let before = podman.inspect("a", "{{.Id}} {{.State.Pid}}")?;
    let (id, pid) = before.split_once(' ').unwrap_or_default();
    let known = podman.known_to_the_runtime()?;
    ensure!(known.lines().any(|known| known == id), "the runtime knows only {known:?}");

    podman.call(&["healthcheck", "run", "a"]).exits(1)?;
    podman.call(&["exec", "a", "touch", "/tmp/well"]).ok()?;
    podman.call(&["healthcheck", "run", "a"]).ok()?;
    ensure_eq!(podman.inspect("a", "{{.State.Health.Status}}")?, "healthy", "health");

    podman.call(&["restart", "-t", "0", "a"]).ok()?;
    let after = podman.inspect("a", "{{.State.Pid}} {{.State.Status}}")?;
    ensure!(after.ends_with(" running") && !after.starts_with(&format!("{pid} ")), "{after}");

    let follow = podman.call(&["logs", "-f", "a"]).spawn()?;
    follow.wait_for_stdout("ready\nready\n")?;
    let attached = podman.call(&["attach", "--no-stdin", "a"]).spawn()?;
    wait_until(podman.env().shared.limit * 3, "attach to show what is printed", || {
        podman.call(&["kill", "-s", "USR2", "a"]).ok()?;
        Ok(attached.stdout()?.contains("here\n").then_some(()))
    })?;
    podman.call(&["stop", "-t", "30", "a"]).ok()?;
    ensure_eq!(podman.call(&["wait", "a"]).ok()?.stdout, "5\n", "exit code");
    for (what, running) in [("attach", attached), ("logs -f", follow)] {
        let output = running.wait()?;
        ensure!(output.stdout.trim_end().ends_with("here\ncaught"), "{what}: {output}");
    }

    by_steps(&podman)?;
    podman.call(&["start", "a"]).ok()?;
    podman.call(&["rm", "-f", "-t", "0", "a"]).ok()?;
    let output = podman.run(&["--rm"], &["nosuch"]).exits(127)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    ensure_eq!(podman.call(&["ps", "-aq"]).ok()?.stdout, "", "containers");
    podman.end()
}

fn by_steps(podman: &Podman) -> Outcome {
    let script = ["sh", "-c", "echo attached; exit 6"];
    podman.make("create", &["--name", "b", "--network", "none"], &script).ok()?;
    podman.call(&["init", "b"]).ok()?;
    ensure_eq!(podman.inspect("b", "{{.State.Status}}")?, "initialized", "status after init");
    let output = podman.call(&["start", "--attach", "b"]).exits(6)?;
    ensure_eq!(output.stdout, "attached\n", "stdout");
    podman.call(&["rm", "b"]).ok()?;
    Ok(())
}
