//! podman with the runtime under test, called by root or by a user without privileges, with cgroups
//! of its own making or of systemd's. Storage, state and image are the case's own, and there is no
//! network unless a case asks for one.

use std::fs;
use std::path::{Path, PathBuf};

use super::asked::Client;
use super::{engine, image};
use crate::call::{Call, wait_until};
use crate::case::{Failure, Outcome};
use crate::delegated::Delegated;
use crate::ensure;
use crate::env::Env;
use crate::user::{self, UID};

/// Who makes the containers' cgroups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// podman itself.
    Cgroupfs,
    /// systemd: that of the machine, or the user's own.
    Systemd,
}

/// podman with its own storage.
pub struct Podman<'a> {
    env: &'a Env<'a>,
    /// Its files.
    pub dir: PathBuf,
    /// The value of `--runtime`; none leaves it to the configuration.
    pub runtime: Option<String>,
    /// containers.conf is read, which says that the runtime can write its errors as JSON.
    pub configured: bool,
    manager: Manager,
    delegated: Option<Delegated>,
}

impl<'a> Podman<'a> {
    /// Root's. It has imported the image "box".
    pub fn new(env: &'a Env<'a>) -> Result<Self, Failure> {
        Self::with_manager(env, Manager::Cgroupfs)
    }

    /// Root's, with this cgroup manager.
    pub fn with_manager(env: &'a Env<'a>, manager: Manager) -> Result<Self, Failure> {
        let runtime = env.shared.runtime.to_string_lossy().into_owned();
        Self::import(env, runtime, manager, None)
    }

    /// The user's, without systemd, called from inside of the delegated cgroup if there is one.
    pub fn of_user(env: &'a mut Env<'_>, delegated: Option<Delegated>) -> Result<Self, Failure> {
        let runtime = env.become_user()?.runtime.to_string_lossy().into_owned();
        Self::import(env, runtime, Manager::Cgroupfs, delegated)
    }

    /// The user's, in its session with a manager of its own.
    pub fn of_user_in_session(env: &'a mut Env<'_>) -> Result<Self, Failure> {
        let runtime = env.become_user()?.runtime.to_string_lossy().into_owned();
        if let Some(user) = &mut env.user {
            user.runtime_dir = format!("/run/user/{UID}").into();
        }
        Self::import(env, runtime, Manager::Systemd, None)
    }

    fn import(
        env: &'a Env<'a>,
        runtime: String,
        manager: Manager,
        delegated: Option<Delegated>,
    ) -> Result<Self, Failure> {
        let dir = env.dir.join("podman");
        fs::create_dir(&dir)?;
        let name = env.shared.runtime.file_name().unwrap_or_default().to_string_lossy();
        let config = format!("[engine]\nruntime_supports_json = [\"{name}\"]\n");
        fs::write(dir.join("containers.conf"), config)?;
        if env.user.is_some() {
            user::own_tree(&dir)?;
        }
        let runtime = Some(runtime);
        let podman = Self { env, dir, runtime, configured: true, manager, delegated };
        podman.replace_image(&image::layer(env)?)?;
        Ok(podman)
    }

    /// Give "box" this one layer.
    pub fn replace_image(&self, layer: &Path) -> Outcome {
        self.call(&["import", &layer.to_string_lossy(), "box"]).ok()?;
        Ok(())
    }

