//! How the process is scheduled, and the ABI it sees.

use nix::errno::Errno;
use nix::sched::sched_setaffinity;
use nix::unistd::Pid;

use super::{InitFailure, Result, Step};
use crate::plan::{CpusPlan, SchedulerPlan, SchedulingPlan, every_cpu};

/// The calling process.
const SELF: i32 = 0;

/// What takes no privilege. The process is in its cgroup by now.
pub(crate) fn apply(plan: &SchedulingPlan) -> Result<()> {
    match &plan.final_cpus {
        Some(cpus) => pin(cpus, "final")?,
        // Those that the runtime's caller was held to are not the container's. What can't be changed
        // stays, as in runc: no container asks for this.
        None => drop(sched_setaffinity(Pid::from_raw(SELF), &every_cpu())),
    }
    if let Some(policy) = &plan.memory_policy {
        sys::scheduling::set_memory_policy(policy.mode, &policy.nodes)
            .step(|| format!("linux.memoryPolicy: set_mempolicy {}", policy.name))?;
    }
    if let Some(persona) = plan.personality {
        sys::scheduling::set_personality(persona)
            .step(|| format!("linux.personality: personality {persona}"))?;
    }
    Ok(())
}

/// What may take the privileges of the host.
pub(crate) fn prioritise(plan: &SchedulingPlan) -> Result<()> {
    set_priorities(SELF, plan).map_err(|(step, errno)| InitFailure { step, errno: Some(errno) })
}

/// Scheduler and I/O priority of a process; the error comes with what was done.
pub(crate) fn set_priorities(
    pid: i32,
    plan: &SchedulingPlan,
) -> std::result::Result<(), (String, Errno)> {
    if let Some(scheduler) = &plan.scheduler {
        let set = sys::scheduling::set_scheduler(pid, &scheduler.attributes);
        set.map_err(|errno| (scheduler_step(scheduler, errno), errno))?;
    }
    if let Some(io) = &plan.io_priority {
        sys::scheduling::set_io_priority(pid, io.value)
            .map_err(|errno| (format!("process.ioPriority: ioprio_set {}", io.name), errno))?;
    }
    Ok(())
}

fn scheduler_step(plan: &SchedulerPlan, errno: Errno) -> String {
    /// `SCHED_DEADLINE` of <linux/sched.h>.
    const DEADLINE: u32 = 6;
    let attr = &plan.attributes;
    if errno == Errno::EOPNOTSUPP && !plan.flags.is_empty() {
        return format!("process.scheduler.flags: sched_setattr {} {}", plan.policy, plan.flags);
    }
    let step = format!("process.scheduler: sched_setattr {}{}", plan.policy, plan.with_flags());
    match attr.policy {
        DEADLINE if errno == Errno::EPERM => {
            format!("{step} (it can't be used together with linux.resources.cpu.cpus)")
        }
        DEADLINE => format!("{step} {}/{}/{}", attr.runtime, attr.deadline, attr.period),
        _ => format!("{step} (nice {}, priority {})", attr.nice, attr.priority),
    }
}

/// Holds the calling process to these CPUs.
pub(crate) fn pin(cpus: &CpusPlan, name: &str) -> Result<()> {
    sched_setaffinity(Pid::from_raw(SELF), &cpus.set)
        .step(|| format!("process.execCPUAffinity.{name}: sched_setaffinity {}", cpus.list))
}
