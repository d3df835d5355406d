//! create and run: from a bundle to a process that waits for its start.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use cgroup::{Cgroup, DeviceRules, ScopePlan};
use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxResources, Spec};

use sys::process::Exit;

use crate::bundle::Bundle;
use crate::container::Container;
use crate::error::{Context, Error};
use crate::hooks;
use crate::idmap::Translator;
use crate::network;
use crate::place::{self, Planned};
use crate::plan::{self, InitPlan, flag};
use crate::process::{Process, Stat, describe};
use crate::readiness;
use crate::spawn::{self, Handover};
use crate::start;
use crate::store::{Defaults, Entry, State, Store, Unread};
use crate::sync::{Channel, Message};
use crate::time::rfc3339;

/// The version of the runtime-spec that states are written in.
pub const OCI_VERSION: &str = "1.3.0";

/// What `create` and `run` are asked for, beside the configuration.
#[derive(Debug)]
pub struct CreateOptions<'a> {
    /// The container's name, unique in its store.
    pub id: &'a str,
    /// What to make it from.
    pub bundle: &'a Bundle,
    /// Where to write init's pid once the container is created.
    pub pid_file: Option<&'a Path>,
    /// A connected Unix socket that takes the terminal's master.
    pub console_socket: Option<OwnedFd>,
    /// A connected Unix socket that takes a pidfd of init, in a message that says "standard".
    pub pidfd_socket: Option<OwnedFd>,
    /// Make the place where the container says that it is ready, see [`crate::readiness`].
    pub readiness: bool,
    /// Move the root file system instead of pivot_root(2): for hosts that run from an initramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 up are the container's.
    pub preserve_fds: u32,
    /// Let systemd make the cgroup.
    pub systemd_cgroup: bool,
}

impl<'a> CreateOptions<'a> {
    /// For finding out what would go wrong.
    pub(crate) fn trial(
        id: &'a str,
        bundle: &'a Bundle,
        systemd_cgroup: bool,
    ) -> CreateOptions<'a> {
        CreateOptions {
            id,
            bundle,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            readiness: false,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            systemd_cgroup,
        }
    }
}

/// A container whose init is held by this process: it starts on [`Prepared::start`], and ends with
/// this process.
#[derive(Debug)]
pub struct Prepared {
    /// The container, in the status created.
    pub container: Container,
    process: Process,
    channel: Channel,
}

/// A container that runs, and its init as our child.
#[derive(Debug)]
pub struct Running {
    /// The container.
    pub container: Container,
    /// Its init.
    pub process: Process,
}

/// Makes a container whose init waits for `start`.
pub fn create(store: &Store, options: CreateOptions<'_>) -> Result<Container, Error> {
    launch(store, options, true).map(|(container, ..)| container)
}

/// Makes a container that is started, and waited for, by this process.
pub fn prepare(store: &Store, options: CreateOptions<'_>) -> Result<Prepared, Error> {
    let (container, process, channel) = launch(store, options, false)?;
    Ok(Prepared { container, process, channel })
}

impl Prepared {
    /// Lets the program run. When that fails, the container is removed.
    pub fn start(self) -> Result<Running, Error> {
        let Prepared { container, process, channel } = self;
        match start::ask(&channel, &container).and_then(|()| container.run_poststart()) {
            Ok(()) => Ok(Running { container, process }),
            Err(error) => {
                spawn::end(&process);
                remove_after_failure(container);
                Err(error)
            }
        }
    }
}

fn remove_after_failure(container: Container) {
    // The first error is the one to tell.
    if let Err(error) = container.delete(true) {
        log::warn!("remove the container that could not be started: {error}");
    }
}

fn launch(
    store: &Store,
    options: CreateOptions<'_>,
    with_socket: bool,
) -> Result<(Container, Process, Channel), Error> {
    check_preserved(options.preserve_fds)?;
    let Planned { cgroup, init: mut plan, scope } = Planned::new(&options)?;
    options.bundle.warn();
    let state = new_state(&options, cgroup, &plan)?;
    let (entry, _lock) = store.reserve(options.id)?;
    let mut creation = Creation::new(entry, state, scope);
    let listener = with_socket.then(|| listen_at(&creation.entry.socket())).transpose();
    let made = listener.and_then(|listener| creation.make(options, &mut plan, listener));
    match (made, creation.process.take()) {
        (Ok(channel), Some(process)) => {
            Ok((Container::new(creation.entry, creation.state), process, channel))
        }
        (made, process) => {
            creation.undo(process);
            Err(made.err().unwrap_or(Error::NotRunning))
        }
    }
}

