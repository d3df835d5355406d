//! containerd and its runc shim. Root, state, socket and image are the case's own.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::engine::{self, Daemon};
use super::{image, manual};
use crate::call::{Call, wait_until};
use crate::case::{Failure, Outcome};
use crate::ensure_eq;
use crate::env::Env;

/// Plugins that no case needs, and whose absence saves time.
const DISABLED: &[&str] = &[
    "io.containerd.grpc.v1.cri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
];

/// containerd, running.
pub struct Containerd<'a> {
    /// The case.
    pub env: &'a Env<'a>,
    dir: PathBuf,
    namespace: String,
    daemon: Daemon,
    /// The value of `--runc-binary`.
    pub runtime: String,
}

impl<'a> Containerd<'a> {
    /// Start it and import the image. The namespace is the case's mark, and so is the group above the
    /// containers'.
    pub fn new(env: &'a Env<'a>) -> Result<Self, Failure> {
        Self::with_layer(env, &image::layer(env)?)
    }

    /// The same, with another layer in the image.
    pub fn with_layer(env: &'a Env<'a>, layer: &Path) -> Result<Self, Failure> {
        let disabled = serde_json::to_string(DISABLED)?;
        let config = format!("version = 2\ndisabled_plugins = {disabled}\n");
        Self::with_config(env, &env.mark, &config, layer)
    }

    /// Start it with this configuration, and import the image into this namespace.
    pub fn with_config(
        env: &'a Env<'a>,
        namespace: &str,
        config: &str,
        layer: &Path,
    ) -> Result<Self, Failure> {
        let dir = env.dir.join("containerd");
        fs::create_dir(&dir)?;
        fs::write(dir.join("config.toml"), config)?;
        engine::enter_run(env)?;
        let runtime = env.shared.runtime.to_string_lossy().into_owned();
        let daemon = start(env, &dir)?;
        let containerd = Self { env, dir, namespace: namespace.to_owned(), daemon, runtime };
        let image = image::archive(env, layer)?.to_string_lossy().into_owned();
        containerd.ctr(&["images", "import", "--snapshotter", "native", &image]).ok()?;
        Ok(containerd)
    }

    /// End the daemon without a chance to tidy up, and start another in its place.
    pub fn crash_and_start(&mut self) -> Outcome {
        self.daemon.signal(Signal::KILL)?;
        let again = start(self.env, &self.dir)?;
        std::mem::replace(&mut self.daemon, again).crash()
    }

    /// Change the configuration, for the next daemon.
    pub fn configure(&self, config: &str) -> Outcome {
        Ok(fs::write(self.dir.join("config.toml"), config)?)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// A command of its client.
    pub fn ctr(&self, words: &[&str]) -> Call {
        ctr(self.env, &self.dir, &self.namespace, words)
    }

    /// `ctr run` of a shell script or another command.
    pub fn run(&self, flags: &[&str], name: &str, command: &[&str]) -> Call {
        let own = ["run", "--snapshotter", "native", "--runc-binary", &self.runtime];
        self.ctr(&[&own[..], flags, &["box:latest", name], command].concat())
    }

    /// The command of this block of the manual, after these changes of its text.
    pub fn manual(&self, block: &str, changes: &[(&str, &str)]) -> Result<Call, Failure> {
        let image = ("docker.io/library/alpine:latest", "box:latest");
        let words = manual::command(self.env, block, &[&[image], changes].concat())?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ensure_eq!(words.first(), Some(&"ctr"), "engines.md, {block}: the command");
        Ok(self.ctr(&words[1..]).env("CONTAINERD_SNAPSHOTTER", "native"))
    }

    /// A container in the background; what it prints goes to the file that is returned.
    pub fn start(&self, name: &str, script: &str) -> Result<PathBuf, Failure> {
        let log = self.dir.join(format!("{name}.log"));
        let uri = format!("file://{}", log.display());
        self.run(&["-d", "--log-uri", &uri], name, &["sh", "-c", script]).ok()?;
        Ok(log)
    }

    /// `ctr tasks exec`.
    pub fn exec(&self, flags: &[&str], name: &str, command: &[&str]) -> Call {
        let flags = [&["tasks", "exec", "--exec-id", "extra"], flags].concat();
        self.ctr(&[&flags[..], &[name], command].concat())
    }

    /// The status of a task; empty when there is none.
    pub fn status(&self, name: &str) -> Result<String, Failure> {
        Ok(self.task(name)?.map(|(_, status)| status).unwrap_or_default())
    }

    /// The pid of a task.
    pub fn pid(&self, name: &str) -> Result<i32, Failure> {
        self.task(name)?.map(|(pid, _)| pid).ok_or_else(|| Failure(format!("no task {name}")))
    }

    fn task(&self, name: &str) -> Result<Option<(i32, String)>, Failure> {
        let list = self.ctr(&["tasks", "ls"]).ok()?.stdout;
        for line in list.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first() == Some(&name) && words.len() == 3 {
                return Ok(Some((words[1].parse()?, words[2].to_owned())));
            }
        }
        Ok(None)
    }

    /// Wait until a task has this status.
    pub fn wait_status(&self, name: &str, status: &str) -> Outcome {
        wait_until(self.env.shared.limit, &format!("{name} to be {status:?}"), || {
            Ok((self.status(name)? == status).then_some(()))
        })
    }

    /// Delete a container that may still run.
    pub fn delete(&self, name: &str) -> Outcome {
        if !["", "STOPPED"].contains(&self.status(name)?.as_str()) {
            self.ctr(&["tasks", "kill", "--signal", "KILL", name]).ok()?;
            self.wait_status(name, "STOPPED")?;
        }
        if self.task(name)?.is_some() {
            // Its exit code is the container's.
            self.ctr(&["tasks", "rm", name]).output()?;
        }
        self.ctr(&["containers", "rm", name]).ok()?;
        Ok(())
    }

    /// Stop the daemon, which must have no container left.
    pub fn end(self) -> Outcome {
        let list = self.ctr(&["containers", "ls", "-q"]).ok()?;
        ensure_eq!(list.stdout, "", "containers at the end");
        wait_until(self.env.shared.limit, "the shims to end", || {
            crate::leaks::reap();
            Ok(engine::processes_with(&["containerd-shim", " -id "]).is_empty().then_some(()))
        })?;
        self.daemon.end()?;
        engine::no_state(Path::new("/run/containerd/runc"))?;
        engine::leave_run()?;
        engine::remove_groups(self.env, &self.env.mark, |_| false)
    }
}

fn start(env: &Env, dir: &Path) -> Result<Daemon, Failure> {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let words = [
        "containerd",
        "--config",
        &path("config.toml"),
        "--root",
        &path("root"),
        "--state",
        &path("state"),
        "--address",
        &path("sock"),
    ];
    Daemon::start(env.command(&words), env.shared.limit * 3, || {
        Ok(ctr(env, dir, &env.mark, &["version"]).output()?.status.success())
    })
}

fn ctr(env: &Env, dir: &Path, namespace: &str, words: &[&str]) -> Call {
    let socket = dir.join("sock").to_string_lossy().into_owned();
    let global = ["ctr", "--address", &socket, "--namespace", namespace];
    env.command(&[&global[..], words].concat()).limit(env.shared.limit * 3)
}
