//! restore: a container from what was saved of another.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use seccomp::Encoded;

use super::message::{kind, named_fd, option, pair};
use super::program::{Program, Start};
use super::stage::Stage;
use super::streams::Substitutes;
use super::wire::Writer;
use super::worker::{Event, Worker};
use super::{CriuOptions, Directories, common, external, streams};
use crate::container::Container;
use crate::create::{CreateOptions, Creation, Running, new_state, write_pid_file};
use crate::error::{Context, Error};
use crate::place::{self, Planned};
use crate::plan::InitPlan;
use crate::process::Process;
use crate::socket::send_fd;
use crate::store::Store;

const LOG: &str = "restore.log";
/// In the state directory: what criu sees as the root directory while it works.
const ROOT: &str = "criu-root";

/// What `restore` is asked for.
#[derive(Debug)]
pub struct RestoreOptions<'a> {
    /// The container to be.
    pub create: CreateOptions<'a>,
    /// What holds for `checkpoint` as well.
    pub criu: CriuOptions,
    /// TYPE:NAME of the label or profile that the processes get.
    pub lsm_profile: Option<String>,
    /// The SELinux context of its mounts.
    pub lsm_mount_context: Option<String>,
}

/// Makes a container whose processes go on where they were saved.
pub fn restore(store: &Store, options: RestoreOptions<'_>) -> Result<Running, Error> {
    let program = Program::find()?;
    let dirs = Directories::open(&options.criu, LOG)?;
    let streams = streams::load(&options.criu.images)?;
    let Planned { cgroup, init: plan, scope } = Planned::new(&options.create)?;
    let filter = place::filter(options.create.bundle)?;
    let state = new_state(&options.create, cgroup, &plan)?;
    let (entry, _lock) = store.reserve(options.create.id)?;
    let creation = Creation::new(entry, state, scope);
    let mut restoration =
        Restoration { creation, options, plan, dirs, streams: Substitutes::new(&streams)? };
    let made = restoration.make(&program, filter.as_ref());
    let Restoration { mut creation, .. } = restoration;
    match (made, creation.process.take()) {
        (Ok(()), Some(process)) => {
            Ok(Running { container: Container::new(creation.entry, creation.state), process })
        }
        (made, process) => {
            creation.undo(process);
            Err(made.err().unwrap_or(Error::NotRunning))
        }
    }
}

struct Restoration<'a> {
    creation: Creation<'a>,
    options: RestoreOptions<'a>,
    plan: InitPlan,
    dirs: Directories,
    /// What our standard streams take the places of.
    streams: Substitutes,
}

