//! Assembles device rules into the eBPF program that stands for v1's devices controller on v2.
//!
//! The kernel runs it on each open and mknod with `struct bpf_cgroup_dev_ctx`: the kind of node and
//! the accesses asked for, the major and the minor. It answers 1 to allow, 0 to deny.
//!
//! The rules are tried from the last to the first. Each takes the accesses that it allows off those
//! still open, and denies as soon as one it denies is among them; nothing left open is allowed.
//! Neighbours that share a kind or a major are tested for it together: loading the program takes the
//! kernel's verifier some microseconds a branch, most of what making a v2 cgroup costs.

use super::{Access, Kind, Nodes, Rule, Target};

/// The answer, and scratch before it is known.
const R0: u8 = 0;
/// The context, as the kernel passes it.
const CONTEXT: u8 = 1;
/// The kind of node.
const KIND: u8 = 2;
/// The accesses no rule has decided yet.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Operations, from the kernel's `linux/bpf.h`: class, size or operation, and source.
mod op {
    pub const LOAD_WORD: u8 = 0x61;
    pub const MOV: u8 = 0xb4;
    pub const MOV_REGISTER: u8 = 0xbc;
    pub const AND: u8 = 0x54;
    pub const SHIFT_RIGHT: u8 = 0x74;
    pub const JUMP: u8 = 0x05;
    /// The 32-bit comparisons (kernel 5.1): a 64-bit one would extend the sign of a large number.
    pub const JUMP_NOT_EQUAL: u8 = 0x56;
    pub const JUMP_ANY_BIT: u8 = 0x46;
    pub const EXIT: u8 = 0x95;
}

/// `BPF_DEVCG_DEV_*`.
fn number(kind: Kind) -> i32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

/// The program for these rules; what none of them is about is denied.
pub(crate) fn assemble(rules: &[Rule]) -> Vec<u64> {
    // A rule for everything leaves nothing of those before it.
    let last = rules.iter().rposition(|rule| rule.target == Target::All);
    let (default, rules) = match last {
        Some(index) => (rules[index].allow, &rules[index + 1..]),
        None => (false, rules),
    };
    let mut program = vec![
        load(OPEN, 0),
        instruction(op::MOV_REGISTER, KIND, OPEN, 0, 0),
        instruction(op::AND, KIND, 0, 0, 0xffff),
        instruction(op::SHIFT_RIGHT, OPEN, 0, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
        // So that to allow is to exit.
        mov(1),
    ];
    let nodes = |rule: &Rule| match rule.target {
        Target::Nodes(nodes) => Some(Test { allow: rule.allow, kind: Some(nodes.kind), nodes }),
        Target::All => None,
    };
    let tests = both_kinds(rules.iter().rev().filter_map(nodes));
    if group(&tests, &LEVELS, &mut program) == Flow::RunsOn {
        if !default {
            program.push(mov(0));
        }
        program.push(exit());
    }
    program
}

/// One rule, to be tested.
struct Test {
    allow: bool,
    /// Absent for nodes of both kinds.
    kind: Option<Kind>,
    nodes: Nodes,
}

/// Takes neighbours together that differ in nothing but the kind of node.
fn both_kinds(tests: impl Iterator<Item = Test>) -> Vec<Test> {
    let mut merged: Vec<Test> = Vec::new();
    for test in tests {
        match merged.last_mut() {
            Some(last)
                if last.allow == test.allow
                    && last.nodes == (Nodes { kind: last.nodes.kind, ..test.nodes }) =>
            {
                if last.kind != test.kind {
                    last.kind = None;
                }
            }
            _ => merged.push(test),
        }
    }
    merged
}

/// What is tested, one after the other: a register, and the value a rule wants in it, if any.
type Level = (u8, fn(&Test) -> Option<i32>);

const LEVELS: [Level; 3] = [
    (KIND, |test| test.kind.map(number)),
    (MAJOR, |test| test.nodes.major.map(u32::cast_signed)),
    (MINOR, |test| test.nodes.minor.map(u32::cast_signed)),
];

/// The most rules that one jump leads past: its offset has 15 bits, and a rule at most 7
/// instructions.
const GROUP: usize = 4000;

/// Where a piece of code leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// To its end, with the requests that it does not decide.
    RunsOn,
    /// Nowhere: it decides all. The verifier refuses code that nothing leads to, so none may follow.
    Ends,
}

/// Appends the code for rules of which the outer levels are tested already.
fn group(tests: &[Test], levels: &[Level], code: &mut Vec<u64>) -> Flow {
    let Some(((register, wanted), inner)) = levels.split_first() else {
        let last = tests.iter().position(|test| test.nodes.access == Access::ALL);
        code.extend(tests.iter().take(last.map_or(tests.len(), |last| last + 1)).flat_map(verdict));
        return if last.is_some() { Flow::Ends } else { Flow::RunsOn };
    };
    for run in tests.chunk_by(|a, b| wanted(a) == wanted(b)).flat_map(|run| run.chunks(GROUP)) {
        let Some(value) = run.first().and_then(wanted) else {
            match group(run, inner, code) {
                Flow::Ends => return Flow::Ends,
                Flow::RunsOn => continue,
            }
        };
        let mut body = Vec::new();
        group(run, inner, &mut body);
        code.push(instruction(op::JUMP_NOT_EQUAL, *register, 0, body.len() as i16, value));
        code.extend(body);
    }
    Flow::RunsOn
}

/// What a rule says of a request for its nodes.
fn verdict(test: &Test) -> Vec<u64> {
    let bits = i32::from(test.nodes.access.0);
    match (test.allow, test.nodes.access == Access::ALL) {
        (true, true) => vec![exit()],
        (true, false) => vec![
            instruction(op::AND, OPEN, 0, 0, !bits & 0x7),
            instruction(op::JUMP_NOT_EQUAL, OPEN, 0, 1, 0),
            exit(),
        ],
        (false, true) => vec![mov(0), exit()],
        (false, false) => vec![
            instruction(op::JUMP_ANY_BIT, OPEN, 0, 1, bits),
            instruction(op::JUMP, 0, 0, 2, 0),
            mov(0),
            exit(),
        ],
    }
}

fn load(register: u8, offset: i16) -> u64 {
    instruction(op::LOAD_WORD, register, CONTEXT, offset, 0)
}

fn mov(answer: i32) -> u64 {
    instruction(op::MOV, R0, 0, 0, answer)
}

fn exit() -> u64 {
    instruction(op::EXIT, 0, 0, 0, 0)
}

/// `struct bpf_insn`, as the bytes lie in memory on this machine.
fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

#[cfg(test)]
mod tests;
