//! Scheduler, I/O priority, CPU affinity, memory policy and personality, as the kernel takes them.

use nix::sched::CpuSet;
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Scheduler,
};
use sys::scheduling::Scheduler as Attributes;

use super::number_list;
use crate::error::Error;
use crate::report::Report;

/// How the process is scheduled. What is None stays as the runtime's caller has it.
#[derive(Debug, Default)]
pub(crate) struct SchedulingPlan {
    pub scheduler: Option<SchedulerPlan>,
    pub io_priority: Option<IoPriorityPlan>,
    /// Of the runtime, before the process is in the container's cgroup; exec only.
    pub initial_cpus: Option<CpusPlan>,
    /// Once it is there; None for all that its cgroup allows. Exec only.
    pub final_cpus: Option<CpusPlan>,
    pub memory_policy: Option<MemoryPolicyPlan>,
    pub personality: Option<u64>,
}

/// The argument of sched_setattr(2).
#[derive(Debug)]
pub(crate) struct SchedulerPlan {
    pub attributes: Attributes,
    /// For messages.
    pub policy: String,
    /// For messages; empty where there are none.
    pub flags: String,
}

impl SchedulerPlan {
    /// The flags, as they follow the policy in a message.
    pub fn with_flags(&self) -> String {
        if self.flags.is_empty() { String::new() } else { format!(" {}", self.flags) }
    }
}

/// The argument of ioprio_set(2).
#[derive(Debug)]
pub(crate) struct IoPriorityPlan {
    pub value: u32,
    /// For messages.
    pub name: String,
}

/// The argument of sched_setaffinity(2).
#[derive(Debug)]
pub(crate) struct CpusPlan {
    pub set: CpuSet,
    /// For messages.
    pub list: String,
}

/// The arguments of set_mempolicy(2).
#[derive(Debug)]
pub(crate) struct MemoryPolicyPlan {
    /// With its flags.
    pub mode: u32,
    pub nodes: Vec<u64>,
    /// For messages.
    pub name: String,
}

/// `process.scheduler`, `at` being its place.
pub(crate) fn scheduler(at: &str, given: &Scheduler) -> Result<SchedulerPlan, Error> {
    use LinuxSchedulerPolicy as Policy;
    let mut report = Report::default();
    let mut invalid = |name: &str, reason: String| report.add(format!("{at}.{name}"), reason);
    let policy = *given.policy();
    let nice = given.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        invalid("nice", format!("{nice} is not within -20 and 19"));
    }
    let priority = given.priority().unwrap_or(0);
    match policy {
        Policy::SchedFifo | Policy::SchedRr if !(1..=99).contains(&priority) => {
            invalid("priority", format!("{priority} is not within 1 and 99"));
        }
        Policy::SchedFifo | Policy::SchedRr => {}
        _ if priority != 0 => {
            let reason =
                format!("{priority} given with {policy}: only for SCHED_FIFO and SCHED_RR");
            invalid("priority", reason);
        }
        _ => {}
    }
    let times = [
        ("runtime", given.runtime().unwrap_or(0)),
        ("deadline", given.deadline().unwrap_or(0)),
        ("period", given.period().unwrap_or(0)),
    ];
    let [(_, runtime), (_, deadline), (_, period)] = times;
    if policy == Policy::SchedDeadline {
        for (name, _) in times[..2].iter().filter(|(_, time)| *time == 0) {
            invalid(name, "0 or missing: SCHED_DEADLINE needs it".into());
        }
        if deadline != 0 && runtime > deadline {
            invalid("runtime", format!("{runtime} is more than the deadline ({deadline})"));
        }
        if period != 0 && deadline > period {
            invalid("deadline", format!("{deadline} is more than the period ({period})"));
        }
    } else {
        for (name, time) in times.iter().filter(|(_, time)| *time != 0) {
            invalid(name, format!("{time} given with {policy}: only for SCHED_DEADLINE"));
        }
    }
    let flags = given.flags().iter().flatten().fold(0, |flags, flag| flags | scheduler_flag(*flag));
    let attributes = Attributes {
        policy: scheduler_policy(policy),
        flags,
        nice,
        priority: priority as u32,
        runtime,
        deadline,
        period,
    };
    let names: Vec<String> = given.flags().iter().flatten().map(ToString::to_string).collect();
    let (policy, flags) = (policy.to_string(), names.join(" "));
    report.finish(Some(SchedulerPlan { attributes, policy, flags }))
}

/// `SCHED_*` of <linux/sched.h>.
fn scheduler_policy(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    }
}