/// What exists of a container so far, and has to go when its creation fails.
pub(crate) struct Creation<'a> {
    pub entry: Entry,
    pub state: State,
    /// How systemd is to make the cgroup, where it does.
    pub scope: Option<ScopePlan>,
    /// Until they are installed.
    device_rules: Option<DeviceRules>,
    pub process: Option<Process>,
    net_devices: Option<network::Moved>,
    pid_file: Option<&'a Path>,
}

impl<'a> Creation<'a> {
    pub fn new(entry: Entry, state: State, scope: Option<ScopePlan>) -> Creation<'a> {
        Creation {
            entry,
            state,
            scope,
            device_rules: None,
            process: None,
            net_devices: None,
            pid_file: None,
        }
    }

    fn make(
        &mut self,
        options: CreateOptions<'a>,
        plan: &mut InitPlan,
        listener: Option<OwnedFd>,
    ) -> Result<Channel, Error> {
        let spec = &options.bundle.spec;
        // Who finds only this after we were killed can clean up.
        self.entry.save(&self.state)?;
        if options.readiness {
            let path = self.entry.file(readiness::DIRECTORY);
            readiness::make_directory(&path).context(|| "make the notify directory")?;
        }
        // Else it is compiled while init works: it may turn out to be wrong.
        let early = plan.reaches_out().then(|| place::filter(options.bundle)).transpose()?;
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        let born_in = self.make_cgroup(resources, plan.needs_device_rules())?;
        self.entry.save(&self.state)?;
        if let (Some(groups), Some(of_state)) = (&plan.intel_rdt, &mut self.state.intel_rdt) {
            let created = groups.create(of_state);
            self.entry.save(&self.state)?;
            created?;
        }
        if !plan.rootfs.opened_by_init {
            let mut translator = Translator::new(&plan.namespaces, None);
            let mounts = &plan.rootfs.mounts;
            plan.rootfs
                .open_trees(&mut |index, tree| translator.translate(&mounts[index], tree))?;
        }
        let (process, channel) = spawn::spawn(Handover {
            plan,
            state: &self.state,
            cgroup: born_in,
            listener,
            console: options.console_socket,
        })?;
        self.state.pid = process.pid;
        let pid = Pid::from_raw(self.process.insert(process).pid);
        self.place(pid, spec)?;
        if let Some(groups) = &self.state.intel_rdt {
            groups.join(pid.as_raw())?;
        }
        if !plan.net_devices.is_empty() {
            let moved = network::move_in(&plan.net_devices, self.state.pid)?;
            // In a namespace of others, what has a device's name by then may be theirs.
            let own = plan.namespaces.new & flag::NET != 0;
            self.net_devices = own.then_some(moved);
        }
        if plan.wait_for_parent {
            proceed(&channel)?;
        }
        let filter = early.map_or_else(|| place::filter(options.bundle), Ok)?;
        if let Some(filter) = &filter {
            self.entry.save_seccomp(filter)?;
        }
        self.draft()?;
        self.converse(&channel, options.bundle, plan)?;
        if plan.priorities_by_parent {
            // After the hooks, which are not to have them.
            spawn::prioritise(self.state.pid, &plan.process)?;
        }
        self.entry.publish()?;
        if let (Some(socket), Some(process)) = (&options.pidfd_socket, &self.process) {
            process.send_pidfd(socket, "standard")?;
        }
        if let Some(path) = options.pid_file {
            self.pid_file = Some(path);
            write_pid_file(path, self.state.pid)?;
        }
        answer(&channel, &filter.map_or(Message::Proceed, Message::Filter))?;
        Ok(channel)
    }

    /// Makes the cgroup, but for a systemd scope; the v2 directory that init is to be born in. Device
    /// rules that nothing needs before init is ready are left for [`Self::place`].
    pub fn make_cgroup(
        &mut self,
        resources: Option<&LinuxResources>,
        restricted: bool,
    ) -> Result<Option<OwnedFd>, Error> {
        if self.scope.is_some() {
            return Ok(None);
        }
        let rules = self.state.cgroup.create(resources)?;
        self.state.owns_cgroup = true;
        if restricted || !rules.fresh {
            self.state.cgroup.restrict(&rules)?;
        } else {
            self.device_rules = Some(rules);
        }
        Ok(self.state.cgroup.unified_dir()?)
    }

    /// Gets init into the cgroup, as far as it is not there, with its device rules, and gives that to whom
    /// it belongs.
    pub fn place(&mut self, pid: Pid, spec: &Spec) -> Result<(), Error> {
        if let Some(scope) = &self.scope {
            // Only with a process can it be started. Not before that is it ours to remove.
            self.state.cgroup.start_scope(scope, pid)?;
            self.state.owns_cgroup = true;
            self.entry.save(&self.state)?;
        } else {
            if let Some(rules) = self.device_rules.take() {
                self.state.cgroup.restrict(&rules)?;
            }
            self.state.cgroup.join(pid)?;
        }
        match plan::cgroup_owner(spec) {
            Some(uid) if uid != self.state.owner => Ok(self.state.cgroup.delegate(uid)?),
            _ => Ok(()),
        }
    }

    /// Writes what the state will be once init is ready, while init works.
    fn draft(&mut self) -> Result<(), Error> {
        self.state.start_time = self.start_time()?;
        self.state.ready = true;
        self.entry.draft(&self.state)
    }

    /// Answers init until it is ready.
    fn converse(
        &mut self,
        channel: &Channel,
        bundle: &Bundle,
        plan: &InitPlan,
    ) -> Result<(), Error> {
        let mut step = "its set-up";
        let mut translator = Translator::new(&plan.namespaces, Some(self.state.pid));
        loop {
            match channel.receive().context(|| "wait for the container's init")? {
                Some(Message::Ready) => return Ok(()),
                Some(Message::Hooks) => {
                    step = "what follows the hooks";
                    self.run_hooks(bundle)?;
                    self.draft()?;
                    proceed(channel)?;
                }
                Some(Message::Translate(index)) => {
                    translator.answer(&plan.rootfs.mounts, index, channel)?;
                    proceed(channel)?;
                }
                Some(Message::Failed(failure)) => return Err(Error::Init(failure)),
                _ => {
                    let exit = self.process.take().and_then(|process| process.wait().ok());
                    let mut how = exit.map_or_else(String::new, describe);
                    let limit = memory_limit(bundle).filter(|limit| *limit > 0);
                    if let (Some(Exit::Signal(SIGKILL)), Some(limit)) = (exit, limit) {
                        let text = format!("; linux.resources.memory.limit {limit} may be too low");
                        how.push_str(&text);
                    }
                    return Err(Error::InitEnded { step, how });
                }
            }
        }
    }

    pub fn run_hooks(&mut self, bundle: &Bundle) -> Result<(), Error> {
        // A hook may ask for the container's state.
        self.state.start_time = self.start_time()?;
        self.state.ready = false;
        self.entry.save(&self.state)?;
        let json = hooks::state_json(&self.state, "creating", self.state.pid);
        for (kind, list) in bundle.spec.hooks().iter().flat_map(plan::runtime_hooks) {
            hooks::run(kind, &list, &json, Some(&self.state.bundle))?;
        }
        Ok(())
    }

    pub fn start_time(&self) -> Result<u64, Error> {
        let pid = self.state.pid;
        let stat =
            Stat::read(pid).ok_or(Errno::ESRCH).context(|| format!("read /proc/{pid}/stat"))?;
        Ok(stat.start_time)
    }

    /// Best effort: the error that led here is the one to tell.
    pub fn undo(&self, process: Option<Process>) {
        let warn = |result: Result<(), Error>| {
            if let Err(error) = result {
                log::warn!("undo a failed create: {error}");
            }
        };
        let spawned = self.state.pid != 0;
        if let Some(devices) = &self.net_devices {
            // Before the end of their namespace, with which the kernel ends those that are not hardware.
            devices.back();
        }
        if let Some(process) = process {
            spawn::end(&process);
        }
        if let Some(path) = self.pid_file {
            // It may not have come to be.
            drop(fs::remove_file(path));
        }
        let removal = match self.entry.begin_removal(true) {
            Ok(Some(removal)) => removal,
            // Deleted by force meanwhile: the name may be another container's by now.
            Ok(None) => return,
            Err(error) => return warn(Err(error)),
        };
        if self.state.owns_cgroup {
            // There may be an init that we never got to know.
            warn(self.state.cgroup.kill_all(SIGKILL).map_err(Error::from));
            warn(self.state.cgroup.remove().map_err(Error::from));
        }
        if let Some(groups) = &self.state.intel_rdt {
            warn(groups.remove());
        }
        warn(self.entry.remove(&removal));
        drop(removal);
        if spawned {
            hooks::run_poststop(&self.state);
        }
    }
}

