//! The engines with systemd's cgroups: every container is a scope of the machine's systemd or of the
//! user's own, and most of the engines' calls come without `--systemd-cgroup`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::asked::Client;
use super::containerd::Containerd;
use super::cri::{self, Cri, RUNNING, Status};
use super::engine;
use super::podman::{Manager, Podman};
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::user::UID;
use crate::{ensure, ensure_eq};

const PODMAN: &[Need] = &[Need::Systemd, Need::Command("podman"), Need::Command("conmon")];
const CONTAINERD: &[Need] = &[Need::Systemd, Need::Command("containerd"), Need::Command("ctr")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    Case::new("systemd-engines/podman", podman).needs(PODMAN).not_on(CRUN),
    Case::new("systemd-engines/podman-pod", pod).needs(PODMAN).not_on(CRUN),
    Case::new("systemd-engines/podman-of-a-user", user).needs(PODMAN).not_on(CRUN),
    Case::new("systemd-engines/containerd", containerd).needs(CONTAINERD).not_on(CRUN),
    Case::new("systemd-engines/cri", cri).needs(CONTAINERD).not_on(CRUN),
];

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

const GROUPS: &str = "/sys/fs/cgroup";

/// The scope of podman's container "a" in `slice`.
fn scope(podman: &Podman, slice: &str) -> Result<PathBuf, Failure> {
    let id = podman.inspect("a", "{{.Id}}")?;
    let scope = Path::new(GROUPS).join(slice).join(format!("libpod-{id}.scope"));
    ensure!(scope.is_dir(), "there is no {}", scope.display());
    Ok(scope)
}

fn value(scope: &Path, file: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(scope.join(file))?.trim().to_owned())
}

/// What holds for root's podman and a user's: calls of a container "a" whose scope is this.
fn life(podman: &Podman, scope: &Path) -> Outcome {
    ensure_eq!(value(scope, "memory.max")?, "67108864", "memory");
    ensure_eq!(value(scope, "pids.max")?, "55", "pids");
    podman.call(&["exec", "a", "sh", "-c", "exit 9"]).exits(9)?;
    let output = podman.call(&["top", "a", "comm"]).ok()?;
    ensure!(output.stdout.contains("sleep"), "{output}");
    podman.call(&["pause", "a"]).ok()?;
    ensure_eq!(value(scope, "cgroup.freeze")?, "1", "frozen");
    podman.call(&["unpause", "a"]).ok()?;
    ensure_eq!(value(scope, "cgroup.freeze")?, "0", "frozen");
    podman.call(&["stop", "-t", "0", "a"]).ok()?;
    ensure_eq!(podman.inspect("a", "{{.State.ExitCode}}")?, "137", "exit code");
    ensure!(!scope.exists(), "the scope of a stopped container");
    Ok(())
}

const LIMITS: &[&str] = &["-d", "--name", "a", "--memory", "64m", "--pids-limit", "55"];

fn podman(env: &mut Env) -> Outcome {
    let podman = Podman::with_manager(env, Manager::Systemd)?;
    podman.run(LIMITS, &["sleep", "1000"]).ok()?;
    let first = scope(&podman, "machine.slice")?;
    life(&podman, &first)?;
    podman.call(&["start", "a"]).ok()?;
    let again = scope(&podman, "machine.slice")?;
    podman.call(&["update", "--memory", "48m", "a"]).ok()?;
    ensure_eq!(value(&again, "memory.max")?, "50331648", "memory after an update");
    podman.call(&["kill", "a"]).ok()?;
    let output = podman.run(&["--rm"], &["nosuch"]).exits(127)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    podman.end()
}

fn pod(env: &mut Env) -> Outcome {
    let podman = Podman::with_manager(env, Manager::Systemd)?;
    // The default infra image would be built, which takes long on an emulated machine.
    let infra = ["--infra-image", "box", "--infra-command", "sleep 1000", "--network", "none"];
    podman.call(&[&["pod", "create", "--name", "pod"], &infra[..]].concat()).ok()?;
    podman.call(&["run", "-d", "--pod", "pod", "--name", "a", "box", "sleep", "1000"]).ok()?;
    let output = podman.call(&["pod", "inspect", "--format", "{{.CgroupPath}}", "pod"]).ok()?;
    ensure!(output.stdout.starts_with("machine.slice/machine-libpod_pod_"), "{output}");
    let scope = scope(&podman, output.stdout.trim())?;
    podman.call(&["exec", "a", "true"]).ok()?;
    podman.call(&["pod", "rm", "-f", "-t", "0", "pod"]).ok()?;
    ensure!(!scope.exists(), "the scope of a pod that is gone");
    podman.end()
}

