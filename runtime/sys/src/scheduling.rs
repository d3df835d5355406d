//! How the kernel schedules a process: CPU, I/O, memory nodes, and the ABI it shows.

use crate::{Result, check};

/// What sched_setattr(2) sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19, for SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// 1 to 99, for SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE, as the next two.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// `struct sched_attr` in its second version (Linux 5.3).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// sched_setattr(2); pid 0 is the calling thread.
pub fn set_scheduler(pid: i32, scheduler: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a structure that lives across the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &attr, 0) }).map(drop)
}

/// ioprio_set(2) for one process; pid 0 is the calling thread. The upper bits from 13 are the class.
pub fn set_io_priority(pid: i32, value: u32) -> Result<()> {
    /// `IOPRIO_WHO_PROCESS` of <linux/ioprio.h>.
    const PROCESS: i32 = 1;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, pid, value) }).map(drop)
}

/// set_mempolicy(2): mode with flags, and a bit a node.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel reads one bit less than it is told.
    let (mask, bits) = match nodes.len() {
        0 => (std::ptr::null(), 0),
        words => (nodes.as_ptr(), words * 64 + 1),
    };
    // SAFETY: the count of bits goes with the pointer.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// personality(2): what an exec'ed program takes over.
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::personality(persona) }.into()).map(drop)
}