fn memory_limit(bundle: &Bundle) -> Option<i64> {
    let resources = bundle.spec.linux().as_ref()?.resources().as_ref()?;
    resources.memory().as_ref()?.limit()
}

pub(crate) fn proceed(channel: &Channel) -> Result<(), Error> {
    answer(channel, &Message::Proceed)
}

fn answer(channel: &Channel, message: &Message) -> Result<(), Error> {
    match channel.send(message) {
        // Its last words, or its end, tell more than the broken pipe.
        Ok(()) | Err(Errno::EPIPE) => Ok(()),
        Err(errno) => Err(Error::system("send to the container's init", errno)),
    }
}

pub(crate) fn new_state(
    options: &CreateOptions<'_>,
    cgroup: Cgroup,
    plan: &InitPlan,
) -> Result<State, Error> {
    let spec = &options.bundle.spec;
    let hooks = spec.hooks().as_ref();
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let resources =
        resources.map(|given| Unread::new(options.id, "resources", given)).transpose()?;
    let process = spec.process().as_ref().map(Defaults::from).unwrap_or_default();
    Ok(State {
        id: options.id.to_owned(),
        oci_version: OCI_VERSION.to_owned(),
        pid: 0,
        start_time: 0,
        bundle: options.bundle.path.clone(),
        rootfs: options.bundle.rootfs()?,
        created: rfc3339(SystemTime::now()),
        owner: nix::unistd::geteuid().as_raw(),
        annotations: spec
            .annotations()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        resources: resources.filter(|kept| !kept.is_empty_object()),
        cgroup,
        owns_cgroup: false,
        ready: false,
        own_keyring: !options.no_new_keyring,
        process: Unread::new(options.id, "process", &process)?,
        memory_policy: linux.and_then(|linux| linux.memory_policy().clone()),
        personality: linux.and_then(|linux| linux.personality().clone()),
        intel_rdt: plan.intel_rdt.as_ref().map(|plan| plan.groups.clone()),
        namespaces: plan.namespaces.all(),
        owns_pids: plan.namespaces.new & flag::PID != 0,
        agent: plan.agent.clone(),
        poststart: hooks.and_then(|hooks| hooks.poststart().clone()).unwrap_or_default(),
        poststop: hooks.and_then(|hooks| hooks.poststop().clone()).unwrap_or_default(),
    })
}

