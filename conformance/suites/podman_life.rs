//! podman over a container's life: what it tells of containers, groups and configures.

use std::fs;

use super::asked::Client;
use super::manual;
use super::podman::Podman;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const PODMAN: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const WITH_CRIU: &[Need] = &[Need::Criu, Need::Command("podman"), Need::Command("conmon")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    case("podman/events", events, PODMAN),
    case("podman/pod-shares-an-infra-container", pod, PODMAN),
    case("podman/configured-runtime", configured, PODMAN),
    case("podman/change-of-runtime", change, PODMAN),
    case("podman/checkpoint-and-restore", checkpoint, WITH_CRIU),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome, needs: &'static [Need]) -> Case {
    Case::new(name, run).needs(needs).not_on(CRUN)
}

fn events(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("one", "sleep 1000")?;
    podman.call(&["exec", "one", "true"]).ok()?;
    podman.call(&["stop", "-t", "0", "one"]).ok()?;
    let output = podman.call(&["events", "--stream=false", "--format", "{{.Status}}"]).ok()?;
    let events: Vec<&str> = output.stdout.lines().collect();
    for event in ["create", "init", "start", "exec", "died"] {
        ensure!(events.contains(&event), "no event {event}: {output}");
    }
    podman.end()
}

fn pod(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    // The default infra image is built from catatonit, which needs no network.
    let parent = format!("/{}", env.id("parent"));
    let words = ["pod", "create", "--name", "pod", "--network", "none", "--hostname", "podded"];
    let words = [&words[..], &["--share", "net,ipc,uts,pid", "--cgroup-parent", &parent]].concat();
    podman.call(&words).ok()?;
    for name in ["one", "two"] {
        podman.call(&["run", "-d", "--pod", "pod", "--name", name, "box", "sleep", "1000"]).ok()?;
    }
    let look = "hostname; cat /proc/1/comm; readlink /proc/self/ns/ipc; readlink /proc/self/ns/net";
    let seen = |name: &str| -> Result<String, Failure> {
        Ok(podman.call(&["exec", name, "sh", "-c", look]).ok()?.stdout)
    };
    ensure!(seen("one")?.starts_with("podded\ncatatonit\n"), "the pod: {}", seen("one")?);
    ensure_eq!(seen("one")?, seen("two")?, "the containers' namespaces");
    podman.call(&["pod", "pause", "pod"]).ok()?;
    ensure_eq!(podman.inspect("two", "{{.State.Status}}")?, "paused", "status");
    podman.call(&["pod", "unpause", "pod"]).ok()?;
    podman.call(&["pod", "stop", "-t", "0", "pod"]).ok()?;
    podman.call(&["pod", "start", "pod"]).ok()?;
    podman.call(&["exec", "two", "true"]).ok()?;
    podman.call(&["pod", "rm", "-f", "-t", "0", "pod"]).ok()?;
    podman.end()
}

/// Have podman take its configuration from the manual, and `--runtime` from nobody.
fn configure(env: &Env, podman: &mut Podman) -> Outcome {
    fs::write(podman.dir.join("containers.conf"), manual::snippet(env, "podman-config")?)?;
    podman.runtime = None;
    Ok(())
}

fn configured(env: &mut Env) -> Outcome {
    let mut podman = Podman::new(env)?;
    configure(env, &mut podman)?;
    podman.start("one", "sleep 1000")?;
    ensure_eq!(podman.inspect("one", "{{.OCIRuntime}}")?, "ghost-runc", "runtime");
    let output = podman.call(&["info", "--format", "json"]).ok()?;
    let info = output.json()?;
    let path = env.shared.runtime.to_string_lossy();
    ensure_eq!(info["host"]["ociRuntime"]["path"], *path, "runtime of podman info");
    let output = podman.run(&["--rm"], &["nosuch"]).exits(127)?;
    // As JSON asked for: the text alone, and not the line around it.
    ensure!(output.stderr.starts_with("Error: ghost-runc: "), "{output}");
    ensure!(!output.stderr.contains("level="), "{output}");
    // That takes crun's command line, so the manual leaves it out.
    let words = ["run", "--rm", "--network", "none", "--cgroups", "disabled", "box", "true"];
    let output = podman.call(&words).exits(125)?;
    ensure!(output.stderr.contains("not compatible with NoCgroups"), "{output}");
    podman.end()
}

/// podman keeps the runtime's name with each container: those that are there stay runc's.
fn change(env: &mut Env) -> Outcome {
    let mut podman = Podman::new(env)?;
    podman.runtime = Some("runc".to_owned());
    podman.start("old", "sleep 1000")?;
    configure(env, &mut podman)?;
    podman.start("new", "sleep 1000")?;
    for (name, runtime) in [("old", "runc"), ("new", "ghost-runc")] {
        ensure_eq!(podman.inspect(name, "{{.OCIRuntime}}")?, runtime, "{name}");
        podman.call(&["exec", name, "sh", "-c", "exit 3"]).exits(3)?;
        podman.call(&["pause", name]).ok()?;
        podman.call(&["unpause", name]).ok()?;
        podman.call(&["restart", "-t", "0", name]).ok()?;
        podman.call(&["exec", name, "true"]).ok()?;
    }
    for (name, runtime) in [("old", "runc"), ("new", "ghost-runc")] {
        podman.call(&["stop", "-t", "0", name]).ok()?;
        ensure_eq!(podman.inspect(name, "{{.State.Status}}")?, "exited", "{name}");
        ensure_eq!(podman.inspect(name, "{{.OCIRuntime}}")?, runtime, "{name} once stopped");
        podman.call(&["rm", name]).ok()?;
        podman.call(&["container", "exists", name]).exits(1)?;
    }
    podman.end()
}

fn checkpoint(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("one", "i=0; while :; do i=$((i+1)); echo count $i; sleep 0.1; done")?;
    podman.wait_logs("one", "count 3")?;
    podman.call(&["container", "checkpoint", "--keep", "one"]).ok()?;
    ensure_eq!(podman.inspect("one", "{{.State.Status}}")?, "exited", "status");
    podman.call(&["container", "restore", "one"]).ok()?;
    ensure_eq!(podman.inspect("one", "{{.State.Status}}")?, "running", "status");
    podman.call(&["exec", "one", "true"]).ok()?;
    let file = podman.dir.join("one.tar").to_string_lossy().into_owned();
    podman.call(&["container", "checkpoint", "--export", &file, "one"]).ok()?;
    podman.call(&["rm", "one"]).ok()?;
    podman.call(&["container", "restore", "--import", &file, "--name", "two"]).ok()?;
    podman.wait_logs("two", "count")?;
    let logs = podman.call(&["logs", "two"]).ok()?.stdout;
    // The log goes with the archive.
    let begun = logs.lines().filter(|line| *line == "count 1").count();
    ensure!(begun <= 1, "it began anew: {logs}");
    podman.end()
}
