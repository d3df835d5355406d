//! A bundle for one case: a root file system of busybox and the probe, and an editable config.json.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::case::Failure;
use crate::user;

/// busybox applets that the cases call by name.
const APPLETS: &[&str] = &[
    "sh", "cat", "ls", "echo", "true", "false", "sleep", "id", "stat", "mount", "umount", "touch",
    "date", "readlink", "mkdir", "rm", "env", "pwd", "hostname", "kill", "ps", "head", "tail",
    "grep", "wc", "test", "ln", "cp", "mv", "dd", "chmod", "chown", "mknod", "stty", "tty", "tr",
    "sync", "find", "awk", "sed", "printf", "seq", "ip", "nc", "setsid", "sort", "unshare",
];

const FOLDERS: &[&str] = &["bin", "proc", "sys", "dev", "tmp", "etc", "root", "home/user", "mnt"];

/// A bundle directory.
pub struct Bundle {
    /// The directory.
    pub dir: PathBuf,
    /// config.json, as it will be saved.
    pub config: Value,
    /// It is to belong to the user without privileges.
    pub is_users: bool,
}

/// Fill `root` with what the cases' containers run.
pub fn fill_rootfs(root: &Path, probe: &Path) -> Result<(), Failure> {
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    copy(probe, &root.join("bin/probe"))?;
    for name in ["rawcall", "call32", "tracer"] {
        copy(&probe.with_file_name(name), &root.join("bin").join(name))?;
    }
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map_err(|e| Failure(format!("copy {}: {e}", from.display())))?;
    Ok(())
}

impl Bundle {
    /// The root file system's directory.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Set the value at a JSON pointer whose parent exists; `/-` appends.
    pub fn set(&mut self, pointer: &str, value: Value) -> Result<&mut Self, Failure> {
        let bad = || Failure(format!("no {pointer} in config.json"));
        let (parent, key) = pointer.rsplit_once('/').ok_or_else(bad)?;
        match self.config.pointer_mut(parent).ok_or_else(bad)? {
            Value::Object(map) => {
                map.insert(key.to_owned(), value);
            }
            Value::Array(list) if key == "-" => list.push(value),
            Value::Array(list) => {
                *key.parse().ok().and_then(|i: usize| list.get_mut(i)).ok_or_else(bad)? = value;
            }
            _ => return Err(bad()),
        }
        Ok(self)
    }

    /// Remove a key.
    pub fn remove(&mut self, pointer: &str) -> Result<&mut Self, Failure> {
        let bad = || Failure(format!("no {pointer} in config.json"));
        let (parent, key) = pointer.rsplit_once('/').ok_or_else(bad)?;
        self.config
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .and_then(|map| map.remove(key))
            .ok_or_else(bad)?;
        Ok(self)
    }

    /// Set the command.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.config["process"]["args"] = json!(args);
        self
    }

    /// Set the command to a shell script.
    pub fn shell(&mut self, script: &str) -> &mut Self {
        self.args(&["sh", "-c", script])
    }

    /// Add a mount.
    pub fn mount(&mut self, mount: Value) -> Result<&mut Self, Failure> {
        self.set("/mounts/-", mount)
    }

    /// Add a bind mount with these options beyond `bind`.
    pub fn bind(
        &mut self,
        source: &Path,
        target: &str,
        options: &[&str],
    ) -> Result<&mut Self, Failure> {
        let options: Vec<&str> = [&["bind"], options].concat();
        self.mount(json!({
            "destination": target, "type": "bind", "source": source, "options": options,
        }))
    }

    /// Replace or add a namespace; `path` joins an existing one.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> Result<&mut Self, Failure> {
        self.drop_namespace(kind)?;
        let entry =
            path.map_or_else(|| json!({"type": kind}), |path| json!({"type": kind, "path": path}));
        self.set("/linux/namespaces/-", entry)
    }

    /// Leave a namespace out, so that the container shares the caller's.
    pub fn drop_namespace(&mut self, kind: &str) -> Result<&mut Self, Failure> {
        self.config["linux"]["namespaces"]
            .as_array_mut()
            .ok_or_else(|| Failure("no linux.namespaces in config.json".to_owned()))?
            .retain(|namespace| namespace["type"] != kind);
        Ok(self)
    }

    /// Give the process these capabilities in the sets of that name.
    pub fn capabilities(&mut self, sets: &[&str], names: &[&str]) -> &mut Self {
        for set in sets {
            self.config["process"]["capabilities"][*set] = json!(names);
        }
        self
    }

    /// A read-write root file system.
    pub fn writable(&mut self) -> &mut Self {
        self.config["root"]["readonly"] = json!(false);
        self
    }

    /// Write config.json.
    pub fn save(&self) -> Result<(), Failure> {
        fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config)?)?;
        if self.is_users {
            user::own_tree(&self.dir)?;
        }
        Ok(())
    }
}
