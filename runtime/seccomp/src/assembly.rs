//! Instructions and jump distances.
//!
//! Code is laid down from its end to its beginning: when a jump is written, its target already
//! is, so a jump that reaches too far gets its stepping stone on the spot.

use crate::Instruction;

const LD_W_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// Offset of the system call number in `struct seccomp_data`.
pub(crate) const NUMBER: u32 = 0;
/// Offset of the architecture.
pub(crate) const ARCHITECTURE: u32 = 4;
/// Offset of the arguments, eight bytes each.
pub(crate) const ARGUMENTS: u32 = 16;

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// Conditions on the accumulator; unsigned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Jump {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// A place in the code: the number of instructions that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// The code so far, last instruction first.
#[derive(Default)]
pub(crate) struct Assembler {
    reversed: Vec<Instruction>,
    /// The nearest return of each action.
    returns: Vec<(u32, Label)>,
    /// Stepping stones: where to, and where they are.
    stones: Vec<(Label, Label)>,
}

impl Assembler {
    /// A return of `action`; one that is there already, if there is one.
    pub(crate) fn ret(&mut self, action: u32) -> Label {
        match self.returns.iter().find(|(known, _)| *known == action) {
            Some((_, label)) => *label,
            None => self.new_ret(action),
        }
    }

    /// Loads a word of `struct seccomp_data`, then goes on at `next`.
    pub(crate) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.settle(next);
        self.push(Instruction { code: LD_W_ABS, k: offset, ..Instruction::default() })
    }

    /// Keeps the accumulator's bits in `mask`, then goes on at `next`.
    pub(crate) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.settle(next);
        self.push(Instruction { code: AND_K, k: mask, ..Instruction::default() })
    }

    /// Goes to `yes` or `no` by the accumulator.
    pub(crate) fn branch(&mut self, jump: Jump, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        // A stepping stone for `no` would put `yes` one instruction further off.
        let yes = self.reach(yes, 1);
        let no = self.reach(no, 0);
        let (jt, jf) = (self.distance(yes), self.distance(no));
        self.push(Instruction { code: jump as u16, jt: jt as u8, jf: jf as u8, k })
    }

    /// The program that begins at `entry`.
    pub(crate) fn finish(mut self, entry: Label) -> Vec<Instruction> {
        self.settle(entry);
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len() - 1)
    }

    /// Instructions that a jump written now skips to get to `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0 - 1
    }

    /// A place within reach, even after `more` instructions, that leads to `label`.
    fn reach(&mut self, label: Label, more: usize) -> Label {
        if self.distance(label) + more <= REACH {
            return label;
        }
        let target = self.reversed[label.0];
        if target.code == RET_K {
            let near = self.ret(target.k);
            return if self.distance(near) + more <= REACH { near } else { self.new_ret(target.k) };
        }
        if let Some((_, stone)) = self.stones.iter().rev().find(|(to, _)| *to == label)
            && self.distance(*stone) + more <= REACH
        {
            return *stone;
        }
        let stone = self.jump(label);
        self.stones.push((label, stone));
        stone
    }

    /// Makes the next instruction written fall through to `label`.
    fn settle(&mut self, label: Label) {
        if label.0 + 1 == self.reversed.len() {
            return;
        }
        let target = self.reversed[label.0];
        if target.code == RET_K {
            self.new_ret(target.k);
        } else {
            self.jump(label);
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        let k = self.distance(label) as u32;
        self.push(Instruction { code: JA, k, ..Instruction::default() })
    }

    fn new_ret(&mut self, action: u32) -> Label {
        let label = self.push(Instruction { code: RET_K, k: action, ..Instruction::default() });
        self.returns.retain(|(known, _)| *known != action);
        self.returns.push((action, label));
        label
    }
}