/// `SCHED_FLAG_*` of <linux/sched.h>.
fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// `process.ioPriority`, `at` being its place.
pub(crate) fn io_priority(at: &str, given: &LinuxIOPriority) -> Result<IoPriorityPlan, Error> {
    /// `IOPRIO_CLASS_SHIFT` of <linux/ioprio.h>.
    const CLASS_SHIFT: u32 = 13;
    let (class, priority) = (given.class(), given.priority());
    let Some(level) = u32::try_from(priority).ok().filter(|level| *level <= 7) else {
        let reason = format!("{priority} is not within 0 and 7");
        return Err(Error::invalid(format!("{at}.priority"), reason));
    };
    let number = match class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let name = format!("{class} {level}");
    Ok(IoPriorityPlan { value: number << CLASS_SHIFT | level, name })
}

/// `process.execCPUAffinity`, `at` being its place: initial and final CPUs.
pub(crate) fn affinity(
    at: &str,
    given: &ExecCPUAffinity,
) -> Result<(Option<CpusPlan>, Option<CpusPlan>), Error> {
    let mut report = Report::default();
    let mut list = |name: &str, list: &Option<String>| {
        let list = list.as_ref().map(|list| cpus(&format!("{at}.{name}"), list));
        report.take(list.transpose())
    };
    let both = (list("initial", given.initial()), list("final", given.cpu_affinity_final()));
    report.finish(Some(both))
}

fn cpus(field: &str, list: &str) -> Result<CpusPlan, Error> {
    let invalid = |reason| Error::invalid(field, reason);
    let mask = number_list::parse(list, CpuSet::count() as u32).map_err(invalid)?;
    let mut set = CpuSet::new();
    for cpu in (0..mask.len() * 64).filter(|cpu| mask[cpu / 64] >> (cpu % 64) & 1 == 1) {
        set.set(cpu).map_err(|_| invalid(format!("{list:?}: {cpu} is too high")))?;
    }
    Ok(CpusPlan { set, list: list.to_owned() })
}

/// Every CPU: the kernel leaves those of the cgroup.
pub(crate) fn every_cpu() -> CpuSet {
    let mut set = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        // Below the count, which is all that it checks.
        let _ = set.set(cpu);
    }
    set
}

/// The modes of `linux.memoryPolicy`, for `features`.
pub const MEMORY_POLICY_MODES: &[&str] = &[
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// The flags of `linux.memoryPolicy`, for `features`.
pub const MEMORY_POLICY_FLAGS: &[&str] =
    &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// `linux.memoryPolicy`.
pub(crate) fn memory_policy(given: &LinuxMemoryPolicy) -> Result<MemoryPolicyPlan, Error> {
    use MemoryPolicyModeType as Mode;
    /// As many as runc takes, and as kernels are built for.
    const NODES: u32 = 1024;
    let invalid = |name: &str, reason: String| {
        Err(Error::invalid(format!("linux.memoryPolicy.{name}"), reason))
    };
    let mode = given.mode();
    let list = given.nodes().as_deref().unwrap_or_default();
    let nodes = match (list, mode) {
        ("", Mode::MpolDefault | Mode::MpolLocal | Mode::MpolPreferred) => Vec::new(),
        ("", _) => return invalid("nodes", format!("missing: {mode} needs some")),
        (_, Mode::MpolDefault | Mode::MpolLocal) => {
            return invalid("nodes", format!("{list:?} given with {mode}, which takes none"));
        }
        _ => match number_list::parse(list, NODES) {
            Ok(nodes) => nodes,
            Err(reason) => return invalid("nodes", reason),
        },
    };
    let flags = given.flags().as_deref().unwrap_or_default();
    let has = |flag| flags.contains(&flag);
    if has(MemoryPolicyFlagType::MpolFStaticNodes) && has(MemoryPolicyFlagType::MpolFRelativeNodes)
    {
        let reason = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return invalid("flags", reason.into());
    }
    let mut name = mode.to_string();
    let mut number = memory_policy_mode(mode);
    for flag in flags {
        number |= memory_policy_flag(*flag);
        name.push_str(&format!("|{flag}"));
    }
    if !list.is_empty() {
        name.push_str(&format!(", nodes {list}"));
    }
    Ok(MemoryPolicyPlan { mode: number, nodes, name })
}

/// `MPOL_*` of <linux/mempolicy.h>.
fn memory_policy_mode(mode: MemoryPolicyModeType) -> u32 {
    match mode {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    }
}

/// `MPOL_F_*` of <linux/mempolicy.h>.
fn memory_policy_flag(flag: MemoryPolicyFlagType) -> u32 {
    match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    }
}

