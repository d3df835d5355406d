//! A pod, whose containers share what its infra container has.

use crate::case::{Failure, Outcome};
use crate::suites::asked::Client;
use crate::suites::engine;
use crate::suites::podman::Podman;
use crate::{ensure, ensure_eq};

pub fn pod(podman: Podman) -> Outcome {
    let flags = ["--network", "none", "--hostname", "podded", "--share", "net,ipc,uts,pid"];
    // The default infra image would be built, which takes long on an emulated machine.
    let infra = ["--infra-image", "box", "--infra-command", "sleep 2000"];
    let parent = podman.parent();
    let parent: Vec<&str> = parent.iter().map(String::as_str).collect();
    podman.call(&[&["pod", "create", "--name", "p"][..], &flags, &infra, &parent].concat()).ok()?;
    for name in ["a", "b"] {
        podman.call(&["run", "-d", "--pod", "p", "--name", name, "box", "sleep", "1000"]).ok()?;
    }
    let look =
        "hostname; cat /proc/1/cmdline; readlink /proc/self/ns/ipc; readlink /proc/self/ns/net";
    let seen = |name: &str| -> Result<String, Failure> {
        Ok(podman.call(&["exec", name, "sh", "-c", look]).ok()?.stdout)
    };
    let first = seen("a")?;
    ensure!(first.starts_with("podded\nsleep\x002000\0"), "the pod: {first:?}");
    ensure_eq!(first, seen("b")?, "the containers' namespaces");

    if podman.has_groups() {
        let (of_a, of_b) = (podman.group("a")?, podman.group("b")?);
        let pod = of_a.split_once("/libpod-").unwrap_or_default().0;
        ensure!(pod.contains("libpod_pod_") || pod.contains("-parent/"), "the pod's group: {of_a}");
        ensure!(of_b.starts_with(pod), "the groups of one pod: {of_a}, {of_b}");
        podman.call(&["pod", "pause", "p"]).ok()?;
        ensure_eq!(podman.inspect("b", "{{.State.Status}}")?, "paused", "status");
        podman.call(&["pod", "unpause", "p"]).ok()?;
    }
    podman.call(&["pod", "stop", "-t", "0", "p"]).ok()?;
    podman.call(&["pod", "start", "p"]).ok()?;
    podman.call(&["exec", "b", "true"]).ok()?;
    let ids = podman.call(&["ps", "-aq", "--no-trunc"]).ok()?.stdout;
    podman.call(&["pod", "rm", "-f", "-t", "0", "p"]).ok()?;
    for id in ids.lines() {
        let left = engine::groups_of(podman.env(), &format!("libpod-{id}"));
        ensure!(left.is_empty(), "cgroups of a pod that is gone: {left:?}");
    }
    podman.end()
}
