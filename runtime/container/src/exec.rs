//! exec: one more process in a running container.

mod wait;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use cgroup::Cgroup;
use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::unistd::Pid;
use sys::process::{CloneArgs, Cloned, clone3, exit_now, setns};

use crate::agent::{self, Loaded};
use crate::container::{Container, Status};
use crate::create::check_preserved;
use crate::error::{Context, Error, InitFailure, Os};
use crate::init::{self, Filter, Procfs, Root, Step, console, identity, program};
use crate::oom_score::LentScore;
use crate::plan::{self, ProcessPlan, flag};
use crate::process::{Process, describe};
use crate::spawn;
use crate::store::Defaults;
use crate::sync::{Channel, Message};
use wait::{End, await_word};

/// How long to wait for our turn while another command changes the container.
const TURN: Duration = Duration::from_millis(250);

/// What `exec` is asked for.
#[derive(Debug)]
pub struct ExecOptions {
    /// The process to run.
    pub process: oci_spec::runtime::Process,
    /// A connected Unix socket that takes the terminal's master.
    pub console_socket: Option<OwnedFd>,
    /// How many descriptors from 3 up are the process's.
    pub preserve_fds: u32,
    /// Start it in a paused container too; it runs once that is resumed, unless SIGTERM, SIGINT,
    /// SIGHUP or SIGQUIT ends the wait. They stay blocked.
    pub ignore_paused: bool,
    /// Cgroups below the container's to put it into, see [`cgroup::Cgroup::below`]; none for the
    /// container's own.
    pub cgroups: Vec<String>,
    /// A connected Unix socket that takes a pidfd of the process, in a message that says "setns".
    pub pidfd_socket: Option<OwnedFd>,
}

impl Container {
    /// Starts the process and answers once its exec has happened.
    pub fn exec(&self, options: ExecOptions) -> Result<Process, Error> {
        self.exec_now(options).map_err(|error| match (&error, self.status()) {
            // It has ended meanwhile: whatever could not be done, that is why.
            (_, Ok(Status::Stopped)) => Error::ExecStopped,
            // It is about to end, and has left its namespaces already.
            (Error::Exec(InitFailure { errno: Some(Errno::ESRCH), .. }), _) => Error::ExecStopped,
            (Error::System { source: Os(Errno::ESRCH), .. }, _) => Error::ExecStopped,
            _ => error,
        })
    }

    fn exec_now(&self, options: ExecOptions) -> Result<Process, Error> {
        check_preserved(options.preserve_fds)?;
        // A pause meanwhile would stop the process on its way, and us waiting for it. Not for ever: a
        // poststart hook, during which the lock is another's, may call us.
        let mut lock = self.entry.lock_shared_within(TURN)?;
        match self.status()? {
            Status::Stopped => return Err(Error::ExecStopped),
            // Its root is the host's still.
            Status::Creating => return Err(Error::NotRunning),
            Status::Paused if !options.ignore_paused => return Err(Error::ExecPaused),
            // Whoever resumes it needs the lock.
            Status::Paused => lock = None,
            _ => {}
        }
        let has_console = options.console_socket.is_some();
        let process = self.with_defaults(options.process)?;
        let mut plan = plan::exec_process(
            &process,
            self.state.memory_policy.as_ref(),
            self.state.personality.as_ref(),
            options.preserve_fds,
            has_console,
        )?;
        let rootless = !nix::unistd::geteuid().is_root();
        let filter = self.entry.load_seccomp()?.map(|program| Filter { program, rootless });
        plan.filtered = filter.is_some();
        let sub = match options.cgroups.as_slice() {
            [] => None,
            texts => Some(self.state.cgroup.below(texts)?),
        };
        let init = self.init()?.ok_or(Error::ExecStopped)?;
        let (ours, theirs) = Channel::pair().context(|| "socketpair")?;
        let end = End::of(options.ignore_paused)?;
        let console = options.console_socket;
        let (process, born) =
            self.join(&init, &plan, filter.as_ref(), sub.as_ref(), console, theirs)?;
        let place = sub.as_ref().unwrap_or(&self.state.cgroup);
        let attached = match born {
            Born::Inside => Ok(()),
            Born::Outside => place.attach(Pid::from_raw(process.pid)).map_err(Error::from),
        };
        let served = attached.and_then(|()| self.serve(&plan, place, &process, &ours, &end));
        let started = served.and_then(|()| {
            let socket = options.pidfd_socket.as_ref();
            socket.map_or(Ok(()), |socket| process.send_pidfd(socket, "setns"))
        });
        if started.is_err() {
            spawn::end(&process);
        }
        drop(lock);
        started.map(|()| process)
    }

