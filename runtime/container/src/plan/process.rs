//! The process to run: arguments, environment, identity and limits.

use std::ffi::CString;

use oci_spec::runtime::{LinuxCapabilities, PosixRlimitType, Process};

use super::scheduling::{self, SchedulingPlan};
use super::{capability, environment, label};
use crate::error::{Context, Error};
use crate::report::{Report, each};

/// What the init or an exec'ed process becomes.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    /// No HOME was given: it comes from the container's passwd file.
    pub needs_home: bool,
    pub cwd: CString,
    pub uid: u32,
    pub gid: u32,
    /// The additional ones.
    pub groups: Vec<u32>,
    pub umask: Option<u32>,
    pub capabilities: CapabilityPlan,
    /// The kernel's number of the resource, its name, soft and hard limit.
    pub rlimits: Vec<(u32, String, u64, u64)>,
    pub no_new_privileges: bool,
    /// A seccomp filter is loaded last.
    pub filtered: bool,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
    pub oom_score_adj: Option<i32>,
    pub scheduling: SchedulingPlan,
    /// Size in rows and columns, where one is wanted.
    pub terminal: Option<Option<sys::tty::Size>>,
    pub preserve_fds: u32,
}

/// What /proc/PID/oom_score_adj takes.
const OOM_SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// What engines take. Of its first digit the kernel makes nothing, of more a mask that nobody meant.
const MAX_UMASK: u32 = 0o7777;

/// The five sets, a bit a capability.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CapabilityPlan {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
    /// Numbers from here up have no name and are dropped too.
    pub count: u32,
}

/// Checks and converts a `process` object, `at` being its place.
pub(crate) fn plan(
    at: &str,
    process: &Process,
    preserve_fds: u32,
    has_console: bool,
) -> Result<ProcessPlan, Error> {
    let mut report = Report::default();
    let field = |name: &str| format!("{at}.{name}");
    let string = |name: String, text: &str| {
        CString::new(text)
            .map_err(|_| Error::invalid(field(&name), format!("{text:?} has a NUL byte")))
    };
    let strings = |name: &str, texts: &[&str]| {
        each(texts.iter().enumerate().map(|(at, text)| string(format!("{name}[{at}]"), text)))
    };
    let args: Vec<&str> = process.args().iter().flatten().map(String::as_str).collect();
    if args.is_empty() {
        report.add(field("args"), "must not be empty");
    }
    let cwd = process.cwd().to_string_lossy();
    if !cwd.starts_with('/') {
        report.add(field("cwd"), format!("{cwd:?} is not an absolute path"));
    }
    let terminal = process.terminal().unwrap_or(false);
    if has_console && !terminal {
        report.add(field("terminal"), "a console socket is given but no terminal is wanted");
    }
    // Without a terminal it MUST be ignored.
    let size = match terminal {
        true => report.take(console_size(&field("consoleSize"), process)),
        false => None,
    };
    let user = process.user();
    // To setresuid(2) and its kin, this number says "leave it as it is", which is root.
    let groups = user.additional_gids().iter().flatten().copied();
    for (name, mut ids) in [
        ("user.uid", vec![user.uid()].into_iter()),
        ("user.gid", vec![user.gid()].into_iter()),
        ("user.additionalGids", groups.collect::<Vec<_>>().into_iter()),
    ] {
        if ids.any(|id| id == u32::MAX) {
            report.add(field(name), format!("{} is not an id", u32::MAX));
        }
    }
    if let Some(mask) = user.umask().filter(|mask| *mask > MAX_UMASK) {
        report.add(field("user.umask"), format!("{mask} is more than {MAX_UMASK} (07777)"));
    }
    let scheduling = report.take(scheduling(at, process));
    report.take(label::selinux(&field("selinuxLabel"), process.selinux_label()));
    report.take(label::apparmor(&field("apparmorProfile"), process.apparmor_profile()));
    if let Some(score) = process.oom_score_adj().filter(|score| !OOM_SCORES.contains(score)) {
        report.add(field("oomScoreAdj"), format!("{score} is not from -1000 to 1000"));
    }
    let env = process.env().as_deref().unwrap_or_default();
    for (index, variable) in env.iter().enumerate() {
        if let Some(why) = environment::refusal(variable) {
            report.add(field(&format!("env[{index}]")), why);
        }
    }
    let env = environment::last(env);
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let plan = ProcessPlan {
        args: report.take(strings("args", &args)),
        needs_home: !env.iter().any(|variable| variable.starts_with("HOME=") && variable.len() > 5),
        env: env.iter().filter_map(|variable| CString::new(*variable).ok()).collect(),
        cwd: report.take(string("cwd".to_owned(), &cwd)),
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask(),
        capabilities: report
            .take(capabilities(&field("capabilities"), process.capabilities().as_ref())),
        rlimits: report.take(rlimits(process)),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        filtered: false,
        apparmor: text(process.apparmor_profile()),
        selinux: text(process.selinux_label()),
        oom_score_adj: process.oom_score_adj(),
        scheduling,
        terminal: terminal.then_some(size),
        preserve_fds,
    };
    report.finish(Some(plan))
}

