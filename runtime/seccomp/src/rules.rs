//! Second pass: what the rules mean on one architecture.

use crate::{
    Architecture, Error, order,
    profile::{Condition, Operator, Profile},
    tables::Syscall,
};

/// The rules of one system call on one architecture, in the order they are asked.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) verdict: Verdict,
}

/// What happens to a system call.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The same whatever the arguments are.
    Always(u32),
    /// The first rule that matches decides, else the default action.
    ByArguments(Vec<Rule>),
}

/// A rule with conditions that all must hold.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Index of the profile's entry, for errors.
    pub(crate) index: usize,
    pub(crate) action: u32,
    /// Sorted by argument, each at most once; empty matches always.
    pub(crate) conditions: Vec<Condition>,
}

/// The entries of `architecture`, sorted by number, each number once.
pub(crate) fn entries(profile: &Profile, architecture: Architecture) -> Result<Vec<Entry>, Error> {
    let flat = flatten(profile, architecture);
    let mut errors = Vec::new();
    let mut entries = Vec::with_capacity(flat.len());
    for items in flat.chunk_by(|one, next| one.number == next.number) {
        let number = items[0].number;
        let verdict = match items.iter().find(|item| item.always(profile, architecture)) {
            Some(item) => Verdict::Always(profile.rules[item.rule as usize].action),
            None => {
                let rules = items.iter().map(|item| item.rule(profile, architecture)).collect();
                match order::sort(rules, architecture.wide()) {
                    Ok(rules) => Verdict::ByArguments(rules),
                    Err(clash) => {
                        errors.push(Error::Conflict {
                            first: clash.first,
                            second: clash.second,
                            number,
                            architecture: architecture.name(),
                        });
                        continue;
                    }
                }
            }
        };
        entries.push(Entry { number, verdict });
    }
    Error::all(errors).map(|()| entries)
}

/// One alternative of one rule for one number. There are hundreds in a profile, most without
/// conditions: what the rule asks is looked up, not copied.
struct Item {
    number: u32,
    /// The place of the rule among the profile's, and of the alternative in it.
    rule: u32,
    alternative: u32,
    /// The multiplexing call's first argument.
    call: Option<u8>,
}

impl Item {
    /// What is asked of the arguments that this architecture can tell apart.
    fn conditions<'a>(
        &self,
        profile: &'a Profile,
        architecture: Architecture,
    ) -> impl Iterator<Item = Condition> + 'a {
        let which = self.call.map(|call| Condition {
            argument: 0,
            operator: Operator::Equal,
            mask: u64::MAX,
            value: call.into(),
        });
        let all = &profile.rules[self.rule as usize].alternatives[self.alternative as usize];
        // The call's number takes the place of a condition on the first argument. The other
        // conditions stay, as libseccomp leaves them, though they now see the multiplexing call's
        // arguments.
        let is_multiplexed = which.is_some();
        let rest = narrow(all, architecture).filter(move |c| !is_multiplexed || c.argument != 0);
        which.into_iter().chain(rest)
    }

    fn always(&self, profile: &Profile, architecture: Architecture) -> bool {
        self.conditions(profile, architecture).next().is_none()
    }

    fn rule(&self, profile: &Profile, architecture: Architecture) -> Rule {
        let rule = &profile.rules[self.rule as usize];
        let conditions = self.conditions(profile, architecture).collect();
        Rule { index: rule.index, action: rule.action, conditions }
    }
}

/// The highest number that the profile names, whatever the rule says. Calls that are reached
/// through socketcall(2) or ipc(2) do not count, though they may have a number of their own:
/// runc asks libseccomp, which answers with a pseudo number for these.
pub(crate) fn highest(profile: &Profile, architecture: Architecture) -> Option<u32> {
    let direct =
        |syscall: &&Syscall| !architecture.multiplexed() || syscall.multiplexed().is_none();
    let numbers = profile.named.iter().filter(direct).filter_map(|call| architecture.number(*call));
    numbers.max().filter(|number| *number != 0)
}

/// One item for each number, rule and alternative, sorted by number; those of one number are in the
/// profile's order.
fn flatten(profile: &Profile, architecture: Architecture) -> Vec<Item> {
    let mut flat = Vec::with_capacity(profile.named.len());
    for (place, rule) in profile.rules.iter().enumerate() {
        for syscall in &rule.syscalls {
            let number = architecture.number(*syscall);
            let through = through(*syscall, architecture);
            for alternative in 0..rule.alternatives.len() {
                let mut push = |number, call| {
                    let (rule, alternative) = (place as u32, alternative as u32);
                    flat.push(Item { number, rule, alternative, call });
                };
                if let Some((number, call)) = through {
                    push(number, Some(call));
                }
                if let Some(number) = number {
                    push(number, None);
                }
            }
        }
    }
    flat.sort_by_key(|item| item.number);
    flat
}

/// The number of the multiplexing call, and its first argument for this system call.
fn through(syscall: Syscall, architecture: Architecture) -> Option<(u32, u8)> {
    if !architecture.multiplexed() {
        return None;
    }
    let multiplexed = syscall.multiplexed()?;
    let number = architecture.number(Syscall::find(multiplexed.through)?)?;
    Some((number, multiplexed.call))
}

/// Cuts conditions to the word size, and leaves out those that look at no bit.
fn narrow(
    conditions: &[Condition],
    architecture: Architecture,
) -> impl Iterator<Item = Condition> + '_ {
    let word = if architecture.wide() { u64::MAX } else { u64::from(u32::MAX) };
    let cut = move |condition: &Condition| Condition {
        mask: condition.mask & word,
        value: condition.value & word,
        ..*condition
    };
    conditions.iter().map(cut).filter(|condition| condition.mask != 0)
}