    /// What the process leaves out is as for the container's init, as in runc.
    fn with_defaults(
        &self,
        mut process: oci_spec::runtime::Process,
    ) -> Result<oci_spec::runtime::Process, Error> {
        let of_init: Defaults = self.entry.decode("process", &self.state.process)?;
        if process.capabilities().is_none() {
            process.set_capabilities(of_init.capabilities);
        }
        if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
            process.set_rlimits(of_init.rlimits);
        }
        if process.apparmor_profile().as_ref().is_none_or(String::is_empty) {
            process.set_apparmor_profile(of_init.apparmor_profile);
        }
        if process.selinux_label().as_ref().is_none_or(String::is_empty) {
            process.set_selinux_label(of_init.selinux_label);
        }
        if process.oom_score_adj().is_none() {
            process.set_oom_score_adj(of_init.oom_score_adj);
        }
        if process.scheduler().is_none() {
            process.set_scheduler(of_init.scheduler);
        }
        if process.io_priority().is_none() {
            process.set_io_priority(of_init.io_priority);
        }
        if process.exec_cpu_affinity().is_none() {
            process.set_exec_cpu_affinity(of_init.exec_cpu_affinity);
        }
        let user = process.user_mut();
        if user.umask().is_none() {
            user.set_umask(of_init.umask);
        }
        Ok(process)
    }

    /// The child is born in the container's pid namespace and v2 cgroup, and joins the rest.
    fn join(
        &self,
        init: &OwnedFd,
        plan: &ProcessPlan,
        filter: Option<&Filter>,
        sub: Option<&Cgroup>,
        console: Option<OwnedFd>,
        theirs: Channel,
    ) -> Result<(Process, Born), Error> {
        let _score = LentScore::take(plan.oom_score_adj)?;
        // The child is seen in the container from its first moment.
        sys::process::set_dumpable(false).context(|| "prctl PR_SET_DUMPABLE")?;
        let joined = self.joined_by_parent();
        if joined != 0 {
            setns(init.as_fd(), joined).context(|| "join the container's pid namespace")?;
        }
        if let Some(cpus) = &plan.scheduling.initial_cpus {
            // The child has them from us, up to the point where it is in its cgroup.
            init::scheduling::pin(cpus, "initial").map_err(Error::Exec)?;
        }
        let own = sub.unwrap_or(&self.state.cgroup).unified_dir()?;
        let mut args = CloneArgs { flags: 0, cgroup: own.as_ref().map(AsFd::as_fd) };
        let waits = self.waits();
        let mut born = Born::Inside;
        let cloned = match clone3(&args) {
            // The container has made cgroups of its own: the process goes where its init is.
            Err(Errno::EBUSY) if sub.is_none() => {
                let beside = self.state.cgroup.unified_dir_beside(Pid::from_raw(self.state.pid))?;
                args.cgroup = beside.as_ref().map(AsFd::as_fd);
                clone3(&args)
            }
            // A user may not move processes from a session into what the user's manager has.
            Err(Errno::EACCES) if self.state.cgroup.is_scope() && waits => {
                args.cgroup = None;
                born = Born::Outside;
                clone3(&args)
            }
            // The container's cgroup was delegated to the caller, but not one above the caller's
            // too, as a login session's is not: runc's rootless exec goes without as well.
            Err(Errno::EACCES) if sub.is_none() && cgroup::is_rootless() => {
                log::info!(
                    "the process stays in the caller's cgroup, out of the container's limits"
                );
                args.cgroup = None;
                clone3(&args)
            }
            // A pid namespace whose first process ends takes nobody in: that tells it from a lack of memory.
            Err(Errno::ENOMEM) if joined != 0 => setns(init.as_fd(), joined)
                .context(|| "join the container's pid namespace")
                .map(|()| Err(Errno::ENOMEM))?,
            cloned => cloned,
        };
        match cloned.context(|| "clone3 of the process")? {
            Cloned::Parent { pid, pidfd } => Ok((Process { pid, pidfd }, born)),
            Cloned::Child => {
                let request = Request { init, plan, console, channel: &theirs, joined, waits };
                let failure = match self.enter(request) {
                    // Who was held back must not begin when nobody waits for it any more.
                    Ok(_) if theirs.is_over() => exit_now(255),
                    Ok(program) => program.exec(plan, filter, &theirs),
                    Err(failure) => failure,
                };
                // Nobody else is there to be told.
                let _ = theirs.send(&Message::Failed(failure));
                exit_now(255)
            }
        }
    }

    /// The pid namespace, which counts for our children only: this process stays where it is. And
    /// without privileges first the user namespace, which gives the right to join the other.
    fn joined_by_parent(&self) -> u64 {
        match self.state.namespaces & flag::PID {
            0 => 0,
            pid if nix::unistd::geteuid().is_root() => pid,
            pid => pid | self.state.namespaces & flag::USER,
        }
    }

    /// The parent has work on the process that must come before its exec.
    fn waits(&self) -> bool {
        self.state.cgroup.mode() != cgroup::Mode::V2
            || self.state.intel_rdt.is_some()
            || self.state.namespaces & flag::USER != 0
    }

    /// Scheduler and I/O priority are the parent's to set.
    fn prioritises(&self) -> bool {
        plan::priorities_by_parent(self.state.namespaces & flag::USER != 0)
    }

    fn serve(
        &self,
        plan: &ProcessPlan,
        cgroup: &Cgroup,
        process: &Process,
        channel: &Channel,
        end: &End,
    ) -> Result<(), Error> {
        if self.state.namespaces & flag::USER != 0 {
            spawn::limit(process.pid, plan)?;
        }
        cgroup.join(Pid::from_raw(process.pid))?;
        if let Some(groups) = &self.state.intel_rdt {
            groups.join(process.pid)?;
        }
        if self.prioritises() {
            // In its cgroup, which may be the one that has real-time bandwidth.
            spawn::prioritise(process.pid, plan)?;
        }
        if self.waits() {
            // EPIPE: its last words, or its end, tell more.
            let _ = channel.send(&Message::Proceed);
        }
        let mut listens = false;
        loop {
            await_word(cgroup, process, channel, end)?;
            match channel.receive().context(|| "wait for the process")? {
                None => return Ok(()),
                Some(Message::Failed(failure)) => return Err(Error::Exec(failure)),
                Some(Message::Listener(fd)) if !listens => {
                    listens = true;
                    let Process { pid, pidfd } = process;
                    let status = Status::Running;
                    let loaded = Loaded { pid: *pid, pidfd: pidfd.as_fd(), fd, status };
                    agent::hand_over(&self.state, channel, &loaded)?;
                }
                Some(_) => {
                    // It may go on for ever else.
                    let _ = sys::process::pidfd_send_signal(process.pidfd.as_fd(), SIGKILL);
                    let how = process.wait().map_or_else(|e| e.to_string(), describe);
                    return Err(Error::InitEnded { step: "exec", how });
                }
            }
        }
    }
}

