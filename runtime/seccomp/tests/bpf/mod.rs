//! An interpreter of the classic BPF that seccomp allows, as strict as the kernel's checker.

use seccomp::Instruction;
use std::collections::BTreeSet;

/// What a filter sees of a system call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    pub number: u32,
    pub audit: u32,
    pub args: [u64; 6],
    /// Byte order in which the arguments' halves lie.
    pub big_endian: bool,
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < 64, "load at {offset}");
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => panic!("no rule asks for the instruction pointer"),
            _ => {
                let arg = self.args[(offset as usize - 16) / 8];
                let first = offset.is_multiple_of(8);
                if first == self.big_endian { (arg >> 32) as u32 } else { arg as u32 }
            }
        }
    }
}

/// Runs a program; panics on what the kernel would refuse.
pub fn run(program: &[Instruction], call: &Call) -> u32 {
    trace(program, call, |_| ())
}

/// Runs a program, and shows the index of every instruction on the way.
pub fn trace(program: &[Instruction], call: &Call, mut visit: impl FnMut(usize)) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        visit(at);
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |condition: bool| at += usize::from(if condition { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return k,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

/// The instructions that use the accumulator, but do not always find the same word in it, or
/// find the architecture and compare it with none of `audits`: no compiler means that.
pub fn confused(program: &[Instruction], audits: &[u32]) -> Vec<bool> {
    let mut found = vec![BTreeSet::new(); program.len()];
    for (at, instruction) in program.iter().enumerate() {
        let here: BTreeSet<(u32, u32)> = found[at].clone();
        let next = match instruction.code {
            0x20 => BTreeSet::from([(instruction.k, u32::MAX)]),
            0x54 => here.iter().map(|(offset, mask)| (*offset, mask & instruction.k)).collect(),
            _ => here,
        };
        let ways = match instruction.code {
            0x06 => vec![],
            0x05 => vec![instruction.k as usize],
            0x20 | 0x54 => vec![0],
            _ => vec![usize::from(instruction.jt), usize::from(instruction.jf)],
        };
        ways.into_iter().for_each(|way| found[at + 1 + way].extend(&next));
    }
    let uses = |at: usize| !matches!(program[at].code, 0x20 | 0x06 | 0x05);
    let arch = BTreeSet::from([(4, u32::MAX)]);
    let astray = |at: usize| found[at] == arch && !audits.contains(&program[at].k);
    (0..program.len()).map(|at| uses(at) && (found[at].len() > 1 || astray(at))).collect()
}

/// The kernel's static checks: length, jumps inside the program, a return at the end.
pub fn check(program: &[Instruction]) {
    assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
    assert_eq!(program[program.len() - 1].code, 0x06, "the last instruction is no return");
    for (at, instruction) in program.iter().enumerate() {
        let furthest = match instruction.code {
            0x05 => instruction.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => usize::from(instruction.jt.max(instruction.jf)),
            0x20 | 0x54 => 0,
            0x06 => continue,
            code => panic!("instruction {code:#x}"),
        };
        assert!(at + 1 + furthest < program.len(), "instruction {at} jumps out");
    }
}