/// In rows and columns, of which a terminal takes 16 bits.
fn console_size(field: &str, process: &Process) -> Result<Option<sys::tty::Size>, Error> {
    let Some(size) = process.console_size() else { return Ok(None) };
    let mut report = Report::default();
    let mut side = |name: &str, length: u64| {
        u16::try_from(length).unwrap_or_else(|_| {
            report.add(format!("{field}.{name}"), format!("{length} is more than {}", u16::MAX));
            u16::MAX
        })
    };
    let (rows, columns) = (side("height", size.height()), side("width", size.width()));
    report.finish(Some(Some(sys::tty::Size { rows, columns })))
}

/// The part that `process` has of it; the rest is the container's.
fn scheduling(at: &str, process: &Process) -> Result<SchedulingPlan, Error> {
    let field = |name: &str| format!("{at}.{name}");
    let mut report = Report::default();
    let scheduler = process.scheduler().as_ref();
    let scheduler = scheduler.map(|given| scheduling::scheduler(&field("scheduler"), given));
    let io_priority = process.io_priority().as_ref();
    let io_priority = io_priority.map(|given| scheduling::io_priority(&field("ioPriority"), given));
    let cpus = process.exec_cpu_affinity().as_ref();
    let cpus = cpus.map(|given| scheduling::affinity(&field("execCPUAffinity"), given));
    let (initial_cpus, final_cpus) = report.take(cpus.unwrap_or(Ok((None, None))));
    let plan = SchedulingPlan {
        scheduler: report.take(scheduler.transpose()),
        io_priority: report.take(io_priority.transpose()),
        initial_cpus,
        final_cpus,
        memory_policy: None,
        personality: None,
    };
    report.finish(Some(plan))
}

fn capabilities(field: &str, given: Option<&LinuxCapabilities>) -> Result<CapabilityPlan, Error> {
    let Some(given) = given else {
        return Ok(CapabilityPlan { count: capability::COUNT, ..CapabilityPlan::default() });
    };
    let bits = |set| capability::bits(Option::as_ref(set));
    let [bounding, effective, permitted, inheritable, ambient] = [
        bits(given.bounding()),
        bits(given.effective()),
        bits(given.permitted()),
        bits(given.inheritable()),
        bits(given.ambient()),
    ];
    let wanted = bounding | effective | permitted | inheritable | ambient;
    let (granted, missing) =
        capability::grantable(wanted).context(|| format!("{field}: read the bounding set"))?;
    if !missing.is_empty() {
        log::warn!("{field}: can't be granted here and are left out: {}", missing.join(" "));
    }
    Ok(CapabilityPlan {
        bounding: bounding & granted,
        effective: effective & granted,
        permitted: permitted & granted,
        inheritable: inheritable & granted,
        // An ambient capability must be permitted and inheritable; runc leaves the others out too.
        ambient: ambient & granted & permitted & inheritable,
        count: capability::COUNT,
    })
}

fn rlimits(process: &Process) -> Result<Vec<(u32, String, u64, u64)>, Error> {
    let mut report = Report::default();
    let mut list: Vec<(u32, String, u64, u64)> = Vec::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let number = resource(limit.typ());
        if list.iter().any(|(known, ..)| *known == number) {
            let field = format!("process.rlimits[{index}].type");
            report.add(field, format!("{} given twice", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            let (soft, hard) = (limit.soft(), limit.hard());
            let reason = format!("{} {soft} is over the hard limit {hard}", limit.typ());
            report.add(format!("process.rlimits[{index}].soft"), reason);
        }
        list.push((number, limit.typ().to_string(), limit.soft(), limit.hard()));
    }
    report.finish(Some(list))
}

/// `RLIMIT_*` of <asm-generic/resource.h>.
fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_named() {
        for (json, at) in [
            (r#"{"cwd": "x", "args": ["a"], "user": {"uid": 0, "gid": 0}}"#, "process.cwd"),
            (r#"{"cwd": "/", "args": [], "user": {"uid": 0, "gid": 0}}"#, "process.args"),
            (r#"{"cwd": "/", "args": ["a\u0000"], "user": {"uid": 0, "gid": 0}}"#, "process.args"),
            (
                r#"{"cwd": "/", "args": ["a"], "user": {"uid": 4294967295, "gid": 0}}"#,
                "process.user.uid",
            ),
        ] {
            let process: Process = serde_json::from_str(json).unwrap();
            let error = plan("process", &process, 0, false).unwrap_err();
            assert!(error.to_string().starts_with(at), "{error}");
        }
    }
}
