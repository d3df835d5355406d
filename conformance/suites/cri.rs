//! containerd driven as Kubernetes does, by its CRI plugin with the manual's runtime, and the one call
//! of its own interface that `ctr` lacks. There is no CRI client in Debian, so `unary_call.py` stands in.

use std::fs;

use serde_json::{Value, json};

use super::containerd::Containerd;
use super::{engine, image, manual};
use crate::call::{Output, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CONTAINERD: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("containerd"), Need::Command("ctr")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    Case::new("containerd/update", update).needs(CONTAINERD).not_on(CRUN),
    Case::new("containerd/cri-pod", pod).needs(CONTAINERD).not_on(CRUN),
];

/// The namespace that the CRI plugin keeps everything in.
const KUBERNETES: &str = "k8s.io";

/// The image as the CRI plugin names it.
const IMAGE: &str = "docker.io/library/box:latest";

fn call(containerd: &Containerd, method: &str, message: &Value) -> Result<Output, Failure> {
    let socket = containerd.socket().to_string_lossy().into_owned();
    let header = format!("containerd-namespace={}", containerd.env.mark);
    let script = containerd.env.dir.join("unary_call.py");
    fs::write(&script, include_str!("unary_call.py"))?;
    let (script, message) = (script.to_string_lossy(), message.to_string());
    // Debian's python, whose module it is.
    let words = ["/usr/bin/python3", &script, &socket, method, &message, &header];
    containerd.env.command(&words).limit(containerd.env.shared.limit * 3).output()
}

fn answer(containerd: &Containerd, method: &str, message: &Value) -> Result<Value, Failure> {
    let output = call(containerd, method, message)?;
    ensure_eq!((output.code(), output.stderr.as_str()), (0, ""), "{method}");
    output.json()
}

fn update(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let flags = ["-d", "--null-io", "--memory-limit", "33554432"];
    containerd.run(&flags, "a", &["sleep", "1000"]).ok()?;
    let update = |resources: Value| {
        let kind = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
        let message = json!({"1": "a", "2": {"1": kind, "2": resources.to_string()}});
        call(&containerd, "/containerd.services.tasks.v1.Tasks/Update", &message)
    };
    let output = update(json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 44}}))?;
    output.expect_code(0)?;
    let group = format!("{}/a", env.mark);
    let file = |v1: &str, v2: &str| engine::group_file(env, &group, v1, v2);
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "67108864", "memory");
    ensure_eq!(file("pids/pids.max", "pids.max")?, "44", "pids");
    // The runtime's text comes back.
    let output = update(json!({"cpu": {"cpus": "4096"}}))?;
    ensure!(output.code() != 0 && output.stderr.contains("cpuset.cpus"), "{output}");
    containerd.delete("a")?;
    containerd.end()
}

fn pod(env: &mut Env) -> Outcome {
    // The sandbox's own process is the image's default command. Its score of -998 needs a capability
    // that a sandbox's root may lack.
    let config = format!(
        "{}\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"{IMAGE}\"\n  \
         restrict_oom_score_adj = true\n\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  \
         snapshotter = \"native\"\n",
        manual::snippet(env, "containerd-config")?
    );
    let containerd = Containerd::with_config(env, KUBERNETES, &config, &image::layer(env)?)?;
    containerd.ctr(&["images", "tag", "box:latest", IMAGE]).ok()?;
    let runtime = |method: &str, message: Value| {
        let method = format!("/runtime.v1.RuntimeService/{method}");
        // The plugin learns of images and is ready a moment after the daemon.
        answer(&containerd, &method, &message)
    };
    let text = |value: &Value| value["1"][0].as_str().unwrap_or_default().to_owned();

    // The pod has the machine's network, as no CNI plugin is configured; so it has no host name.
    let host = json!({"1": 2});
    let sandbox = json!({
        "1": {"1": "pod", "2": "uid", "3": "default"},
        "3": env.dir,
        "8": {"1": format!("/{}", env.mark), "2": {"1": host}},
    });
    let pod = wait_until(env.shared.limit, "the pod", || {
        let message = json!({"1": sandbox, "2": "ghost-runc"});
        let output = call(&containerd, "/runtime.v1.RuntimeService/RunPodSandbox", &message)?;
        let starting = output.stderr.contains("not yet initialized");
        ensure!(output.code() == 0 || starting, "{output}");
        let answer: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        Ok((!starting).then(|| text(&answer)))
    })?;
    let container = json!({
        "1": {"1": "one"},
        "2": {"1": IMAGE},
        "3": ["sh", "-c", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.02; done"],
        "5": "/tmp",
        "6": [{"1": "A", "2": "b"}],
        "11": "one.log",
        "15": {"1": {"4": 33_554_432}, "2": {"3": host}},
    });
    let id = text(&runtime("CreateContainer", json!({"1": pod, "2": container, "3": sandbox}))?);
    runtime("StartContainer", json!({"1": id}))?;
    ensure!(env.wait_file(&env.dir.join("one.log"))?.contains("stdout F ready"), "the log");

    // Pod and container are the runtime's.
    for id in [&pod, &id] {
        let root = format!("/run/containerd/runc/{KUBERNETES}");
        let output = env.bare_runtime(&["--root", &root, "state", id]).ok()?;
        ensure!(output.stdout.contains("\"status\": \"running\""), "{output}");
    }

    let exec = |command: &[&str]| runtime("ExecSync", json!({"1": id, "2": command, "3": 10}));
    let seen = exec(&["sh", "-c", "pwd; echo $A; echo err >&2; exit 3"])?;
    let expected = json!({"1": ["/tmp\nb\n"], "2": ["err\n"], "3": [3]});
    ensure_eq!(seen, expected, "ExecSync: stdout, stderr and exit code");
    let message = json!({"1": id, "2": ["nosuch"], "3": 10});
    let output = call(&containerd, "/runtime.v1.RuntimeService/ExecSync", &message)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");

    runtime("UpdateContainerResources", json!({"1": id, "2": {"4": 67_108_864}}))?;
    let group = format!("{}/{id}", env.mark);
    let memory = engine::group_file(env, &group, "memory/memory.limit_in_bytes", "memory.max")?;
    ensure_eq!(memory, "67108864", "memory after an update");

    runtime("StopContainer", json!({"1": id, "2": 30}))?;
    runtime("RemoveContainer", json!({"1": id}))?;
    runtime("StopPodSandbox", json!({"1": pod}))?;
    runtime("RemovePodSandbox", json!({"1": pod}))?;
    containerd.end()
}
