//! podman over a container's life: what follows, freezes, checks, changes and groups containers.

use std::fs;

use super::asked::Client;
use super::podman::Podman;
use super::{engine, manual};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const PODMAN: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    case("podman/pause-and-unpause", pause, PODMAN),
    case("podman/attach-and-follow-logs", attach, PODMAN),
    case("podman/update", update, PODMAN),
    case("podman/stats-and-events", stats, PODMAN),
    case("podman/healthcheck", healthcheck, PODMAN),
    case("podman/pod-shares-an-infra-container", pod, PODMAN),
    case("podman/build", build, PODMAN),
    case("podman/configured-runtime", configured, PODMAN),
    case("podman/change-of-runtime", change, PODMAN),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome, needs: &'static [Need]) -> Case {
    Case::new(name, run).needs(needs).not_on(CRUN)
}

fn pause(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.start("one", "sleep 1000")?;
    podman.call(&["pause", "one"]).ok()?;
    ensure_eq!(podman.inspect("one", "{{.State.Status}}")?, "paused", "status");
    let output = podman.call(&["exec", "one", "true"]).output()?;
    ensure!(output.code() != 0, "exec in a paused container: {output}");
    podman.call(&["unpause", "one"]).ok()?;
    ensure_eq!(podman.inspect("one", "{{.State.Status}}")?, "running", "status");
    podman.call(&["exec", "one", "true"]).ok()?;
    podman.call(&["pause", "one"]).ok()?;
    // A kill must reach what is frozen.
    podman.call(&["rm", "-f", "-t", "0", "one"]).ok()?;
    podman.end()
}

fn attach(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let script = "trap 'echo caught; exit 6' USR1; echo ready; while true; do sleep 0.02; done";
    podman.start("one", script)?;
    podman.wait_logs("one", "ready")?;
    let follow = podman.call(&["logs", "-f", "one"]).spawn()?;
    follow.wait_for_stdout("ready")?;
    let attached = podman.call(&["attach", "--no-stdin", "one"]).spawn()?;
    // It has no other sign of being attached than its connection to conmon.
    std::thread::sleep(std::time::Duration::from_secs(1));
    podman.call(&["kill", "-s", "USR1", "one"]).ok()?;
    let output = attached.wait()?;
    ensure!(output.stdout.starts_with("caught\n"), "attach: {output}");
    ensure_eq!(podman.inspect("one", "{{.State.ExitCode}}")?, "6", "exit code");
    ensure_eq!(follow.wait()?.stdout, "ready\ncaught\n", "logs -f");
    podman.end()
}

fn update(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.run(&["-d", "--name", "one", "--memory", "32m"], &["sleep", "1000"]).ok()?;
    let id = podman.inspect("one", "{{.Id}}")?;
    let group = format!("{}/libpod-{id}", env.id("parent"));
    let file = |v1: &str, v2: &str| engine::group_file(env, &group, v1, v2);
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "33554432", "memory");
    podman.call(&["update", "--memory", "48m", "--cpus", "0.5", "one"]).ok()?;
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "50331648", "memory");
    ensure!(file("cpu/cpu.cfs_quota_us", "cpu.max")?.starts_with("50000"), "cpu");
    podman.end()
}

fn stats(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.run(&["-d", "--name", "one", "--memory", "32m"], &["sleep", "1000"]).ok()?;
    let format = "{{.PIDs}} {{.MemUsage}}";
    let output = podman.call(&["stats", "--no-stream", "--format", format, "one"]).ok()?;
    ensure!(output.stdout.starts_with("1 ") && output.stdout.contains("33.55MB"), "{output}");
    podman.call(&["exec", "one", "true"]).ok()?;
    podman.call(&["stop", "-t", "0", "one"]).ok()?;
    let output = podman.call(&["events", "--stream=false", "--format", "{{.Status}}"]).ok()?;
    let events: Vec<&str> = output.stdout.lines().collect();
    for event in ["create", "init", "start", "exec", "died"] {
        ensure!(events.contains(&event), "no event {event}: {output}");
    }
    podman.end()
}

fn healthcheck(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    // The timer would be systemd's.
    let flags = ["-d", "--name", "one", "--health-interval", "disable", "--health-retries", "1"];
    let flags = [&flags[..], &["--health-cmd", "test -e /tmp/well"]].concat();
    podman.run(&flags, &["sleep", "1000"]).ok()?;
    podman.call(&["healthcheck", "run", "one"]).exits(1)?;
    ensure_eq!(podman.inspect("one", "{{.State.Health.Status}}")?, "unhealthy", "health");
    podman.call(&["exec", "one", "touch", "/tmp/well"]).ok()?;
    podman.call(&["healthcheck", "run", "one"]).ok()?;
    ensure_eq!(podman.inspect("one", "{{.State.Health.Status}}")?, "healthy", "health");
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

fn build(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let context = env.dir.join("context");
    fs::create_dir(&context)?;
    let lines = "FROM box\nRUN echo built >/file && id -u >>/file && chmod 777 /mnt\n\
                 USER 5\nRUN id -u >/mnt/user\nCMD cat /file /mnt/user\n";
    fs::write(context.join("Containerfile"), lines)?;
    let folder = context.to_string_lossy().into_owned();
    // The manual's command, of which the call has the first part.
    let more = format!(" --isolation oci --network none -t built {folder}\n");
    let words = manual::command(env, "podman-build", &[(" .\n", &more)])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = env.shared.runtime.to_string_lossy();
    ensure_eq!(words[..3], ["podman", "--runtime", &runtime], "engines.md: the command");
    podman.call(&words[3..]).ok()?;
    let parent = format!("/{}", env.id("parent"));
    let run = ["run", "--rm", "--network", "none", "--cgroup-parent", &parent, "built"];
    ensure_eq!(podman.call(&run).ok()?.stdout, "built\n0\n5\n", "what was built");
    fs::write(context.join("Containerfile"), "FROM box\nRUN [\"nosuch\"]\n")?;
    let output = podman.call(&words[3..]).output()?;
    let told = format!("from {} creating container", env.shared.runtime.display());
    ensure!(output.code() != 0 && output.stderr.contains(&told), "{output}");
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
    podman.end()
}
