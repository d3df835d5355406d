//! Making the child: one clone3, after an intermediate process where namespaces are joined by path.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sys::process::{CloneArgs, Cloned, clone3, exit_now, pidfd_open, setns};

use crate::container::KILL_DEADLINE;
use crate::error::{Context, Error, InitFailure};
use crate::init::{self, Inherited, Step};
use crate::oom_score::LentScore;
use crate::plan::{InitPlan, Namespaces, ProcessPlan, flag};
use crate::process::Process;
use crate::store::State;
use crate::sync::{Channel, Message};
use crate::user_namespace;

/// What the child takes over from the parent.
pub(crate) struct Handover<'a> {
    pub plan: &'a InitPlan,
    pub state: &'a State,
    /// The v2 cgroup to be born in.
    pub cgroup: Option<OwnedFd>,
    pub listener: Option<OwnedFd>,
    pub console: Option<OwnedFd>,
}

/// Starts the child and does for it what only the parent can: id maps and limits.
pub(crate) fn spawn(handover: Handover<'_>) -> Result<(Process, Channel), Error> {
    let (ours, theirs) = Channel::pair().context(|| "socketpair")?;
    let plan = handover.plan;
    let score = LentScore::take(plan.process.oom_score_adj)?;
    let process = if plan.namespaces.needs_intermediate() {
        through_intermediate(handover, theirs)?
    } else {
        direct(handover, theirs)?
    };
    drop(score);
    let done = serve(plan, process.pid);
    if done.is_err() {
        end(&process);
    }
    done.map(|()| (process, ours))
}

/// Kills a child that can't be used and reaps it. One that the kernel holds, as in a frozen cgroup of
/// v1, dies when it is let go.
pub(crate) fn end(process: &Process) {
    // It is our child and not reaped: it is there, and ours to kill.
    let _ = sys::process::pidfd_send_signal(process.pidfd.as_fd(), nix::libc::SIGKILL);
    let deadline = PollTimeout::try_from(KILL_DEADLINE).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, deadline) != Ok(0) {
        let _ = process.wait();
    }
}

/// `CLONE_NEW*` for clone3; what must come later or earlier is left out.
fn clone_flags(plan: &InitPlan) -> u64 {
    let mut flags = plan.namespaces.new;
    if plan.late_cgroup_namespace {
        flags &= !flag::CGROUP;
    }
    if plan.namespaces.time_offsets.is_some() {
        flags &= !flag::TIME;
    }
    flags
}

fn direct(handover: Handover<'_>, theirs: Channel) -> Result<Process, Error> {
    let plan = handover.plan;
    let args =
        CloneArgs { flags: clone_flags(plan), cgroup: handover.cgroup.as_ref().map(AsFd::as_fd) };
    match clone3(&args).map_err(|errno| clone_failed(errno, &handover))? {
        Cloned::Parent { pid, pidfd } => Ok(Process { pid, pidfd }),
        Cloned::Child => run_init(handover, theirs),
    }
}

/// EACCES is the cgroup's: the caller may not move a process there from where it is itself.
fn clone_failed(errno: Errno, handover: &Handover<'_>) -> Error {
    let into = match handover.state.cgroup.path_of("") {
        Some(path) if errno == Errno::EACCES => format!(" into cgroup {}", path.display()),
        _ => String::new(),
    };
    Error::system(format!("clone3 of the container's init{into}"), errno)
}

fn run_init(handover: Handover<'_>, theirs: Channel) -> ! {
    let Handover { plan, state, ref listener, ref console, .. } = handover;
    // Not the parent's end of the channel, whose death would go unnoticed, nor its locks, nor what the
    // caller left open: a created container would hold all of that for as long as it waits.
    let needed = listener.iter().chain(console).map(AsRawFd::as_raw_fd);
    let needed = needed.chain([theirs.as_fd().as_raw_fd()]).chain(plan.rootfs.copies());
    if let Err(failure) = init::close_others(needed, plan.process.preserve_fds) {
        let _ = theirs.send(&Message::Failed(failure));
        exit_now(1)
    }
    let Handover { listener, console, .. } = handover;
    init::run(plan, Inherited { channel: theirs, listener, console, state })
}

