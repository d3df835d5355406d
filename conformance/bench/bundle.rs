//! The bundles that are run: what `runc spec` writes, and one thing changed in each.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Failure, timing};

/// Bundles below one directory, which share a root file system.
pub struct Bundles {
    dir: PathBuf,
    config: Value,
}

impl Bundles {
    /// Make `dir` with its root file system.
    pub fn new(dir: PathBuf) -> Result<Self, Failure> {
        let bin = dir.join("rootfs/bin");
        for name in ["bin", "proc", "dev", "sys", "etc"] {
            fs::create_dir_all(dir.join("rootfs").join(name))?;
        }
        fs::copy("/bin/busybox", bin.join("busybox"))?;
        for applet in ["true", "sleep"] {
            symlink("busybox", bin.join(applet))?;
        }
        timing::output(Command::new("runc").arg("spec").arg("--bundle").arg(&dir))?;
        let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!(dir.join("rootfs"));
        Ok(Self { dir, config })
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A bundle that runs `args`, changed by `change`; its path.
    pub fn make(
        &self,
        name: &str,
        args: &[&str],
        change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    ) -> Result<String, Failure> {
        let dir = self.dir.join(name);
        let mut config = self.config.clone();
        config["process"]["args"] = json!(args);
        change(&mut config)?;
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("config.json"), serde_json::to_vec(&config)?)?;
        Ok(dir.to_string_lossy().into_owned())
    }
}

/// The containers' default seccomp profile.
pub fn seccomp(config: &mut Value) -> Result<(), Failure> {
    let profile = include_str!("../../bundles/examples/seccomp/docker-default.json");
    config["linux"]["seccomp"] = serde_json::from_slice(profile.as_bytes())?;
    Ok(())
}

/// A user namespace.
pub fn user_namespace(config: &mut Value) -> Result<(), Failure> {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    namespaces(config)?.push(json!({"type": "user"}));
    Ok(())
}

/// The caller's network namespace; sysfs can't be mounted anew in it then, by some.
pub fn host_network(config: &mut Value) -> Result<(), Failure> {
    namespaces(config)?.retain(|namespace| namespace["type"] != "network");
    let mounts = config["mounts"].as_array_mut().ok_or("no mounts in config.json")?;
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    for mount in mounts.iter_mut().filter(|mount| mount["destination"] == "/sys") {
        *mount = json!({
            "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        });
    }
    Ok(())
}

fn namespaces(config: &mut Value) -> Result<&mut Vec<Value>, Failure> {
    Ok(config["linux"]["namespaces"].as_array_mut().ok_or("no namespaces in config.json")?)
}

/// Where a file of this repository is.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
