//! What a profile means for one call, read off the specification without any compiling:
//! a second opinion where libseccomp and we differ.

use crate::bpf::Call;
use crate::oracle::{self, Oracle};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator};
use seccomp::Architecture;
use std::collections::{BTreeMap, BTreeSet};

/// Pseudo numbers below this are calls that some other architecture has.
const MISSING: i64 = -10_000;

/// The rules of a profile by audit value and number.
pub struct Meaning {
    default: u32,
    rules: BTreeMap<(u32, u32), Vec<Rule>>,
    architectures: Vec<Architecture>,
}

struct Rule {
    action: u32,
    /// socketcall(2)'s or ipc(2)'s first argument, in place of a condition on it.
    call: Option<u64>,
    args: Vec<LinuxSeccompArg>,
}

impl Meaning {
    pub fn new(oracle: &mut Oracle, profile: &LinuxSeccomp, family: &[Architecture]) -> Meaning {
        let default = oracle::action(profile.default_action(), profile.default_errno_ret());
        let mut rules: BTreeMap<_, Vec<Rule>> = BTreeMap::new();
        for architecture in family {
            let direct = oracle.direct_numbers(*architecture);
            let multiplexers = oracle.numbers(*architecture, &["socketcall", "ipc"]);
            for entry in profile.syscalls().iter().flatten() {
                let action = oracle::action(entry.action(), entry.errno_ret());
                if action == default {
                    continue;
                }
                let names = entry.names().iter().map(String::as_str).collect::<Vec<_>>();
                let numbers = oracle.numbers(*architecture, &names);
                let args = entry.args().clone().unwrap_or_default();
                let repeated = (0..6).any(|i| args.iter().filter(|a| a.index() == i).count() > 1);
                let sets =
                    if repeated { args.iter().map(|a| vec![*a]).collect() } else { vec![args] };
                for (name, args) in names.iter().flat_map(|n| sets.iter().map(move |s| (n, s))) {
                    let mut add = |number: i64, call| {
                        let key = (architecture.audit(), number as u32);
                        let rule = Rule { action, call, args: args.clone() };
                        rules.entry(key).or_default().push(rule);
                    };
                    match numbers[*name] {
                        number if number >= 0 => add(number, None),
                        number if number > MISSING && number < -1 => {
                            let through = if number > -200 { "socketcall" } else { "ipc" };
                            add(multiplexers[through], Some(-number as u64 % 100));
                            if let Some(number) = direct.get(*name) {
                                add(*number, None);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Meaning { default, rules, architectures: family.to_vec() }
    }

    /// The actions of the rules that match; the default action if none does.
    pub fn actions(&self, call: &Call) -> BTreeSet<u32> {
        let x32 = call.number >= 0x4000_0000;
        let serves = |a: &&Architecture| {
            a.audit() == call.audit
                && match a {
                    Architecture::X86_64 => !x32 || call.number == u32::MAX,
                    Architecture::X32 => x32,
                    _ => true,
                }
        };
        let Some(architecture) = self.architectures.iter().find(serves) else {
            return BTreeSet::from([0]);
        };
        let narrow = matches!(
            architecture,
            Architecture::X86
                | Architecture::X32
                | Architecture::Arm
                | Architecture::Mips
                | Architecture::Mipsel
                | Architecture::Mips64N32
                | Architecture::Mipsel64N32
                | Architecture::Ppc
                | Architecture::S390
        );
        let word = if narrow { u64::from(u32::MAX) } else { u64::MAX };
        let rules = self.rules.get(&(call.audit, call.number)).map_or(&[][..], Vec::as_slice);
        let blind = |arg: &LinuxSeccompArg| {
            arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq && arg.value() & word == 0
        };
        let free = |rule: &&Rule| rule.call.is_none() && rule.args.iter().all(blind);
        if let Some(rule) = rules.iter().find(free) {
            return BTreeSet::from([rule.action]);
        }
        let matching = rules.iter().filter(|rule| rule.matches(call, word));
        let actions = matching.map(|rule| rule.action).collect::<BTreeSet<_>>();
        if actions.is_empty() { BTreeSet::from([self.default]) } else { actions }
    }
}

impl Rule {
    fn matches(&self, call: &Call, word: u64) -> bool {
        self.call.is_none_or(|number| call.args[0] & word == number)
            && self.args.iter().all(|arg| {
                (self.call.is_some() && arg.index() == 0)
                    || holds(arg, call.args[arg.index()] & word, word)
            })
    }
}

fn holds(arg: &LinuxSeccompArg, seen: u64, word: u64) -> bool {
    let value = arg.value() & word;
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => seen == value,
        LinuxSeccompOperator::ScmpCmpNe => seen != value,
        LinuxSeccompOperator::ScmpCmpLt => seen < value,
        LinuxSeccompOperator::ScmpCmpLe => seen <= value,
        LinuxSeccompOperator::ScmpCmpGt => seen > value,
        LinuxSeccompOperator::ScmpCmpGe => seen >= value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            seen & value == arg.value_two().unwrap_or(0) & value
        }
    }
}