/// `linux.personality`.
pub(crate) fn personality(given: &LinuxPersonality) -> Result<u64, Error> {
    // The runtime-spec defines none as yet.
    if let Some(flag) = given.flags().iter().flatten().next() {
        let reason = format!("{flag:?} is not a known flag: the runtime-spec has none");
        return Err(Error::invalid("linux.personality.flags", reason));
    }
    // <linux/personality.h>
    Ok(match given.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_deadline_takes_its_times() {
        let plan = scheduler(
            "s",
            &from(
                r#"{"policy": "SCHED_DEADLINE", "nice": 19, "runtime": 42000, "deadline": 100000,
                    "period": 1000000, "flags": ["SCHED_FLAG_RECLAIM", "SCHED_RESET_ON_FORK"]}"#,
            ),
        )
        .unwrap();
        let attr = plan.attributes;
        assert_eq!((attr.policy, attr.flags, attr.nice), (6, 3, 19));
        assert_eq!((attr.runtime, attr.deadline, attr.period), (42_000, 100_000, 1_000_000));
    }

    #[test]
    fn bad_schedulers_are_named() {
        for (json, error) in [
            (r#"{"policy": "SCHED_OTHER", "nice": 20}"#, "s.nice: 20 is not"),
            (r#"{"policy": "SCHED_OTHER", "nice": -21}"#, "s.nice: -21 is not"),
            (r#"{"policy": "SCHED_BATCH", "priority": 3}"#, "s.priority: 3 given with SCHED_BATCH"),
            (r#"{"policy": "SCHED_FIFO"}"#, "s.priority: 0 is not"),
            (r#"{"policy": "SCHED_RR", "priority": 100}"#, "s.priority: 100 is not"),
            (r#"{"policy": "SCHED_RR", "priority": -1}"#, "s.priority: -1 is not"),
            (r#"{"policy": "SCHED_IDLE", "period": 5}"#, "s.period: 5 given with SCHED_IDLE"),
            (r#"{"policy": "SCHED_DEADLINE", "deadline": 5}"#, "s.runtime: 0 or missing"),
            (r#"{"policy": "SCHED_DEADLINE", "runtime": 5}"#, "s.deadline: 0 or missing"),
            (
                r#"{"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 4}"#,
                "s.runtime: 5 is more than the deadline (4)",
            ),
            (
                r#"{"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 6, "period": 5}"#,
                "s.deadline: 6 is more than the period (5)",
            ),
        ] {
            let found = scheduler("s", &from(json)).unwrap_err().to_string();
            assert!(found.starts_with(error), "{json}: {found}");
        }
    }

    #[test]
    fn io_priorities() {
        let value = |json| io_priority("i", &from(json)).map(|plan| plan.value);
        assert_eq!(value(r#"{"class": "IOPRIO_CLASS_BE", "priority": 4}"#).unwrap(), 0x4004);
        assert_eq!(value(r#"{"class": "IOPRIO_CLASS_IDLE"}"#).unwrap(), 0x6000);
        for level in [8, -1] {
            let json = format!(r#"{{"class": "IOPRIO_CLASS_RT", "priority": {level}}}"#);
            let error = io_priority("i", &from(&json)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("i.priority: {level} ")), "{error}");
        }
    }

    #[test]
    fn memory_policies() {
        let plan = memory_policy(&from(
            r#"{"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}"#,
        ))
        .unwrap();
        assert_eq!((plan.mode, plan.nodes), (2 | 1 << 15, vec![3]));
        assert_eq!(plan.name, "MPOL_BIND|MPOL_F_STATIC_NODES, nodes 0-1");
        for (json, error) in [
            (r#"{"mode": "MPOL_BIND"}"#, "linux.memoryPolicy.nodes: missing"),
            (r#"{"mode": "MPOL_LOCAL", "nodes": "0"}"#, "linux.memoryPolicy.nodes: \"0\" given"),
            (
                r#"{"mode": "MPOL_BIND", "nodes": "0-9876543210"}"#,
                "linux.memoryPolicy.nodes: \"0-9876543210\": 9876543210 is above 1023",
            ),
            (
                r#"{"mode": "MPOL_BIND", "nodes": "0",
                    "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}"#,
                "linux.memoryPolicy.flags: ",
            ),
        ] {
            let found = memory_policy(&from(json)).unwrap_err().to_string();
            assert!(found.starts_with(error), "{json}: {found}");
        }
    }

    #[test]
    fn personalities() {
        assert_eq!(personality(&from(r#"{"domain": "LINUX32"}"#)).unwrap(), 8);
        assert_eq!(personality(&from(r#"{"domain": "LINUX", "flags": []}"#)).unwrap(), 0);
        let error = personality(&from(r#"{"domain": "LINUX", "flags": ["X"]}"#)).unwrap_err();
        assert!(error.to_string().contains("\"X\""), "{error}");
    }
}
