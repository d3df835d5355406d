//! A user without privileges, as whom the runtime can be called.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::mount::mount_bind;
use serde_json::{Value, json};

use crate::call::Call;
use crate::case::Failure;

/// In the VM, the one with a systemd session.
pub const UID: u32 = 1000;
/// The first of the ids that /etc/subuid and /etc/subgid grant it.
pub const SUBORDINATE: u32 = 100_000;
/// How many of them there are.
pub const SUBORDINATES: u32 = 65_536;

/// Sees to it that the user has a name and subordinate ids; for this mount namespace only.
pub fn register(parent: &Path) -> Result<(), Failure> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let id = UID.to_string();
    let known = passwd.lines().find(|line| line.split(':').nth(2) == Some(&id));
    let name = known.and_then(|line| line.split(':').next()).unwrap_or("conformance");
    let line = format!("{name}:x:{UID}:{UID}::/:/bin/sh");
    if known.is_none() {
        add(parent, "/etc/passwd", &line)?;
    }
    let line = format!("{name}:{SUBORDINATE}:{SUBORDINATES}");
    for file in ["/etc/subuid", "/etc/subgid"] {
        if !fs::read_to_string(file).unwrap_or_default().lines().any(|there| there == line) {
            add(parent, file, &line)?;
        }
    }
    Ok(())
}

fn add(parent: &Path, file: &str, line: &str) -> Result<(), Failure> {
    let copy = parent.join(file.replace('/', "_"));
    let before = fs::read_to_string(file)?;
    fs::write(&copy, format!("{before}{line}\n"))?;
    Ok(mount_bind(&copy, file)?)
}

/// Takes that back.
pub fn forget(parent: &Path) -> Result<(), Failure> {
    for file in ["/etc/passwd", "/etc/subuid", "/etc/subgid"] {
        if parent.join(file.replace('/', "_")).exists() {
            rustix::mount::unmount(file, rustix::mount::UnmountFlags::DETACH)?;
        }
    }
    Ok(())
}

/// The user, with a directory of its own for the runtime.
#[derive(Debug, Clone)]
pub struct User {
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: PathBuf,
    /// A copy of the runtime that the user can reach; it is root's.
    pub runtime: PathBuf,
}

impl User {
    /// Makes its directories below `dir`, and gives it that.
    pub fn new(dir: &Path, runtime: &Path) -> Result<Self, Failure> {
        let name = runtime.file_name().unwrap_or_default();
        let folder = dir.join("program");
        fs::create_dir(&folder)?;
        fs::copy(runtime, folder.join(name))?;
        let runtime_dir = dir.join("xdg");
        fs::DirBuilder::new().mode(0o700).create(&runtime_dir)?;
        own(dir)?;
        own(&runtime_dir)?;
        own(&dir.join("state"))?;
        Ok(Self { runtime_dir, runtime: folder.join(name) })
    }

    /// The same call, made by the user, in an environment that is its own.
    pub fn call(&self, call: Call) -> Call {
        let (user, group) = (format!("--reuid={UID}"), format!("--regid={UID}"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        call.under(&["setpriv", &user, &group, "--clear-groups", "--inh-caps=-all", "--"])
            .clear_env()
            .env("PATH", path)
            .env("XDG_RUNTIME_DIR", &self.runtime_dir)
    }
}

/// Gives a file, or a directory with all that is in it, to the user.
pub fn own_tree(path: &Path) -> Result<(), Failure> {
    own(path)?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            own_tree(&entry?.path())?;
        }
    }
    Ok(())
}

fn own(path: &Path) -> Result<(), Failure> {
    let mode = fs::symlink_metadata(path)?.permissions();
    std::os::unix::fs::lchown(path, Some(UID), Some(UID))?;
    // The change of owner takes set-user-ID bits away.
    if mode.mode() & 0o6000 != 0 {
        fs::set_permissions(path, mode)?;
    }
    Ok(())
}

/// Adds the subordinate ids to the mappings, as container ids from 1 up.
pub fn map_subordinates(config: &mut Value) {
    for map in ["uidMappings", "gidMappings"] {
        if let Some(lines) = config["linux"][map].as_array_mut() {
            let (first, count) = (SUBORDINATE, SUBORDINATES);
            lines.push(json!({"containerID": 1, "hostID": first, "size": count}));
        }
    }
}

/// Turns the default configuration into what `spec --rootless` makes of it.
pub fn without_privileges(config: &mut Value) -> Result<(), Failure> {
    let no = |what: &str| Failure(format!("the default configuration has no {what}"));
    let namespaces =
        config["linux"]["namespaces"].as_array_mut().ok_or_else(|| no("linux.namespaces"))?;
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(json!({"type": "user"}));
    config["linux"].as_object_mut().ok_or_else(|| no("linux"))?.remove("resources");
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{"containerID": 0, "hostID": UID, "size": 1}]);
    }
    for mount in config["mounts"].as_array_mut().ok_or_else(|| no("mounts"))? {
        if mount["destination"] == "/sys" {
            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
            *mount = json!({
                "destination": "/sys", "type": "none", "source": "/sys", "options": options,
            });
        }
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    Ok(())
}