/// In which v2 cgroup the process began.
#[derive(Clone, Copy)]
enum Born {
    /// The container's.
    Inside,
    /// The runtime's: systemd is to move it.
    Outside,
}

/// What the child of exec has from its parent.
struct Request<'a> {
    init: &'a OwnedFd,
    plan: &'a ProcessPlan,
    console: Option<OwnedFd>,
    channel: &'a Channel,
    /// `CLONE_NEW*` of the namespaces it was born in.
    joined: u64,
    /// The parent has work on it first.
    waits: bool,
}

impl Container {
    /// In the child: from the host into the container.
    fn enter(&self, request: Request<'_>) -> Result<program::Program, InitFailure> {
        let Request { init, plan, console, channel, joined, waits } = request;
        let needed = console.iter().map(AsRawFd::as_raw_fd);
        let needed = needed.chain([init.as_raw_fd(), channel.as_fd().as_raw_fd()]);
        init::close_others(needed, plan.preserve_fds)?;
        // On v1 it is the parent that puts us under the limits: not before that.
        if waits {
            init::receive_proceed(channel)?;
        }
        let user = self.state.namespaces & flag::USER != 0;
        let others = self.state.namespaces & !joined;
        setns(init.as_fd(), others).step(|| "join the container's namespaces")?;
        if user {
            identity::become_root()?;
        }
        nix::unistd::setsid().step(|| "setsid")?;
        if let Some(size) = plan.terminal {
            let root = init::open_root()?;
            let terminal = console::allocate(Root(root.as_fd()), size, plan, console)?;
            console::attach(&terminal)?;
        }
        if self.state.own_keyring
            && let Some(name) = plan::keyring_name(&self.state.id)
        {
            identity::join_keyring(&name)?;
        }
        identity::label(plan, &Procfs::default())?;
        // What paths of the container's choosing may not lead through, as in init.
        init::close_others([channel.as_fd().as_raw_fd()].into_iter(), plan.preserve_fds)?;
        if !user {
            identity::limit(plan)?;
        }
        init::scheduling::apply(&plan.scheduling)?;
        if !self.prioritises() {
            init::scheduling::prioritise(&plan.scheduling)?;
        }
        identity::apply(plan)?;
        let mut program = program::find(plan)?;
        program.find_home(plan);
        Ok(program)
    }
}