fn user(env: &mut Env) -> Outcome {
    let podman = Podman::of_user_in_session(env)?;
    podman.run(LIMITS, &["sleep", "1000"]).ok()?;
    let manager = format!("user.slice/user-{UID}.slice/user@{UID}.service");
    let scope = scope(&podman, &format!("{manager}/user.slice"))?;
    let own = ["sh", "-c", "readlink /proc/self/ns/ipc /proc/self/ns/net; cat /proc/1/comm"];
    let first = podman.call(&[&["exec", "a"], &own[..]].concat()).ok()?;
    let join = ["--rm", "--network", "container:a", "--ipc", "container:a", "--pid", "container:a"];
    let second = podman.make("run", &join, &own).ok()?;
    ensure_eq!(second.stdout, first.stdout, "namespaces");
    life(&podman, &scope)?;
    podman.end()
}

fn containerd(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let changes = [
        ("hello:one", &*format!("{}:a", env.mark)),
        ("--rm", "-d --null-io --memory-limit 67108864"),
        ("hello echo hello", "a sleep 1000"),
    ];
    containerd.manual("ctr-systemd", &changes)?.ok()?;
    let scope = Path::new(GROUPS).join(format!("system.slice/{}-a.scope", env.mark));
    ensure_eq!(value(&scope, "memory.max")?, "67108864", "memory");
    containerd.exec(&[], "a", &["true"]).ok()?;
    containerd.ctr(&["tasks", "pause", "a"]).ok()?;
    ensure_eq!(value(&scope, "cgroup.freeze")?, "1", "frozen");
    containerd.ctr(&["tasks", "resume", "a"]).ok()?;
    let metrics = containerd.ctr(&["tasks", "metrics", "--format", "json", "a"]).ok()?.json()?;
    ensure_eq!(metrics["pids"]["current"], 1, "pids: {metrics}");
    let gone = || {
        wait_until(env.shared.limit, "the scope to be gone", || {
            crate::leaks::reap();
            Ok((!scope.exists()).then_some(()))
        })
    };
    containerd.delete("a")?;
    gone()?;
    // What cleans up after a killed shim calls `delete` without `--systemd-cgroup`.
    containerd.manual("ctr-systemd", &changes)?.ok()?;
    let shims = engine::processes_with(&["containerd-shim", "-id a"]);
    ensure_eq!(shims.len(), 1, "shims");
    engine::kill(shims[0])?;
    gone()?;
    containerd.wait_status("a", "")?;
    ensure_eq!(engine::processes_with(&["sleep 1000"]).len(), 0, "processes");
    containerd.delete("a")?;
    containerd.end()
}

/// The manual's `SystemdCgroup = true`, for pods of both of its runtimes.
fn cri(env: &mut Env) -> Outcome {
    let mut cri = Cri::with_config(env, "containerd-systemd-config", "ghost-runc")?;
    cri.parent = "/system.slice".to_owned();
    for handler in ["ghost-runc", "runc"] {
        let pod = cri.pod("pod", handler)?;
        let id = cri
            .start_container(&pod, &cri::container("a", "trap 'exit 5' TERM; sleep 1000 & wait"))?;
        let scope =
            |id: &str| Path::new(GROUPS).join(format!("system.slice/cri-containerd-{id}.scope"));
        ensure!(scope(&pod.id).is_dir(), "there is no scope of the pod");
        ensure_eq!(value(&scope(&id), "memory.max")?, "33554432", "memory");
        let output =
            env.command(&["systemctl", "is-active", &format!("cri-containerd-{id}.scope")]);
        ensure_eq!(output.output()?.stdout, "active\n", "what systemd says");
        ensure_eq!(cri.exec(&id, &["sh", "-c", "exit 3"])?.2, 3, "exit code");
        cri.call("UpdateContainerResources", &json!({"1": id, "2": {"4": 67_108_864}}))?;
        ensure_eq!(value(&scope(&id), "memory.max")?, "67108864", "memory after an update");
        ensure_eq!(cri.status(&id)?, RUNNING, "status");
        cri.call("StopContainer", &json!({"1": id, "2": 30}))?;
        ensure_eq!(cri.status(&id)?, Status { state: 2, code: 5 }, "after a stop");
        cri.call("RemoveContainer", &json!({"1": id}))?;
        cri.remove_pod(&pod)?;
        wait_until(env.shared.limit, "the scopes to be gone", || {
            Ok((!scope(&id).exists() && !scope(&pod.id).exists()).then_some(()))
        })?;
    }
    cri.end()
}