/// A descriptor that the caller promised must be there: its number would be one of ours else.
pub(crate) fn check_preserved(count: u32) -> Result<(), Error> {
    for fd in 3..3 + i64::from(count) {
        if !i32::try_from(fd).is_ok_and(sys::file::is_inherited) {
            let reason = format!("descriptor {fd} (of {count}) is not open");
            return Err(Error::invalid("--preserve-fds", reason));
        }
    }
    Ok(())
}

fn listen_at(path: &Path) -> Result<OwnedFd, Error> {
    let step = || format!("listen on {}", path.display());
    let kind = SockType::SeqPacket;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).context(step)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path).context(step)?).context(step)?;
    listen(&fd, Backlog::new(1).context(step)?).context(step)?;
    Ok(fd)
}

/// Digits only, and never half of them: engines read it as soon as it is there.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<(), Error> {
    let step = || format!("write pid file {}", path.display());
    let name = path.file_name().ok_or(Errno::EISDIR).context(step)?.to_string_lossy();
    let part = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let make = || fs::File::options().write(true).create_new(true).open(&part);
    let mut file = match make() {
        // Of a process of this number that was killed, or a link that somebody has put in its way.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&part).context(step)?;
            make()
        }
        made => made,
    }
    .context(step)?;
    file.write_all(pid.to_string().as_bytes()).context(step)?;
    fs::rename(&part, path).context(step)
}
