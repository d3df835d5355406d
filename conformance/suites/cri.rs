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
    Case::new("containerd/cri-change-of-runtime", change).needs(CONTAINERD).not_on(CRUN),
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

/// The manual's configuration, and what a machine of the cases needs: the sandbox's own process is the
/// image's default command, and its score of -998 needs a capability that a sandbox's root may lack.
fn config(env: &Env, default_runtime: &str) -> Result<String, Failure> {
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\"";
    let manual = manual::snippet(env, "containerd-config")?;
    Ok(format!(
        "{manual}\n{cri}]\n  sandbox_image = \"{IMAGE}\"\n  restrict_oom_score_adj = true\n\n\
         {cri}.containerd]\n  snapshotter = \"native\"\n  \
         default_runtime_name = \"{default_runtime}\"\n"
    ))
}

/// containerd with its CRI plugin.
struct Cri<'a> {
    containerd: Containerd<'a>,
}

/// The pod has the machine's network, as no CNI plugin is configured; so it has no host name.
fn host_network() -> Value {
    json!({"1": 2})
}

impl<'a> Cri<'a> {
    fn start(env: &'a Env<'a>, default_runtime: &str) -> Result<Self, Failure> {
        let (config, layer) = (config(env, default_runtime)?, image::layer(env)?);
        let containerd = Containerd::with_config(env, KUBERNETES, &config, &layer)?;
        containerd.ctr(&["images", "tag", "box:latest", IMAGE]).ok()?;
        Ok(Self { containerd })
    }

    fn output(&self, method: &str, message: &Value) -> Result<Output, Failure> {
        call(&self.containerd, &format!("/runtime.v1.RuntimeService/{method}"), message)
    }

    fn call(&self, method: &str, message: &Value) -> Result<Value, Failure> {
        let output = self.output(method, message)?;
        ensure_eq!((output.code(), output.stderr.as_str()), (0, ""), "{method}");
        output.json()
    }

    /// The configuration of the pod `name`.
    fn sandbox(&self, name: &str) -> Value {
        let env = self.containerd.env;
        json!({
            "1": {"1": name, "2": format!("uid of {name}"), "3": "default"},
            "3": env.dir,
            "8": {"1": format!("/{}", env.mark), "2": {"1": host_network()}},
        })
    }

    /// Run a pod with the runtime of that handler; its id.
    fn pod(&self, name: &str, handler: &str) -> Result<String, Failure> {
        let message = json!({"1": self.sandbox(name), "2": handler});
        // The plugin learns of images and is ready a moment after the daemon.
        wait_until(self.containerd.env.shared.limit, "the pod", || {
            let output = self.output("RunPodSandbox", &message)?;
            let starting = output.stderr.contains("not yet initialized");
            ensure!(output.code() == 0 || starting, "{output}");
            if starting { Ok(None) } else { Ok(Some(id_in(&output.json()?))) }
        })
    }

    /// Start a container in a pod; its id.
    fn container(&self, pod: (&str, &str), name: &str, script: &str) -> Result<String, Failure> {
        let container = json!({
            "1": {"1": name},
            "2": {"1": IMAGE},
            "3": ["sh", "-c", script],
            "5": "/tmp",
            "6": [{"1": "A", "2": "b"}],
            "11": format!("{name}.log"),
            "15": {"1": {"4": 33_554_432}, "2": {"3": host_network()}},
        });
        let message = json!({"1": pod.1, "2": container, "3": self.sandbox(pod.0)});
        let id = id_in(&self.call("CreateContainer", &message)?);
        self.call("StartContainer", &json!({"1": id}))?;
        Ok(id)
    }

    fn exec(&self, id: &str, command: &[&str]) -> Result<Value, Failure> {
        self.call("ExecSync", &json!({"1": id, "2": command, "3": 10}))
    }

    fn remove(&self, pod: &str, container: &str) -> Outcome {
        self.call("StopContainer", &json!({"1": container, "2": 30}))?;
        self.call("RemoveContainer", &json!({"1": container}))?;
        self.call("StopPodSandbox", &json!({"1": pod}))?;
        self.call("RemovePodSandbox", &json!({"1": pod}))?;
        Ok(())
    }

    /// The runtime under test, where the shim has it keep this container.
    fn state(&self, id: &str) -> Result<Output, Failure> {
        let root = format!("/run/containerd/runc/{KUBERNETES}");
        self.containerd.env.bare_runtime(&["--root", &root, "state", id]).output()
    }
}

/// The first field of an answer, which is an id.
fn id_in(answer: &Value) -> String {
    answer["1"][0].as_str().unwrap_or_default().to_owned()
}

fn pod(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "runc")?;
    let pod = cri.pod("pod", "ghost-runc")?;
    let script = "trap 'exit 5' TERM; echo ready; while true; do sleep 0.02; done";
    let id = cri.container(("pod", &pod), "one", script)?;
    ensure!(env.wait_file(&env.dir.join("one.log"))?.contains("stdout F ready"), "the log");
    for id in [&pod, &id] {
        let output = cri.state(id)?;
        ensure!(output.stdout.contains("\"status\": \"running\""), "{output}");
    }

    let seen = cri.exec(&id, &["sh", "-c", "pwd; echo $A; echo err >&2; exit 3"])?;
    let expected = json!({"1": ["/tmp\nb\n"], "2": ["err\n"], "3": [3]});
    ensure_eq!(seen, expected, "ExecSync: stdout, stderr and exit code");
    let output = cri.output("ExecSync", &json!({"1": id, "2": ["nosuch"], "3": 10}))?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");

    cri.call("UpdateContainerResources", &json!({"1": id, "2": {"4": 67_108_864}}))?;
    let group = format!("{}/{id}", env.mark);
    let memory = engine::group_file(env, &group, "memory/memory.limit_in_bytes", "memory.max")?;
    ensure_eq!(memory, "67108864", "memory after an update");

    cri.remove(&pod, &id)?;
    cri.containerd.end()
}

/// A node whose default runtime changes: the pods that are there stay runc's, and are looked after.
fn change(env: &mut Env) -> Outcome {
    let mut cri = Cri::start(env, "runc")?;
    let script = "trap 'exit 5' TERM; while true; do sleep 0.02; done";
    let old_pod = cri.pod("old", "")?;
    let old = cri.container(("old", &old_pod), "a", script)?;
    cri.containerd.configure(&config(env, "ghost-runc")?)?;
    cri.containerd.crash_and_start()?;
    let new_pod = cri.pod("new", "")?;
    let new = cri.container(("new", &new_pod), "b", script)?;
    for id in [&old, &new] {
        let seen = cri.exec(id, &["sh", "-c", "exit 3"])?;
        ensure_eq!(seen, json!({"3": [3]}), "ExecSync");
        cri.call("UpdateContainerResources", &json!({"1": id, "2": {"4": 67_108_864}}))?;
    }
    if env.is(Peer::Ghost) {
        let (old, new) = (cri.state(&old)?, cri.state(&new)?);
        ensure!(old.code() != 0 && new.code() == 0, "whose they are: {old} {new}");
    }
    // A container more in the old pod is its runtime's.
    let more = cri.container(("old", &old_pod), "c", script)?;
    ensure!(cri.state(&more)?.code() == cri.state(&old)?.code(), "another runtime in one pod");
    cri.call("StopContainer", &json!({"1": more, "2": 30}))?;
    cri.call("RemoveContainer", &json!({"1": more}))?;
    cri.remove(&old_pod, &old)?;
    cri.remove(&new_pod, &new)?;
    cri.containerd.end()
}
