//! The child: it carries out the plan and becomes the container's process.
//!
//! It never parses the configuration, logs or unwinds. What fails is reported to the parent, which
//! words the error.

mod cgroup_mount;
pub(crate) mod console;
mod copy_up;
mod device;
mod filesystem;
mod filter;
pub(crate) mod identity;
mod legacy;
mod mask;
mod mount;
mod no_pivot;
mod procfs;
pub(crate) mod program;
mod remount;
mod root;
mod rootfs;
pub(crate) mod scheduling;
pub(crate) mod time_namespace;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

pub(crate) use filter::Filter;
pub(crate) use procfs::Procfs;
pub(crate) use root::Root;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use seccomp::Encoded;

use crate::error::{InitFailure, Os};
use crate::hooks;
use crate::plan::{InitPlan, flag};
use crate::store::State;
use crate::sync::{Channel, Message};

/// What the child was doing, when it fails.
pub(crate) type Result<T> = std::result::Result<T, InitFailure>;

/// Adds what was being done to an error number.
pub(crate) trait Step<T> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Os>> Step<T> for std::result::Result<T, E> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| InitFailure { step: step().into(), errno: Some(error.into().0) })
    }
}

/// A failure that is not a system call's.
pub(crate) fn failure(step: impl Into<String>) -> InitFailure {
    InitFailure { step: step.into(), errno: None }
}

/// What the child has from its parent beside the plan.
pub(crate) struct Inherited<'a> {
    pub channel: Channel,
    /// Where `start` connects; none for `run`, which starts over the channel.
    pub listener: Option<OwnedFd>,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    pub state: &'a State,
}

/// Runs in the child of clone3 and never returns: it execs, or reports and ends.
pub(crate) fn run(plan: &InitPlan, inherited: Inherited<'_>) -> ! {
    let mut channel = inherited.channel;
    let listener = inherited.listener.as_ref();
    let failure = match prepare(plan, &channel, inherited.console, listener, inherited.state) {
        Ok((program, filter)) => match wait_for_start(channel, inherited.listener) {
            Some(starter) => {
                channel = starter;
                match run_hooks("startContainer", &plan.start_container, "created", inherited.state)
                {
                    Ok(()) => program.exec(&plan.process, filter.as_ref(), &channel),
                    Err(failure) => failure,
                }
            }
            None => sys::process::exit_now(1),
        },
        Err(failure) => failure,
    };
    // Whoever waits for this has gone if it can't be sent; there is nobody else to tell.
    let _ = channel.send(&Message::Failed(failure));
    sys::process::exit_now(1)
}

/// Everything that happens before the container is called created.
fn prepare(
    plan: &InitPlan,
    channel: &Channel,
    console: Option<OwnedFd>,
    listener: Option<&OwnedFd>,
    state: &State,
) -> Result<(program::Program, Option<Filter>)> {
    let mut waiting = plan.wait_for_parent;
    if plan.wait_at_once {
        proceed(channel, &mut waiting)?;
    }
    if let Some(offsets) = &plan.namespaces.time_offsets
        && !plan.namespaces.needs_intermediate()
    {
        time_namespace::enter(offsets)?;
    }
    sys::process::set_dumpable(false).step(|| "prctl PR_SET_DUMPABLE")?;
    if plan.rootfs.opened_by_init {
        // Before the change of ids: what the caller owns can be reached still.
        plan.rootfs.open_trees(&mut |index, tree| translate(channel, index, tree))?;
    }
    if plan.namespaces.has(flag::USER) {
        identity::become_root()?;
    }
    if plan.loopback {
        sys::file::loopback_up().step(|| "bring up the loopback interface")?;
    }
    nix::unistd::setsid().step(|| "setsid")?;
    let rootfs = rootfs::Rootfs::attach(&plan.rootfs)?;
    let mut late_cgroups = plan.late_cgroup_namespace;
    for mount in &plan.rootfs.mounts {
        if late_cgroups && matches!(mount.source, crate::plan::Source::Cgroup(_)) {
            enter_cgroup_namespace(channel, &mut waiting, &mut late_cgroups)?;
        }
        rootfs.mount(mount)?;
    }
    if late_cgroups {
        enter_cgroup_namespace(channel, &mut waiting, &mut late_cgroups)?;
    }
    if let Some(devices) = &plan.rootfs.devices {
        device::make_all(rootfs.root(), devices)?;
    }
    if let Some(size) = plan.process.terminal {
        let terminal = console::allocate(rootfs.root(), size, &plan.process, console)?;
        console::bind(rootfs.root(), &terminal)?;
        console::attach(&terminal)?;
    }
    rootfs.make_cwd(&plan.process.cwd)?;
    proceed(channel, &mut waiting)?;
    if plan.parent_hooks {
        channel.send(&Message::Hooks).step(|| "report to the runtime")?;
        receive_proceed(channel)?;
    }
    if !plan.create_container.is_empty() {
        rootfs.enter()?;
        run_hooks("createContainer", &plan.create_container, "creating", state)?;
    }
    rootfs.pivot()?;
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).step(|| format!("set hostname {name:?}"))?;
    }
    if let Some(name) = &plan.domainname {
        sys::identity::set_domainname(name.as_bytes())
            .step(|| format!("set domainname {name:?}"))?;
    }
    let procfs = rootfs.procfs();
    for sysctl in &plan.sysctls {
        procfs.write(&format!("sys/{}", sysctl.path), &sysctl.value).step(|| {
            format!("linux.sysctl[{}]: write sysctl {}={}", sysctl.key, sysctl.path, sysctl.value)
        })?;
    }
    mask::readonly_paths(rootfs.root(), &plan.rootfs.readonly_paths)?;
    mask::masked_paths(rootfs.root(), &plan.rootfs)?;
    rootfs.finish()?;
    if let Some(name) = &plan.keyring {
        identity::join_keyring(name)?;
    }
    identity::label(&plan.process, &procfs)?;
    drop(procfs);
    drop(rootfs);
    // From here on, paths are the container's to choose (its working directory, its program, its
    // passwd file): none of them may lead to the host through a descriptor of ours.
    let keep = listener.iter().map(|fd| fd.as_raw_fd()).chain([channel.as_fd().as_raw_fd()]);
    close_others(keep, plan.process.preserve_fds)?;
    if !plan.namespaces.has(flag::USER) {
        identity::limit(&plan.process)?;
    }
    scheduling::apply(&plan.process.scheduling)?;
    if !plan.priorities_by_parent {
        scheduling::prioritise(&plan.process.scheduling)?;
    }
    identity::apply(&plan.process)?;
    let mut program = program::find(&plan.process)?;
    if plan.open_to_owner {
        sys::process::set_dumpable(true).step(|| "prctl PR_SET_DUMPABLE")?;
    }
    channel.send(&Message::Ready).step(|| "report to the runtime")?;
    let filter = if plan.process.filtered {
        Some(Filter { program: receive_filter(channel)?, rootless: plan.open_to_owner })
    } else {
        receive_proceed(channel)?;
        None
    };
    program.find_home(&plan.process);
    Ok((program, filter))
}

