//! First pass: the OCI types, checked, as plain rules, actions and flags.

use crate::{Architecture, Error, tables::Syscall};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

/// SECCOMP_RET_KILL_THREAD, also the answer to an architecture outside the profile.
pub(crate) const KILL_THREAD: u32 = 0;
/// SECCOMP_RET_ERRNO with ENOSYS.
pub(crate) const ENOSYS: u32 = 0x0005_0000 | 38;

/// What a rule that names no return code returns.
const EPERM: u32 = 1;

const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_NEW_LISTENER: u32 = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// A checked profile. Actions are the values a program returns (SECCOMP_RET_*, with data).
pub(crate) struct Profile {
    pub(crate) default_action: u32,
    /// System calls younger than the profile get ENOSYS.
    pub(crate) answer_younger: bool,
    /// The native architecture, then the profile's others, each once.
    pub(crate) architectures: Vec<Architecture>,
    pub(crate) rules: Vec<Rule>,
    /// Every known system call of the profile, also of rules that say what the default says.
    pub(crate) named: Vec<Syscall>,
    pub(crate) flags: u32,
    pub(crate) notify: bool,
}

/// An entry of `syscalls`.
pub(crate) struct Rule {
    /// Its index there.
    pub(crate) index: usize,
    pub(crate) action: u32,
    pub(crate) syscalls: Vec<Syscall>,
    /// The rule matches when all conditions of one alternative do.
    pub(crate) alternatives: Vec<Vec<Condition>>,
}

/// A test of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// 0 to 5.
    pub(crate) argument: u8,
    pub(crate) operator: Operator,
    /// Bits of the argument that count; all unless the operator is `Masked`.
    pub(crate) mask: u64,
    /// What those bits are compared with.
    pub(crate) value: u64,
}

/// The compare operators; comparisons are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Masked,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Profile {
    pub(crate) fn read(profile: &LinuxSeccomp, native: Architecture) -> Result<Profile, Error> {
        let kind = profile.default_action();
        if kind == LinuxSeccompAction::ScmpActNotify {
            return Err(Error::NotifyDefault);
        }
        let default_action =
            action(kind, profile.default_errno_ret(), || "defaultErrnoRet".into())?;
        let entries = profile.syscalls().as_deref().unwrap_or_default();
        let mut rules = Vec::with_capacity(entries.len());
        let mut named = Vec::with_capacity(512);
        for (index, entry) in entries.iter().enumerate() {
            let rule = read_rule(index, entry)?;
            named.extend(&rule.syscalls);
            if rule.action != default_action {
                rules.push(rule);
            }
        }
        let notify = entries.iter().any(|e| e.action() == LinuxSeccompAction::ScmpActNotify);
        Ok(Profile {
            default_action,
            answer_younger: denies(kind),
            architectures: read_architectures(profile, native)?,
            rules,
            named,
            flags: read_flags(profile, notify),
            notify,
        })
    }
}

/// Whether a call that no rule names is kept from the program. A tracer is left to answer for
/// itself, as runc has it.
fn denies(action: LinuxSeccompAction) -> bool {
    !matches!(
        action,
        LinuxSeccompAction::ScmpActAllow
            | LinuxSeccompAction::ScmpActLog
            | LinuxSeccompAction::ScmpActTrace
    )
}

fn read_rule(index: usize, entry: &LinuxSyscall) -> Result<Rule, Error> {
    let action =
        action(entry.action(), entry.errno_ret(), || format!("syscalls[{index}].errnoRet"))?;
    let mut syscalls = Vec::with_capacity(entry.names().len());
    for (place, name) in entry.names().iter().enumerate() {
        let path = || format!("syscalls[{index}].names[{place}]");
        if name.is_empty() {
            return Err(Error::EmptyName { path: path() });
        }
        if entry.action() == LinuxSeccompAction::ScmpActNotify && name == "write" {
            return Err(Error::NotifyWrite { path: path() });
        }
        // A name that no architecture knows belongs to a kernel to come.
        syscalls.extend(Syscall::find(name));
    }
    let args = entry.args().as_deref().unwrap_or_default();
    Ok(Rule { index, action, syscalls, alternatives: read_alternatives(index, args)? })
}

