//! Assembles device rules into the eBPF program that stands for v1's devices controller on v2.
//!
//! The kernel runs it on each open and mknod with `struct bpf_cgroup_dev_ctx`: the kind of node and
//! the accesses asked for, the major and the minor. It answers 1 to allow, 0 to deny.
//!
//! The rules are tried from the last to the first. Each takes the accesses that it allows off those
//! still open, and denies as soon as one it denies is among them; nothing left open is allowed.

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
    for rule in rules.iter().rev() {
        if let Target::Nodes(nodes) = rule.target {
            test(&mut program, nodes, rule.allow);
        }
    }
    if !default {
        program.push(mov(0));
    }
    program.push(exit());
    program
}

/// Appends the test of one rule; the code after it is for the requests it does not decide.
fn test(program: &mut Vec<u64>, nodes: Nodes, allow: bool) {
    let bits = i32::from(nodes.access.0);
    let verdict = match (allow, nodes.access == Access::ALL) {
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
    };
    let conditions: Vec<_> = [
        Some((KIND, number(nodes.kind))),
        nodes.major.map(|major| (MAJOR, major.cast_signed())),
        nodes.minor.map(|minor| (MINOR, minor.cast_signed())),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (index, (register, value)) in conditions.iter().enumerate() {
        let skip = (conditions.len() - index - 1 + verdict.len()) as i16;
        program.push(instruction(op::JUMP_NOT_EQUAL, *register, 0, skip, *value));
    }
    program.extend(verdict);
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
