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

/// MAX_ERRNO: the kernel makes it of what is more.
const MAX_ERRNO: u32 = 4095;
/// A tracer gets all of SECCOMP_RET_DATA.
const MAX_TRACE: u32 = 0xffff;

pub(crate) const FLAG_TSYNC: u32 = 1;
pub(crate) const FLAG_LOG: u32 = 1 << 1;
pub(crate) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(crate) const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// Linux 5.7.
pub(crate) const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
pub(crate) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

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
        let mut errors = Vec::new();
        let kind = profile.default_action();
        if kind == LinuxSeccompAction::ScmpActNotify {
            errors.push(Error::NotifyDefault);
        }
        let default_action = action(kind, profile.default_errno_ret(), || "defaultErrnoRet".into());
        let default_action = default_action.unwrap_or_else(|error| {
            errors.push(error);
            KILL_THREAD
        });
        let entries = profile.syscalls().as_deref().unwrap_or_default();
        let mut rules = Vec::with_capacity(entries.len());
        let mut named = Vec::with_capacity(512);
        for (index, entry) in entries.iter().enumerate() {
            match read_rule(index, entry) {
                Ok(rule) => {
                    named.extend(&rule.syscalls);
                    if rule.action != default_action {
                        rules.push(rule);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        let architectures = read_architectures(profile, native).unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        });
        Error::all(errors)?;
        let notify = entries.iter().any(|e| e.action() == LinuxSeccompAction::ScmpActNotify);
        Ok(Profile {
            default_action,
            answer_younger: denies(kind),
            architectures,
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
    let mut errors = Vec::new();
    let action =
        action(entry.action(), entry.errno_ret(), || format!("syscalls[{index}].errnoRet"));
    if entry.names().is_empty() {
        errors.push(Error::NoNames { path: format!("syscalls[{index}].names") });
    }
    let mut syscalls = Vec::with_capacity(entry.names().len());
    for (place, name) in entry.names().iter().enumerate() {
        let path = || format!("syscalls[{index}].names[{place}]");
        if name.is_empty() {
            errors.push(Error::EmptyName { path: path() });
        }
        if entry.action() == LinuxSeccompAction::ScmpActNotify && name == "write" {
            errors.push(Error::NotifyWrite { path: path() });
        }
        // A name that no architecture knows belongs to a kernel to come.
        syscalls.extend(Syscall::find(name));
    }
    let args = entry.args().as_deref().unwrap_or_default();
    match (action, read_alternatives(index, args)) {
        (Ok(action), Ok(alternatives)) if errors.is_empty() => {
            Ok(Rule { index, action, syscalls, alternatives })
        }
        (action, alternatives) => {
            errors.extend(action.err().into_iter().chain(alternatives.err()));
            Err(Error::Many(errors))
        }
    }
}

/// Conditions on different arguments must all hold. As soon as one argument has several, each
/// condition becomes an alternative of its own: profiles of old runc versions rely on it.
fn read_alternatives(index: usize, args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Condition>>, Error> {
    let mut errors = Vec::new();
    let mut conditions = Vec::with_capacity(args.len());
    let mut seen = [false; 6];
    let mut repeated = false;
    for (place, arg) in args.iter().enumerate() {
        let Some(seen) = seen.get_mut(arg.index()) else {
            errors.push(Error::ArgumentIndex {
                path: format!("syscalls[{index}].args[{place}].index"),
                value: arg.index(),
            });
            continue;
        };
        repeated |= std::mem::replace(seen, true);
        conditions.push(read_condition(arg));
    }
    Error::all(errors)?;
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
    let (base, most) = match kind {
        LinuxSeccompAction::ScmpActErrno => (0x0005_0000, MAX_ERRNO),
        LinuxSeccompAction::ScmpActTrace => (0x7ff0_0000, MAX_TRACE),
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
    if code > most {
        return Err(Error::LargeErrno { path: path(), value: code, most });
    }
    Ok(base | code)
}

fn read_architectures(
    profile: &LinuxSeccomp,
    native: Architecture,
) -> Result<Vec<Architecture>, Error> {
    let mut errors = Vec::new();
    let mut architectures = vec![native];
    for (index, arch) in profile.architectures().iter().flatten().enumerate() {
        let path = || format!("architectures[{index}]");
        let architecture = match arch {
            oci_spec::runtime::Arch::ScmpArchNative => Some(native),
            other => Architecture::from_spec(*other),
        };
        let Some(architecture) = architecture else {
            errors.push(Error::UnknownArchitecture { path: path(), name: arch.to_string() });
            continue;
        };
        if architecture.big_endian() != native.big_endian() {
            errors.push(Error::ByteOrder {
                path: path(),
                name: architecture.name(),
                native: native.name(),
            });
        }
        if !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    Error::all(errors).map(|()| architectures)
}

/// No list of flags means SPEC_ALLOW, an empty one none.
fn read_flags(profile: &LinuxSeccomp, notify: bool) -> u32 {
    let mut bits = if notify { FLAG_NEW_LISTENER } else { 0 };
    let Some(flags) = profile.flags() else { return bits | FLAG_SPEC_ALLOW };
    for flag in flags {
        bits |= match flag {
            // Beside a listener, whose descriptor the call answers with, a thread's id can't be the
            // answer of a TSYNC that failed.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync if notify => {
                FLAG_TSYNC | FLAG_TSYNC_ESRCH
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FLAG_TSYNC,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(profile: &Value) -> Result<Profile, Error> {
        read_on(profile, Architecture::X86_64)
    }

    fn read_on(profile: &Value, native: Architecture) -> Result<Profile, Error> {
        Profile::read(&serde_json::from_value(profile.clone()).unwrap(), native)
    }

    fn with_rule(rule: Value) -> Value {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}, rule]})
    }

    fn message(profile: &Value) -> String {
        read(profile).err().unwrap().to_string()
    }

    #[test]
    fn actions_become_the_kernels_values() {
        let cases = [
            ("SCMP_ACT_KILL", None, 0),
            ("SCMP_ACT_KILL_THREAD", None, 0),
            ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
            ("SCMP_ACT_TRAP", None, 0x0003_0000),
            ("SCMP_ACT_ERRNO", None, 0x0005_0001),
            ("SCMP_ACT_ERRNO", Some(38), 0x0005_0026),
            ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
            ("SCMP_ACT_ERRNO", Some(4095), 0x0005_0fff),
            ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
            ("SCMP_ACT_TRACE", Some(0xffff), 0x7ff0_ffff),
            ("SCMP_ACT_LOG", None, 0x7ffc_0000),
            ("SCMP_ACT_ALLOW", None, 0x7fff_0000),
        ];
        for (name, code, value) in cases {
            let profile = read(&json!({"defaultAction": name, "defaultErrnoRet": code})).unwrap();
            assert_eq!(profile.default_action, value, "{name} as default");
            let rule = json!({"names": ["getpid"], "action": name, "errnoRet": code});
            let default = if value == 0 { "SCMP_ACT_TRAP" } else { "SCMP_ACT_KILL" };
            let profile = read(&json!({"defaultAction": default, "syscalls": [rule]})).unwrap();
            assert_eq!(profile.rules[0].action, value, "{name} in a rule");
        }
        let notify = json!({"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"});
        assert_eq!(read(&with_rule(notify)).unwrap().rules[1].action, 0x7fc0_0000);
    }

    #[test]
    fn errors_name_the_place_and_the_value() {
        let getpid = |more: Value| {
            let mut rule = json!({"names": ["getpid"], "action": "SCMP_ACT_KILL"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            with_rule(rule)
        };
        let cases = [
            (
                json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
                "SCMP_ACT_NOTIFY cannot be used as default",
            ),
            (
                getpid(json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"})),
                "syscalls[1].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
            ),
            (getpid(json!({"names": ["a", ""]})), "syscalls[1].names[1]: empty string"),
            (
                getpid(json!({"errnoRet": 7})),
                "syscalls[1].errnoRet: SCMP_ACT_KILL takes no return code, but 7",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 9}),
                "defaultErrnoRet: SCMP_ACT_ALLOW takes no return code, but 9",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
                "defaultErrnoRet: return code 4096 is over 4095",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65536}),
                "defaultErrnoRet: return code 65536 is over 65535",
            ),
            (getpid(json!({"names": []})), "syscalls[1].names: must not be empty"),
            (
                getpid(json!({"args": [
                    {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                    {"index": 6, "value": 1, "op": "SCMP_CMP_EQ"},
                ]})),
                "syscalls[1].args[1].index: a system call has the arguments 0 to 5, not 6",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_M68K"]}),
                "architectures[1]: architecture SCMP_ARCH_M68K is not supported",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}),
                "architectures[0]: architecture SCMP_ARCH_S390X has not the byte order of SCMP_ARCH_X86_64",
            ),
        ];
        for (profile, expected) in cases {
            let message = message(&profile);
            assert!(message.contains(expected), "{message}\n  lacks {expected}");
        }
    }

    #[test]
    fn flags_follow_runc() {
        let flags = |flags: Value, action: &str| {
            let mut profile = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["no_such_call"], "action": action}],
            });
            if !flags.is_null() {
                profile["flags"] = flags;
            }
            let profile = read(&profile).unwrap();
            assert_eq!(profile.notify, action == "SCMP_ACT_NOTIFY");
            profile.flags
        };
        let kill = "SCMP_ACT_KILL";
        let notify = "SCMP_ACT_NOTIFY";
        let killable = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
        assert_eq!(flags(Value::Null, kill), FLAG_SPEC_ALLOW);
        assert_eq!(flags(json!([]), kill), 0);
        let sync = json!(["SECCOMP_FILTER_FLAG_TSYNC"]);
        assert_eq!(flags(sync.clone(), kill), FLAG_TSYNC);
        assert_eq!(flags(sync, notify), FLAG_NEW_LISTENER | FLAG_TSYNC | FLAG_TSYNC_ESRCH);
        assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG"]), kill), FLAG_LOG);
        assert_eq!(
            flags(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]), kill),
            FLAG_SPEC_ALLOW | FLAG_LOG
        );
        assert_eq!(flags(json!([]), notify), FLAG_NEW_LISTENER);
        assert_eq!(flags(json!([killable]), notify), FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV);
        assert_eq!(flags(json!([killable]), kill), 0);
    }

    #[test]
    fn the_native_architecture_is_always_there_and_first() {
        let profile =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"]});
        let read = read_on(&profile, Architecture::Aarch64).unwrap();
        assert_eq!(read.architectures, [Architecture::Aarch64, Architecture::Arm]);
        let profile =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NATIVE"]});
        let read = read_on(&profile, Architecture::S390X).unwrap();
        assert_eq!(read.architectures, [Architecture::S390X]);
    }

    #[test]
    fn several_conditions_on_one_argument_are_alternatives() {
        let arg =
            |index: usize, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
        let alternatives = |args: Value| {
            let rule = json!({"names": ["getpid"], "action": "SCMP_ACT_KILL", "args": args});
            read(&with_rule(rule)).unwrap().rules.remove(1).alternatives
        };
        assert_eq!(alternatives(json!([])), [vec![]]);
        let both = alternatives(json!([arg(1, 5), arg(0, 6)]));
        assert_eq!(both.len(), 1);
        assert_eq!(both[0].iter().map(|c| c.argument).collect::<Vec<_>>(), [0, 1]);
        let each = alternatives(json!([arg(0, 5), arg(0, 6), arg(1, 7)]));
        assert_eq!(each.iter().map(|c| c[0].value).collect::<Vec<_>>(), [5, 6, 7]);
    }
}