/// Joins namespaces in a process of its own, so that the runtime keeps its own, and starts the
/// child from there, as a child of the runtime.
fn through_intermediate(handover: Handover<'_>, theirs: Channel) -> Result<Process, Error> {
    let plan = handover.plan;
    // Of its own: init, which closes what it does not need, does not keep it open.
    let (report, reporter) = Channel::pair().context(|| "socketpair")?;
    let cgroup = handover.cgroup.as_ref().map(AsFd::as_fd);
    let args = CloneArgs { flags: 0, cgroup };
    match clone3(&args).map_err(|errno| clone_failed(errno, &handover))? {
        Cloned::Child => {
            let failure = match intermediate(plan) {
                Ok(Cloned::Child) => run_init(handover, theirs),
                Ok(Cloned::Parent { pid, .. }) => {
                    exit_now(i32::from(reporter.send(&Message::Pid(pid)).is_err()))
                }
                Err(failure) => failure,
            };
            let _ = reporter.send(&Message::Failed(failure));
            exit_now(1)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((theirs, reporter));
            let message = report.receive().context(|| "wait for the process that joins namespaces");
            let status = Process { pid, pidfd }.wait();
            match message? {
                Some(Message::Pid(pid)) => {
                    let pidfd = pidfd_open(pid).context(|| "pidfd_open of the container's init")?;
                    Ok(Process { pid, pidfd })
                }
                Some(Message::Failed(failure)) => Err(Error::Init(failure)),
                _ => Err(Error::InitEnded {
                    step: "joining namespaces",
                    how: status.map_or_else(|e| e.to_string(), crate::process::describe),
                }),
            }
        }
    }
}

fn intermediate(plan: &InitPlan) -> Result<Cloned, InitFailure> {
    // Before others can see this process in a namespace of theirs.
    sys::process::set_dumpable(false).step(|| "prctl PR_SET_DUMPABLE")?;
    // Before paths are those of a joined mount namespace.
    if let Some(offsets) = &plan.namespaces.time_offsets {
        init::time_namespace::make(offsets)?;
    }
    join(&plan.namespaces)?;
    // Born in the same cgroup as this process.
    let flags = clone_flags(plan) | nix::libc::CLONE_PARENT as u64;
    clone3(&CloneArgs { flags, cgroup: None }).step(|| "clone3 of the container's init")
}

/// Joins with the caller's privileges what they are enough for, then the user namespace, then what
/// only its root may join. The mount namespace comes last: it changes what paths mean.
fn join(namespaces: &Namespaces) -> Result<(), InitFailure> {
    let order = |flag: u64| (flag == flag::MOUNT, flag);
    let mut others: Vec<_> =
        namespaces.join.iter().filter(|(flag, ..)| *flag != flag::USER).collect();
    others.sort_unstable_by_key(|(flag, ..)| order(*flag));
    let user = namespaces.join.iter().find(|(flag, ..)| *flag == flag::USER);
    let mut refused = Vec::new();
    for namespace @ (flag, path, fd) in others {
        match setns(fd.as_fd(), *flag) {
            Err(Errno::EPERM) if user.is_some() => refused.push(namespace),
            result => result.step(|| format!("join namespace {path}"))?,
        }
    }
    if let Some((flag, path, fd)) = user {
        setns(fd.as_fd(), *flag).step(|| format!("join namespace {path}"))?;
    }
    for (flag, path, fd) in refused {
        setns(fd.as_fd(), *flag).step(|| format!("join namespace {path}"))?;
    }
    Ok(())
}

/// The parent's part once the child is there.
fn serve(plan: &InitPlan, pid: i32) -> Result<(), Error> {
    if let Some((uids, gids)) = &plan.namespaces.id_maps {
        user_namespace::map_ids(pid, uids, gids)?;
    }
    if plan.namespaces.has(flag::USER) { limit(pid, &plan.process) } else { Ok(()) }
}

/// Scheduler and I/O priority of a process in a user namespace, whose root may not raise them.
pub(crate) fn prioritise(pid: i32, plan: &ProcessPlan) -> Result<(), Error> {
    let set = init::scheduling::set_priorities(pid, &plan.scheduling);
    set.map_err(|(step, errno)| Error::system(step, errno))
}

/// The limits of a process in a user namespace, whose root may not raise one.
pub(crate) fn limit(pid: i32, plan: &ProcessPlan) -> Result<(), Error> {
    for (index, (resource, name, soft, hard)) in plan.rlimits.iter().enumerate() {
        sys::identity::set_rlimit(pid, *resource, *soft, *hard)
            .context(|| format!("process.rlimits[{index}]: set rlimit {name} to {soft}:{hard}"))?;
    }
    Ok(())
}