/// Lets the parent, which has the privileges, make a mount translate ids.
fn translate(channel: &Channel, index: usize, tree: BorrowedFd<'_>) -> Result<()> {
    let step = || "report to the runtime";
    channel.send(&Message::Translate(index as u32)).step(step)?;
    channel.send_fd(tree).step(step)?;
    receive_proceed(channel)
}

/// The root of the namespace is the cgroup the process is in: where it is not born there, on v1 and
/// in a systemd scope, it is moved first.
fn enter_cgroup_namespace(channel: &Channel, waiting: &mut bool, late: &mut bool) -> Result<()> {
    proceed(channel, waiting)?;
    *late = false;
    sys::process::unshare(flag::CGROUP).step(|| "make a cgroup namespace")
}

/// The root directory of this process.
pub(crate) fn open_root() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open("/", flags, nix::sys::stat::Mode::empty()).step(|| "open /")
}

/// Closes what is neither in `keep`, nor standard, nor preserved for the program. Whoever owns a closed
/// descriptor must not be dropped after this.
pub(crate) fn close_others(keep: impl Iterator<Item = RawFd>, preserve: u32) -> Result<()> {
    let mut keep: Vec<u32> = keep.map(|fd| fd as u32).collect();
    keep.sort_unstable();
    let mut first = 3 + preserve;
    for fd in keep {
        if fd > first {
            sys::process::close_range(first, fd - 1).step(|| "close_range")?;
        }
        first = first.max(fd + 1);
    }
    sys::process::close_range(first, u32::MAX).step(|| "close_range")
}

/// Waits for the parent's first word, once.
fn proceed(channel: &Channel, waiting: &mut bool) -> Result<()> {
    if std::mem::take(waiting) { receive_proceed(channel) } else { Ok(()) }
}

pub(crate) fn receive_proceed(channel: &Channel) -> Result<()> {
    match channel.receive().step(|| "wait for the runtime")? {
        Some(Message::Proceed) => Ok(()),
        // The runtime was killed, or could not do its part: nobody wants this container.
        _ => sys::process::exit_now(1),
    }
}

fn receive_filter(channel: &Channel) -> Result<Encoded> {
    match channel.receive().step(|| "wait for the runtime")? {
        Some(Message::Filter(filter)) => Ok(filter),
        _ => sys::process::exit_now(1),
    }
}

/// The channel over which the start was asked for; none when nobody will ask.
fn wait_for_start(channel: Channel, listener: Option<OwnedFd>) -> Option<Channel> {
    let starter = match listener {
        None => channel,
        Some(listener) => {
            drop(channel);
            // As the first process of a pid namespace, this one is spared by signals it has no
            // handler for; who stops a created container means it.
            sys::process::end_on_signals().ok()?;
            loop {
                match sys::file::accept(listener.as_fd()) {
                    Ok(fd) => break Channel::from_fd(fd),
                    Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                    Err(_) => return None,
                }
            }
        }
    };
    match starter.receive() {
        Ok(Some(Message::Start)) => Some(starter),
        _ => None,
    }
}

fn run_hooks(
    kind: &'static str,
    list: &[oci_spec::runtime::Hook],
    status: &str,
    state: &State,
) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let json = hooks::state_json(state, status, nix::unistd::getpid().as_raw());
    hooks::run(kind, list, &json, None).map_err(|error| failure(error.to_string()))
}