    fn as_caller(&self, call: Call) -> Call {
        let Some(user) = &self.env.user else { return call };
        let call = user.call(call);
        let call = match &self.delegated {
            Some(place) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let call = place.inside(call).env("PATH", path);
                call.env("XDG_RUNTIME_DIR", &user.runtime_dir)
            }
            None => call,
        };
        call.env("HOME", &self.dir)
    }

    /// Root's own cgroups are below one of the case's, and a user's in what is delegated; the others
    /// have a place of the manager's.
    pub fn parent(&self) -> Vec<String> {
        let place = match &self.delegated {
            Some(place) if place.has_limits() => place.name(),
            _ if self.manager == Manager::Systemd || self.env.user.is_some() => return Vec::new(),
            _ => self.env.id("parent"),
        };
        vec!["--cgroup-parent".to_owned(), format!("/{place}")]
    }

    /// `podman run` or `create` with the flags that every container here has.
    pub fn make(&self, verb: &str, flags: &[&str], command: &[&str]) -> Call {
        let parent = self.parent();
        let parent: Vec<&str> = parent.iter().map(String::as_str).collect();
        // The journal, which is the default beside systemd, can't be followed without its events.
        let own = [&[verb, "--log-driver", "k8s-file"][..], &parent].concat();
        self.call(&[&own[..], flags, &["box"], command].concat())
    }

    /// Remove all containers, and check that podman, the runtime and the machine agree that they are
    /// gone.
    pub fn end(self) -> Outcome {
        let all = self.call(&["ps", "-aq", "--no-trunc"]).ok()?.stdout;
        self.call(&["rm", "-f", "-t", "0", "-a"]).ok()?;
        let known = self.known_to_the_runtime()?;
        for id in all.lines() {
            ensure!(!known.lines().any(|known| known == id), "the runtime still has {id}");
            if self.manager == Manager::Systemd {
                // conmon's scope, too.
                wait_until(self.env.shared.limit, &format!("the scopes of {id} to go"), || {
                    Ok(engine::groups_of(self.env, id).is_empty().then_some(()))
                })?;
            }
        }
        if self.env.user.is_some() {
            // The process that keeps podman's user namespace.
            self.call(&["system", "migrate"]).ok()?;
            return Ok(());
        }
        if self.manager == Manager::Cgroupfs {
            // The parent group, and those of pods and of conmon, are podman's to keep.
            engine::remove_groups(self.env, &self.env.id("parent"), |name| {
                name.contains("conmon") || !name.starts_with("libpod-")
            })?;
        }
        engine::unmount_storage(&self.dir.join("root/vfs"))
    }

    /// Do its containers have cgroups? A user's podman without systemd asks
    /// for none by itself.
    pub fn has_groups(&self) -> bool {
        let delegated = self.delegated.as_ref().is_some_and(Delegated::has_limits);
        self.env.user.is_none() || self.manager == Manager::Systemd || delegated
    }

    /// Where the cgroup of the container with this id has to be.
    pub fn group_of_id(&self, id: &str) -> String {
        let own = format!("user.slice/user-{UID}.slice/user@{UID}.service/user.slice");
        match (self.manager, &self.env.user) {
            (Manager::Systemd, None) => format!("machine.slice/libpod-{id}.scope"),
            (Manager::Systemd, Some(_)) => format!("{own}/libpod-{id}.scope"),
            (Manager::Cgroupfs, _) => {
                let parent = self.parent().pop().unwrap_or_default();
                format!("{}/libpod-{id}", parent.trim_start_matches('/'))
            }
        }
    }

    /// The cgroup of a container that runs, below the hierarchies' roots.
    pub fn group(&self, name: &str) -> Result<String, Failure> {
        let pid = self.inspect(name, "{{.State.Pid}}")?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let of = |line: &str| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_it = controllers.split(',').any(|controller| controller == "memory");
            (is_it || self.env.shared.host.v2).then(|| path.trim_start_matches('/').to_owned())
        };
        groups.lines().find_map(of).ok_or_else(|| Failure(format!("no group: {groups}")))
    }

    /// The ids of the containers that the runtime has, a line each, where podman has it keep them.
    pub fn known_to_the_runtime(&self) -> Result<String, Failure> {
        let runtime = self.env.user.as_ref().map_or(&self.env.shared.runtime, |user| &user.runtime);
        let call = self.env.command(&[runtime.as_os_str(), "list".as_ref(), "-q".as_ref()]);
        Ok(self.as_caller(call).ok()?.stdout)
    }
}

impl Client for Podman<'_> {
    fn env(&self) -> &Env<'_> {
        self.env
    }

    fn call(&self, words: &[&str]) -> Call {
        let path = |name: &str| self.dir.join(name).to_string_lossy().into_owned();
        let (root, run, tmp) = (path("root"), path("run"), path("tmp"));
        let manager = match self.manager {
            Manager::Cgroupfs => "cgroupfs",
            Manager::Systemd => "systemd",
        };
        let runtime = self.runtime.as_deref();
        let runtime = runtime.map_or_else(Vec::new, |runtime| vec!["--runtime", runtime]);
        let global = [
            &["podman", "--root", &root, "--runroot", &run, "--tmpdir", &tmp][..],
            &["--storage-driver", "vfs", "--cgroup-manager", manager],
            &["--events-backend", "file"],
            &runtime,
        ]
        .concat();
        let call = self.as_caller(self.env.command(&[&global[..], words].concat()));
        let call = call.limit(self.env.shared.limit * 3);
        if self.configured { call.env("CONTAINERS_CONF", path("containers.conf")) } else { call }
    }

    fn run(&self, flags: &[&str], command: &[&str]) -> Call {
        self.make("run", &[&["--network", "none"], flags].concat(), command)
    }
}