impl Restoration<'_> {
    fn make(&mut self, program: &Program, filter: Option<&Encoded>) -> Result<(), Error> {
        let spec = &self.options.create.bundle.spec;
        self.creation.entry.save(&self.creation.state)?;
        if let Some(filter) = filter {
            // For exec; init's comes with its image.
            self.creation.entry.save_seccomp(filter)?;
        }
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        let cgroup = self.creation.make_cgroup(resources, true)?;
        self.creation.entry.save(&self.creation.state)?;
        if let (Some(groups), Some(of_state)) =
            (&self.plan.intel_rdt, &mut self.creation.state.intel_rdt)
        {
            let created = groups.create(of_state);
            self.creation.entry.save(&self.creation.state)?;
            created?;
        }
        let root = self.make_root()?;
        let worker = self.start(program, cgroup, &root)?;
        let message = self.message(&worker, &root)?;
        let log = self.dirs.log.clone();
        worker.carry_out(kind::RESTORE, &message, &log, &mut |event| self.answer(event))?;
        // Nothing is mounted there any more.
        fs::remove_dir(&root).context(|| format!("remove {}", root.display()))?;
        self.finish()
    }

    /// An empty directory, by a path without links.
    fn make_root(&self) -> Result<PathBuf, Error> {
        let dir = self.creation.entry.path().join(ROOT);
        let step = || format!("create {}", dir.display());
        fs::create_dir(&dir).context(step)?;
        dir.canonicalize().context(step)
    }

    /// Starts criu where the container is to be: its processes will be criu's children.
    fn start(
        &mut self,
        program: &Program,
        cgroup: Option<OwnedFd>,
        root: &Path,
    ) -> Result<Worker, Error> {
        let spec = &self.options.create.bundle.spec;
        let namespaces = self.plan.namespaces.join.iter().map(|(.., fd)| fd.as_raw_fd());
        let inherited: Vec<RawFd> =
            namespaces.chain(self.streams.list.iter().map(|(_, fd)| *fd)).collect();
        let root = CString::new(root.as_os_str().as_bytes()).unwrap_or_default();
        let stage = Some(Stage { rootfs: &self.plan.rootfs, root });
        let own_streams = self.options.create.console_socket.is_none();
        let start = Start {
            cgroup,
            own_streams,
            inherited: &inherited,
            directories: self.dirs.all(),
            stage,
        };
        let creation = &mut self.creation;
        Worker::start(program, start, |pid| {
            creation.place(Pid::from_raw(pid), spec)?;
            match &creation.state.intel_rdt {
                Some(groups) => groups.join(pid),
                None => Ok(()),
            }
        })
    }

    fn message(&self, worker: &Worker, root: &Path) -> Result<Writer, Error> {
        let state = &self.creation.state;
        let mut message = common(&self.options.criu, &self.dirs, &root.to_string_lossy(), state);
        message.flag(option::EVASIVE_DEVICES, true).flag(option::RESTORE_SIBLING, true);
        for (what, field, value) in [
            ("--lsm-profile", option::LSM_PROFILE, &self.options.lsm_profile),
            ("--lsm-mount-context", option::LSM_MOUNT_CONTEXT, &self.options.lsm_mount_context),
        ] {
            if let Some(value) = value {
                worker.needs(what, [3, 16, 0])?;
                message.bytes(field, value);
            }
        }
        for (controller, path) in cgroup::places_of(Pid::from_raw(worker.pid()))? {
            message.bytes(option::CGROUP_ROOT, pair(&controller, &path));
        }
        for bind in external::binds(&self.plan)? {
            let source = bind.source.to_string_lossy();
            message.bytes(option::EXTERNAL, format!("mnt[{}]:{source}", bind.target));
        }
        if !self.plan.rootfs.masked.is_empty() {
            message.bytes(option::EXTERNAL, format!("mnt[{}]:{0}", external::NULL));
        }
        let mut inherit = |key: &str, fd: i32| {
            message.bytes(option::INHERIT_FD, named_fd(key, fd));
        };
        for (key, fd) in &self.streams.list {
            inherit(key, *fd);
        }
        for (flag, _, fd) in &self.plan.namespaces.join {
            if let Some((_, key)) = external::namespace_key(*flag) {
                inherit(key, fd.as_raw_fd());
            }
        }
        for (flag, path, _) in &self.plan.namespaces.join {
            if external::namespace_key(*flag).is_some() {
                continue;
            }
            let Some(name) = external::namespace_name(*flag) else {
                return Err(Error::invalid(
                    "linux.namespaces",
                    format!("criu can't restore into the cgroup namespace {path}"),
                ));
            };
            message.bytes(option::JOIN_NS, pair(name, path));
        }
        Ok(message)
    }

    fn answer(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event.script {
            b"setup-namespaces" => {
                self.creation.state.pid = event.pid;
                self.creation.run_hooks(self.options.create.bundle)
            }
            b"post-restore" => self.take_over(event.pid),
            b"orphan-pts-master" => match (&self.options.create.console_socket, event.fd) {
                (Some(console), Some(master)) => {
                    send_fd(console.as_fd(), b"/dev/ptmx", master.as_fd())
                        .context(|| "send the terminal to the console socket")
                }
                // Nobody asked for it.
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The processes are there, and have yet to run.
    fn take_over(&mut self, pid: i32) -> Result<(), Error> {
        let pidfd =
            sys::process::pidfd_open(pid).context(|| "pidfd_open of the container's init")?;
        self.creation.process = Some(Process { pid, pidfd });
        self.creation.state.pid = pid;
        let start_time = self.creation.start_time()?;
        let state = &mut self.creation.state;
        state.start_time = start_time;
        // criu makes a time namespace where there was none.
        state.namespaces = external::namespaces_of(pid);
        state.ready = true;
        self.creation.entry.save(&self.creation.state)
    }

    fn finish(&mut self) -> Result<(), Error> {
        let Some(process) = &self.creation.process else { return Err(Error::NotRunning) };
        if let Some(path) = self.options.create.pid_file {
            write_pid_file(path, process.pid)?;
        }
        Ok(())
    }
}
