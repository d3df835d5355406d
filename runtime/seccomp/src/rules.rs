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
    let mut flat = flatten(profile, architecture);
    // A stable sort: rules of one number stay in the profile's order.
    flat.sort_by_key(|(number, _)| *number);
    let mut errors = Vec::new();
    let mut entries = Vec::with_capacity(flat.len());
    let mut flat = flat.into_iter().peekable();
    while let Some((number, rule)) = flat.next() {
        let mut rules = vec![rule];
        while let Some((_, rule)) = flat.next_if(|next| next.0 == number) {
            rules.push(rule);
        }
        let verdict = match rules.iter().find(|rule| rule.conditions.is_empty()) {
            Some(rule) => Verdict::Always(rule.action),
            None => match order::sort(rules, architecture.wide()) {
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
            },
        };
        entries.push(Entry { number, verdict });
    }
    Error::all(errors).map(|()| entries)
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

/// One item for each number, rule and alternative.
fn flatten(profile: &Profile, architecture: Architecture) -> Vec<(u32, Rule)> {
    let mut flat = Vec::with_capacity(profile.named.len());
    for rule in &profile.rules {
        for syscall in &rule.syscalls {
            for conditions in &rule.alternatives {
                let conditions = narrow(conditions, architecture);
                let mut push = |number, conditions| {
                    flat.push((number, Rule { index: rule.index, action: rule.action, conditions }))
                };
                if let Some((number, call)) = through(*syscall, architecture) {
                    push(number, with_call(&conditions, call));
                }
                if let Some(number) = architecture.number(*syscall) {
                    push(number, conditions);
                }
            }
        }
    }
    flat
}

/// The number of the multiplexing call, and its first argument for this system call.
fn through(syscall: Syscall, architecture: Architecture) -> Option<(u32, u64)> {
    if !architecture.multiplexed() {
        return None;
    }
    let multiplexed = syscall.multiplexed()?;
    let number = architecture.number(Syscall::find(multiplexed.through)?)?;
    Some((number, multiplexed.call))
}

/// The call's number takes the place of a condition on the first argument. The other conditions
/// stay, as libseccomp leaves them, though they now see the multiplexing call's arguments.
fn with_call(conditions: &[Condition], call: u64) -> Vec<Condition> {
    let which = Condition { argument: 0, operator: Operator::Equal, mask: u64::MAX, value: call };
    let rest = conditions.iter().copied().filter(|condition| condition.argument != 0);
    std::iter::once(which).chain(rest).collect()
}

/// Cuts conditions to the word size, and leaves out those that look at no bit.
fn narrow(conditions: &[Condition], architecture: Architecture) -> Vec<Condition> {
    let word = if architecture.wide() { u64::MAX } else { u64::from(u32::MAX) };
    let cut = |condition: &Condition| Condition {
        mask: condition.mask & word,
        value: condition.value & word,
        ..*condition
    };
    conditions.iter().map(cut).filter(|condition| condition.mask != 0).collect()
}