/// Conditions on different arguments must all hold. As soon as one argument has several, each
/// condition becomes an alternative of its own: profiles of old runc versions rely on it.
fn read_alternatives(index: usize, args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Condition>>, Error> {
    let mut conditions = Vec::with_capacity(args.len());
    let mut seen = [false; 6];
    let mut repeated = false;
    for (place, arg) in args.iter().enumerate() {
        let Some(seen) = seen.get_mut(arg.index()) else {
            return Err(Error::ArgumentIndex {
                path: format!("syscalls[{index}].args[{place}].index"),
                value: arg.index(),
            });
        };
        repeated |= std::mem::replace(seen, true);
        conditions.push(read_condition(arg));
    }
    if repeated {
        return Ok(conditions.into_iter().map(|condition| vec![condition]).collect());
    }
    conditions.sort_by_key(|condition| condition.argument);
    Ok(vec![conditions])
}

fn read_condition(arg: &LinuxSeccompArg) -> Condition {
    let operator = match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => Operator::Equal,
        LinuxSeccompOperator::ScmpCmpNe => Operator::NotEqual,
        LinuxSeccompOperator::ScmpCmpLt => Operator::Less,
        LinuxSeccompOperator::ScmpCmpLe => Operator::LessOrEqual,
        LinuxSeccompOperator::ScmpCmpGt => Operator::Greater,
        LinuxSeccompOperator::ScmpCmpGe => Operator::GreaterOrEqual,
        LinuxSeccompOperator::ScmpCmpMaskedEq => Operator::Masked,
    };
    let (mask, value) = match operator {
        Operator::Masked => (arg.value(), arg.value_two().unwrap_or(0) & arg.value()),
        _ => (u64::MAX, arg.value()),
    };
    Condition { argument: arg.index() as u8, operator, mask, value }
}

/// The value that a program returns for an action.
fn action(
    kind: LinuxSeccompAction,
    code: Option<u32>,
    path: impl Fn() -> String,
) -> Result<u32, Error> {
    let base = match kind {
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000,
        other => {
            if let Some(value) = code {
                return Err(Error::UnusedErrno { path: path(), action: kind.to_string(), value });
            }
            return Ok(match other {
                LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
                LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
                LinuxSeccompAction::ScmpActNotify => 0x7fc0_0000,
                LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
                LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
                _ => KILL_THREAD,
            });
        }
    };
    let code = code.unwrap_or(EPERM);
    if code > 0xffff {
        return Err(Error::LargeErrno { path: path(), value: code });
    }
    Ok(base | code)
}

fn read_architectures(
    profile: &LinuxSeccomp,
    native: Architecture,
) -> Result<Vec<Architecture>, Error> {
    let mut architectures = vec![native];
    for (index, arch) in profile.architectures().iter().flatten().enumerate() {
        let path = || format!("architectures[{index}]");
        let architecture = match arch {
            oci_spec::runtime::Arch::ScmpArchNative => Some(native),
            other => Architecture::from_spec(*other),
        };
        let Some(architecture) = architecture else {
            return Err(Error::UnknownArchitecture { path: path(), name: arch.to_string() });
        };
        if architecture.big_endian() != native.big_endian() {
            return Err(Error::ByteOrder {
                path: path(),
                name: architecture.name(),
                native: native.name(),
            });
        }
        if !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    Ok(architectures)
}

/// No list of flags means SPEC_ALLOW, an empty one none. TSYNC is accepted and left out: the
/// filter is loaded by a single thread right before execve.
fn read_flags(profile: &LinuxSeccomp, notify: bool) -> u32 {
    let mut bits = if notify { FLAG_NEW_LISTENER } else { 0 };
    let Some(flags) = profile.flags() else { return bits | FLAG_SPEC_ALLOW };
    for flag in flags {
        bits |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            // The kernel refuses it without a listener, which it would have no effect on.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notify => {
                FLAG_WAIT_KILLABLE_RECV
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
        };
    }
    bits
}
