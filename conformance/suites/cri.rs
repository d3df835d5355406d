//! containerd's CRI plugin, called as Kubernetes' kubelet does, with the manual's runtimes. Messages
//! are those of CRI's `runtime.v1`, by field numbers.

use serde_json::{Value, json};

use super::containerd::Containerd;
use super::grpc::{self, Reply};
use super::protobuf::Message;
use super::{image, manual};
use crate::call::{Output, wait_until};
use crate::case::{Failure, Outcome};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The namespace that the plugin keeps everything in.
pub const KUBERNETES: &str = "k8s.io";

/// The image as the plugin names it.
const IMAGE: &str = "docker.io/library/box:latest";

/// The name of the manual's configuration.
pub const CONFIG: &str = "containerd-config";

/// containerd with its CRI plugin.
pub struct Cri<'a> {
    /// The daemon.
    pub containerd: Containerd<'a>,
    /// The parent of the pods' cgroups.
    pub parent: String,
}

/// A pod by its name and its id.
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// What [`Cri::status`] says of a container.
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    /// 1 while it runs, 2 when it has exited.
    pub state: u64,
    /// The exit code.
    pub code: u64,
}

/// A running container's.
pub const RUNNING: Status = Status { state: 1, code: 0 };

/// The block of the manual, and what a machine of the cases needs: the sandbox's own process is the
/// image's default command, and its score of -998 needs a capability that a sandbox's root may lack.
pub fn config(env: &Env, block: &str, default_runtime: &str) -> Result<String, Failure> {
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\"";
    let manual = manual::snippet(env, block)?;
    Ok(format!(
        "{manual}\n{cri}]\n  sandbox_image = \"{IMAGE}\"\n  restrict_oom_score_adj = true\n\n\
         {cri}.containerd]\n  snapshotter = \"native\"\n  \
         default_runtime_name = \"{default_runtime}\"\n"
    ))
}

/// The namespaces of a pod and its containers: the machine's network, as no CNI plugin is configured
/// (so there is no host name either), and this mode for pids.
fn namespaces(pids: u8) -> Value {
    json!({"1": 2, "2": pids})
}

/// The mode of pids in which the containers of a pod share its namespace.
pub const SHARED: u8 = 0;
/// The mode of pids in which each has its own.
pub const OWN: u8 = 1;

/// The configuration of a container that runs a shell script.
pub fn container(name: &str, script: &str) -> Value {
    json!({
        "1": {"1": name},
        "2": {"1": IMAGE},
        "3": ["sh", "-c", script],
        "5": "/tmp",
        "6": [{"1": "A", "2": "b"}],
        "11": format!("{name}.log"),
        "15": {"1": {"4": 33_554_432}, "2": {"3": namespaces(OWN)}},
    })
}

/// The same, with this mode of pids.
pub fn container_with_pids(name: &str, script: &str, pids: u8) -> Value {
    let mut container = container(name, script);
    container["15"]["2"]["3"] = namespaces(pids);
    container
}

impl<'a> Cri<'a> {
    /// Start it with the manual's configuration.
    pub fn start(env: &'a Env<'a>, default_runtime: &str) -> Result<Self, Failure> {
        Self::with_config(env, CONFIG, default_runtime)
    }

    /// Start it with this block of the manual.
    pub fn with_config(
        env: &'a Env<'a>,
        block: &str,
        default_runtime: &str,
    ) -> Result<Self, Failure> {
        let (config, layer) = (config(env, block, default_runtime)?, image::layer(env)?);
        let containerd = Containerd::with_config(env, KUBERNETES, &config, &layer)?;
        containerd.ctr(&["images", "tag", "box:latest", IMAGE]).ok()?;
        Ok(Self { containerd, parent: format!("/{}", env.mark) })
    }

