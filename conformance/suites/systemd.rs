//! containerd, alone and behind its CRI, and Docker with systemd's cgroups: every container is a scope, and the
//! shim's clean-up call comes without `--systemd-cgroup`. podman's cases are with its places.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::asked::Client;
use super::containerd::Containerd;
use super::cri::{self, Cri, RUNNING, Status};
use super::docker::Docker;
use super::engine;
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CONTAINERD: &[Need] = &[Need::Systemd, Need::Command("containerd"), Need::Command("ctr")];
const DOCKER: &[Need] = &[Need::Systemd, Need::Command("dockerd"), Need::Command("docker")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    Case::new("systemd-engines/containerd", containerd).needs(CONTAINERD).not_on(CRUN),
    Case::new("systemd-engines/cri", cri).needs(CONTAINERD).not_on(CRUN),
    Case::new("systemd-engines/docker", docker).needs(DOCKER).not_on(CRUN),
];

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

const GROUPS: &str = "/sys/fs/cgroup";

fn value(scope: &Path, file: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(scope.join(file))?.trim().to_owned())
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

/// The manual's `native.cgroupdriver=systemd`.
fn docker(env: &mut Env) -> Outcome {
    let docker = Docker::with_systemd(env)?;
    let flags = ["-d", "--name", "one", "--memory", "32m", "--pids-limit", "99"];
    let script = "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done";
    docker.run(&flags, &["sh", "-c", script]).ok()?;
    let unit = format!("docker-{}.scope", docker.inspect("one", "{{.Id}}")?);
    let scope = Path::new(GROUPS).join("system.slice").join(&unit);
    ensure_eq!(docker.inspect("one", "{{.HostConfig.Runtime}}")?, "ghost-runc", "runtime");
    ensure_eq!(value(&scope, "memory.max")?, "33554432", "memory");
    ensure_eq!(value(&scope, "pids.max")?, "99", "processes");
    let output = env.command(&["systemctl", "is-active", &unit]).output()?;
    ensure_eq!(output.stdout, "active\n", "what systemd says");

    docker.call(&["exec", "one", "sh", "-c", "exit 3"]).exits(3)?;
    let words = ["update", "--memory", "64m", "--memory-swap", "128m", "--cpus", "0.5"];
    docker.call(&[&words[..], &["--pids-limit", "44", "one"]].concat()).ok()?;
    ensure_eq!(value(&scope, "memory.max")?, "67108864", "memory after an update");
    ensure_eq!(value(&scope, "pids.max")?, "44", "processes after an update");
    ensure_eq!(value(&scope, "cpu.max")?, "50000 100000", "cpu after an update");
    let output = env.command(&["systemctl", "show", "-P", "MemoryMax", &unit]).output()?;
    ensure_eq!(output.stdout, "67108864\n", "the property after an update");
    docker.call(&["pause", "one"]).ok()?;
    ensure_eq!(value(&scope, "cgroup.freeze")?, "1", "frozen");
    docker.call(&["unpause", "one"]).ok()?;
    ensure_eq!(value(&scope, "cgroup.freeze")?, "0", "frozen");

    docker.wait_logs("one", "ready")?;
    docker.call(&["stop", "-t", "30", "one"]).ok()?;
    ensure_eq!(docker.inspect("one", "{{.State.ExitCode}}")?, "5", "exit code");
    let gone = || {
        wait_until(env.shared.limit, "the scope to be gone", || {
            let words = ["systemctl", "list-units", "--all", "--no-legend", &unit];
            let known = env.command(&words).ok()?.stdout;
            Ok((!scope.exists() && known.is_empty()).then_some(()))
        })
    };
    gone()?;
    docker.call(&["start", "one"]).ok()?;
    ensure!(scope.is_dir(), "no scope of a container that runs again");
    docker.call(&["rm", "-f", "one"]).ok()?;
    gone()?;
    docker.end()
}
