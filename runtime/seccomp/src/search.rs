//! Balanced binary search over spans of the accumulator's values.

use crate::assembly::{Assembler, Jump, Label};

/// Where a span of values leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Ends the program with an action.
    Return(u32),
    /// Goes on with other code.
    Code(Label),
}

/// The values from `start` up to the next span's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) target: Target,
}

/// Adds a span, or lets the last one go on if it leads to the same target.
pub(crate) fn append(spans: &mut Vec<Span>, start: u32, target: Target) {
    match spans.last_mut() {
        Some(last) if last.target == target => {}
        Some(last) if last.start == start => {
            last.target = target;
            if let [.., before, last] = spans[..]
                && before.target == last.target
            {
                spans.pop();
            }
        }
        _ => spans.push(Span { start, target }),
    }
}

/// Writes the search. `spans` is sorted, and its first span takes all lower values too.
pub(crate) fn assemble(assembler: &mut Assembler, spans: &[Span]) -> Label {
    match spans {
        [] => assembler.ret(crate::profile::KILL_THREAD),
        [span] => leaf(assembler, span.target),
        // A single value in the middle of a span takes one comparison, not two.
        [around, one, after] if around.target == after.target && after.start - one.start == 1 => {
            let no = leaf(assembler, around.target);
            let yes = leaf(assembler, one.target);
            assembler.branch(Jump::Equal, one.start, yes, no)
        }
        _ => {
            let (low, high) = spans.split_at(spans.len() / 2);
            let start = high[0].start;
            let high = assemble(assembler, high);
            let low = assemble(assembler, low);
            assembler.branch(Jump::GreaterOrEqual, start, high, low)
        }
    }
}

fn leaf(assembler: &mut Assembler, target: Target) -> Label {
    match target {
        Target::Return(action) => assembler.ret(action),
        Target::Code(label) => label,
    }
}
