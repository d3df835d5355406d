//! Docker: dockerd on a socket of its own, with the manual's daemon.json and no network.

use std::fs;
use std::path::{Path, PathBuf};

use super::asked::Client;
use super::engine::{self, Daemon};
use super::podman::Manager;
use super::{image, manual};
use crate::call::Call;
use crate::case::{Failure, Outcome};
use crate::env::Env;

/// dockerd, running.
pub struct Docker<'a> {
    /// The case.
    pub env: &'a Env<'a>,
    /// Its files.
    pub dir: PathBuf,
    /// The daemon.
    pub daemon: Daemon,
}

impl<'a> Docker<'a> {
    /// Start it with the manual's configuration and import the image.
    pub fn new(env: &'a Env<'a>) -> Result<Self, Failure> {
        Self::with_config(env, &manual::snippet(env, "docker-config")?, Manager::Cgroupfs, &[])
    }

    /// The same, with systemd to make the containers' cgroups.
    pub fn with_systemd(env: &'a Env<'a>) -> Result<Self, Failure> {
        let config = manual::snippet(env, "docker-systemd-config")?;
        Self::with_config(env, &config, Manager::Systemd, &[])
    }

    /// Start it with this configuration, which says the same of cgroups, and more flags, and import
    /// the image.
    pub fn with_config(
        env: &'a Env<'a>,
        config: &str,
        manager: Manager,
        flags: &[&str],
    ) -> Result<Self, Failure> {
        let dir = env.dir.join("docker");
        fs::create_dir(&dir)?;
        fs::write(dir.join("daemon.json"), config)?;
        engine::enter_run(env)?;
        let daemon = start(env, &dir, manager, flags)?;
        let docker = Self { env, dir, daemon };
        let layer = image::layer(env)?.to_string_lossy().into_owned();
        docker.call(&["import", "--change", "ENV PATH=/bin", &layer, "box"]).ok()?;
        Ok(docker)
    }

    /// Remove all containers and stop the daemon.
    pub fn end(self) -> Outcome {
        let left = self.call(&["ps", "-aq"]).ok()?.stdout;
        let left: Vec<&str> = left.split_whitespace().collect();
        if !left.is_empty() {
            self.call(&[&["rm", "-f"], &left[..]].concat()).ok()?;
        }
        self.daemon.end()?;
        engine::no_state(&self.dir.join("exec/runtime-runc"))?;
        engine::leave_run()?;
        engine::remove_groups(self.env, &self.env.mark, |_| false)
    }
}

impl Client for Docker<'_> {
    fn env(&self) -> &Env<'_> {
        self.env
    }

    fn call(&self, words: &[&str]) -> Call {
        call(self.env, &self.dir, words)
    }

    /// With the manual's runtime.
    fn run(&self, flags: &[&str], command: &[&str]) -> Call {
        let own = ["run", "--runtime", "ghost-runc", "--network", "none"];
        self.call(&[&own[..], flags, &["box"], command].concat())
    }
}

/// Start a daemon on the files of `dir`, with these flags beside what every case needs.
pub fn start(env: &Env, dir: &Path, manager: Manager, flags: &[&str]) -> Result<Daemon, Failure> {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let words = [
        "dockerd",
        "--config-file",
        &path("daemon.json"),
        "--host",
        &format!("unix://{}", path("sock")),
        "--data-root",
        &path("data"),
        "--exec-root",
        &path("exec"),
        "--pidfile",
        &path("pid"),
        "--storage-driver",
        "vfs",
        "--bridge",
        "none",
        "--iptables=false",
        "--ip6tables=false",
    ];
    let parent = format!("/{}", env.mark);
    let parent: &[&str] = match manager {
        Manager::Cgroupfs => &["--cgroup-parent", &parent],
        // Where it has a slice of its own.
        Manager::Systemd => &[],
    };
    Daemon::start(env.command(&[&words[..], parent, flags].concat()), env.shared.limit * 3, || {
        Ok(call(env, dir, &["version"]).output()?.status.success())
    })
}

fn call(env: &Env, dir: &Path, words: &[&str]) -> Call {
    let host = format!("unix://{}/sock", dir.display());
    // Debian's, which is dockerd's age.
    let global = ["/usr/bin/docker", "--host", &host];
    env.command(&[&global[..], words].concat())
        .limit(env.shared.limit * 3)
        .env("DOCKER_CONFIG", dir)
        .env("DOCKER_BUILDKIT", "0")
}
