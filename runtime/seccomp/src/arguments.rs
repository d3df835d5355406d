//! Code for the rules of one system call that look at arguments.

use crate::assembly::{ARGUMENTS, Assembler, Jump, Label};
use crate::profile::{Condition, Operator};
use crate::rules::Rule;
use crate::search::{self, Target};

/// How arguments lie in `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Compared as 64 bits, else only the low half counts.
    pub(crate) wide: bool,
    /// The high half comes first.
    pub(crate) big_endian: bool,
}

impl Layout {
    fn low(self, argument: u8) -> u32 {
        ARGUMENTS + 8 * u32::from(argument) + if self.big_endian { 4 } else { 0 }
    }

    fn high(self, argument: u8) -> u32 {
        ARGUMENTS + 8 * u32::from(argument) + if self.big_endian { 0 } else { 4 }
    }
}

/// Writes code that answers with the first rule that matches, else with `default_action`.
pub(crate) fn assemble(
    assembler: &mut Assembler,
    rules: &[Rule],
    default_action: u32,
    layout: Layout,
) -> Label {
    match single_argument(rules) {
        Some(argument) => assemble_search(assembler, argument, rules, default_action, layout),
        None => assemble_list(assembler, rules, default_action, layout),
    }
}

/// The one argument that all rules compare, if it is so and no bits are masked.
fn single_argument(rules: &[Rule]) -> Option<u8> {
    let only = |rule: &Rule| match rule.conditions[..] {
        [condition] if condition.operator != Operator::Masked => Some(condition.argument),
        _ => None,
    };
    let first = only(rules.first()?)?;
    rules.iter().all(|rule| only(rule) == Some(first)).then_some(first)
}

/// Rules on one argument cut its values into spans, which are searched.
fn assemble_search(
    assembler: &mut Assembler,
    argument: u8,
    rules: &[Rule],
    default_action: u32,
    layout: Layout,
) -> Label {
    let last = if layout.wide { u64::MAX } else { u64::from(u32::MAX) };
    let mut starts = vec![0];
    for rule in rules {
        let value = rule.conditions[0].value;
        starts.push(value);
        starts.extend((value < last).then(|| value + 1));
    }
    starts.sort_unstable();
    starts.dedup();
    let decide = |value: u64| {
        let rule = rules.iter().find(|rule| rule.conditions[0].holds(value));
        rule.map_or(default_action, |rule| rule.action)
    };
    let actions = starts.iter().map(|start| (*start, decide(*start))).collect::<Vec<_>>();

    if !layout.wide {
        let code = assemble_low(assembler, &actions);
        return assembler.load(layout.low(argument), code);
    }
    let mut spans = Vec::new();
    let mut before = default_action;
    let by_high = |a: &(u64, u32), b: &(u64, u32)| a.0 >> 32 == b.0 >> 32;
    for group in actions.chunk_by(by_high) {
        let high = (group[0].0 >> 32) as u32;
        let after = group[group.len() - 1].1;
        let mut group = group.to_vec();
        if group[0].0 as u32 != 0 {
            group.insert(0, (u64::from(high) << 32, before));
        }
        if group.iter().all(|(_, action)| *action == after) {
            search::append(&mut spans, high, Target::Return(after));
        } else {
            let code = assemble_low(assembler, &group);
            let code = assembler.load(layout.low(argument), code);
            search::append(&mut spans, high, Target::Code(code));
            if let Some(next) = high.checked_add(1) {
                search::append(&mut spans, next, Target::Return(after));
            }
        }
        before = after;
    }
    let code = search::assemble(assembler, &spans);
    assembler.load(layout.high(argument), code)
}

/// Searches the low half of values that have their high half in common.
fn assemble_low(assembler: &mut Assembler, actions: &[(u64, u32)]) -> Label {
    let mut spans = Vec::with_capacity(actions.len());
    for (start, action) in actions {
        search::append(&mut spans, *start as u32, Target::Return(*action));
    }
    search::assemble(assembler, &spans)
}

/// Asks one rule after the other.
fn assemble_list(
    assembler: &mut Assembler,
    rules: &[Rule],
    default_action: u32,
    layout: Layout,
) -> Label {
    let mut next = assembler.ret(default_action);
    for rule in rules.iter().rev() {
        let mut code = assembler.ret(rule.action);
        for condition in rule.conditions.iter().rev() {
            code = assemble_condition(assembler, condition, code, next, layout);
        }
        next = code;
    }
    next
}

/// Goes to `yes` if the condition holds, else to `no`.
fn assemble_condition(
    assembler: &mut Assembler,
    condition: &Condition,
    yes: Label,
    no: Label,
    layout: Layout,
) -> Label {
    let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
    let (low_mask, high_mask) = (condition.mask as u32, (condition.mask >> 32) as u32);
    let (low_at, high_at) = (layout.low(condition.argument), layout.high(condition.argument));
    let (yes, no, inner) = match condition.operator {
        Operator::Equal | Operator::Masked => (yes, no, Jump::Equal),
        Operator::NotEqual => (no, yes, Jump::Equal),
        Operator::Greater => (yes, no, Jump::Greater),
        Operator::GreaterOrEqual => (yes, no, Jump::GreaterOrEqual),
        Operator::Less => (no, yes, Jump::GreaterOrEqual),
        Operator::LessOrEqual => (no, yes, Jump::Greater),
    };
    let mut code = yes;
    if low_mask != 0 {
        code = assembler.branch(inner, low, code, no);
        code = masked_load(assembler, low_at, low_mask, code);
    }
    if !layout.wide || high_mask == 0 {
        return code;
    }
    code = match inner {
        Jump::Equal => assembler.branch(Jump::Equal, high, code, no),
        Jump::Greater | Jump::GreaterOrEqual => {
            let equal = assembler.branch(Jump::Equal, high, code, no);
            assembler.branch(Jump::Greater, high, yes, equal)
        }
    };
    masked_load(assembler, high_at, high_mask, code)
}

fn masked_load(assembler: &mut Assembler, offset: u32, mask: u32, next: Label) -> Label {
    let next = if mask == u32::MAX { next } else { assembler.and(mask, next) };
    assembler.load(offset, next)
}

impl Condition {
    /// Whether the condition holds for an argument.
    fn holds(&self, argument: u64) -> bool {
        let bits = argument & self.mask;
        match self.operator {
            Operator::Equal | Operator::Masked => bits == self.value,
            Operator::NotEqual => bits != self.value,
            Operator::Less => bits < self.value,
            Operator::LessOrEqual => bits <= self.value,
            Operator::Greater => bits > self.value,
            Operator::GreaterOrEqual => bits >= self.value,
        }
    }
}