    /// Call a method of the runtime's service.
    pub fn reply(&self, method: &str, message: &Value) -> Result<Reply, Failure> {
        let (socket, limit) = (self.containerd.socket(), self.containerd.env.shared.limit * 4);
        let method = format!("/runtime.v1.RuntimeService/{method}");
        grpc::call(&socket, &method, message, &[], limit)
    }

    /// The same, and it must not be refused.
    pub fn call(&self, method: &str, message: &Value) -> Result<Message, Failure> {
        self.reply(method, message)?.map_err(|why| Failure(format!("{method}: {why}")))
    }

    /// The same, and it must be, in a text that is returned.
    pub fn refusal(&self, method: &str, message: &Value) -> Result<String, Failure> {
        match self.reply(method, message)? {
            Ok(answer) => Err(Failure(format!("{method} is not refused: {answer:?}"))),
            Err(why) => Ok(why),
        }
    }

    /// The configuration of the pod `name`.
    pub fn sandbox(&self, name: &str) -> Value {
        json!({
            "1": {"1": name, "2": format!("uid of {name}"), "3": "default"},
            "3": self.containerd.env.dir.to_string_lossy(),
            "8": {"1": self.parent, "2": {"1": namespaces(SHARED)}},
        })
    }

    /// Run a pod with the runtime of that handler.
    pub fn pod(&self, name: &str, handler: &str) -> Result<Pod, Failure> {
        let message = json!({"1": self.sandbox(name), "2": handler});
        // The plugin learns of images and is ready a moment after the daemon.
        wait_until(self.containerd.env.shared.limit, "the pod", || {
            match self.reply("RunPodSandbox", &message)? {
                Ok(answer) => Ok(Some(Pod { name: name.to_owned(), id: answer.text(1) })),
                Err(why) => {
                    ensure!(why.contains("initialized"), "RunPodSandbox: {why}");
                    Ok(None)
                }
            }
        })
    }

    /// Start a container of this configuration in a pod; its id.
    pub fn start_container(&self, pod: &Pod, container: &Value) -> Result<String, Failure> {
        let message = json!({"1": pod.id, "2": container, "3": self.sandbox(&pod.name)});
        let id = self.call("CreateContainer", &message)?.text(1);
        self.call("StartContainer", &json!({"1": id}))?;
        Ok(id)
    }

    /// `ExecSync` of a command; its stdout, stderr and exit code.
    pub fn exec(&self, id: &str, command: &[&str]) -> Result<(String, String, u64), Failure> {
        let answer = self.call("ExecSync", &json!({"1": id, "2": command, "3": 10}))?;
        Ok((answer.text(1), answer.text(2), answer.number(3)))
    }

    /// A container's state.
    pub fn status(&self, id: &str) -> Result<Status, Failure> {
        let status = self.call("ContainerStatus", &json!({"1": id}))?.message(1)?;
        Ok(Status { state: status.number(3), code: status.number(7) })
    }

    /// Stop a container and remove it.
    pub fn remove_container(&self, id: &str) -> Outcome {
        self.call("StopContainer", &json!({"1": id, "2": 30}))?;
        self.call("RemoveContainer", &json!({"1": id}))?;
        Ok(())
    }

    /// Stop a pod and remove it.
    pub fn remove_pod(&self, pod: &Pod) -> Outcome {
        self.call("StopPodSandbox", &json!({"1": pod.id}))?;
        self.call("RemovePodSandbox", &json!({"1": pod.id}))?;
        Ok(())
    }

    /// The runtime under test, where the shim has it keep this container.
    pub fn state(&self, id: &str) -> Result<Output, Failure> {
        let root = format!("/run/containerd/runc/{KUBERNETES}");
        self.containerd.env.bare_runtime(&["--root", &root, "state", id]).output()
    }

    /// Check that there is no pod left, and stop the daemon.
    pub fn end(self) -> Outcome {
        let pods = self.call("ListPodSandbox", &json!({}))?.messages(1)?.len();
        ensure_eq!(pods, 0, "pods at the end");
        self.containerd.end()
    }
}
