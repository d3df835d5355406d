//! Runs the assembled programs in an interpreter, against an evaluator that knows rules only.

use super::*;
use crate::devices::defaults;

/// A request: what the kernel passes to the program.
#[derive(Clone, Copy, Debug)]
struct Request {
    kind: Kind,
    major: u32,
    minor: u32,
    access: Access,
}

/// Runs a program as the kernel would, on the operations that it may have.
fn run(program: &[u64], request: Request) -> bool {
    let context = [
        u32::from(request.access.0) << 16 | number(request.kind).cast_unsigned(),
        request.major,
        request.minor,
    ];
    let mut registers = [None::<u32>; 11];
    let mut at = 0;
    // Every jump leads forward, so a program ends within its length.
    for _ in 0..program.len() {
        let [code, pair, o0, o1, i0, i1, i2, i3] = program[at].to_ne_bytes();
        let (to, from) = if cfg!(target_endian = "little") {
            (usize::from(pair & 15), usize::from(pair >> 4))
        } else {
            (usize::from(pair >> 4), usize::from(pair & 15))
        };
        let offset = i16::from_ne_bytes([o0, o1]);
        let immediate = u32::from_ne_bytes([i0, i1, i2, i3]);
        let read = |register: usize| registers[register].expect("a register that was set");
        let jump = match code {
            0x61 => {
                assert_eq!(from, 1, "only the context is memory");
                registers[to] = Some(context[usize::try_from(offset).unwrap() / 4]);
                false
            }
            0xb4 => {
                registers[to] = Some(immediate);
                false
            }
            0xbc => {
                registers[to] = Some(read(from));
                false
            }
            0x54 => {
                registers[to] = Some(read(to) & immediate);
                false
            }
            0x74 => {
                registers[to] = Some(read(to) >> immediate);
                false
            }
            0x05 => true,
            0x56 => read(to) != immediate,
            0x46 => read(to) & immediate != 0,
            0x95 => return read(0) == 1,
            other => panic!("operation {other:#x}"),
        };
        let skip = if jump { usize::try_from(offset).expect("a jump forward") } else { 0 };
        at += 1 + skip;
    }
    panic!("the program does not end");
}

/// Whether some path leads to every instruction, which the kernel's verifier insists on.
fn all_reachable(program: &[u64]) -> bool {
    let mut reached = vec![false; program.len()];
    reached[0] = true;
    for at in 0..program.len() {
        let [code, _, o0, o1, ..] = program[at].to_ne_bytes();
        let target = at + 1 + usize::try_from(i16::from_ne_bytes([o0, o1])).unwrap();
        let (next, jump) = match code {
            op::EXIT => (false, false),
            op::JUMP => (false, true),
            op::JUMP_NOT_EQUAL | op::JUMP_ANY_BIT => (true, true),
            _ => (true, false),
        };
        if reached[at] && next {
            reached[at + 1] = true;
        }
        if reached[at] && jump {
            reached[target] = true;
        }
    }
    reached.into_iter().all(|one| one)
}

/// The rules' meaning: each access asked for is decided by the last rule about it.
fn evaluate(rules: &[Rule], request: Request) -> bool {
    [1, 2, 4].into_iter().filter(|bit| request.access.0 & bit != 0).all(|bit| {
        let last = rules.iter().rfind(|rule| concerns(rule, request, bit));
        last.is_some_and(|rule| rule.allow)
    })
}

fn concerns(rule: &Rule, request: Request, bit: u8) -> bool {
    match rule.target {
        Target::All => true,
        Target::Nodes(nodes) => {
            nodes.kind == request.kind
                && nodes.major.unwrap_or(request.major) == request.major
                && nodes.minor.unwrap_or(request.minor) == request.minor
                && nodes.access.0 & bit != 0
        }
    }
}

/// xorshift64*: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn kind(&mut self) -> Kind {
        if self.below(2) == 0 { Kind::Block } else { Kind::Char }
    }

    /// Few numbers, so that rules meet; one of them with the highest bit.
    fn number(&mut self) -> u32 {
        [0, 1, 5, 0xffff_fff0][self.below(4) as usize]
    }

    fn access(&mut self) -> Access {
        Access(self.below(7) as u8 + 1)
    }

    fn rule(&mut self) -> Rule {
        let allow = self.below(2) == 0;
        if self.below(12) == 0 {
            return Rule { allow, target: Target::All };
        }
        let major = (self.below(4) != 0).then(|| self.number());
        let minor = (self.below(3) != 0).then(|| self.number());
        let nodes = Nodes { kind: self.kind(), major, minor, access: self.access() };
        Rule { allow, target: Target::Nodes(nodes) }
    }
}

#[test]
fn random_rules_mean_what_the_evaluator_says() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..2000 {
        let rules: Vec<_> = (0..random.below(14)).map(|_| random.rule()).collect();
        let program = assemble(&rules);
        assert!(all_reachable(&program), "{rules:?}");
        for _ in 0..50 {
            let request = Request {
                kind: random.kind(),
                major: random.number(),
                minor: random.number(),
                access: random.access(),
            };
            let expected = evaluate(&rules, request);
            assert_eq!(run(&program, request), expected, "{rules:?} {request:?}");
            if expected { allowed += 1 } else { denied += 1 }
        }
    }
    assert!(allowed > 20_000 && denied > 20_000, "{allowed} allowed, {denied} denied");
}

#[test]
fn the_default_rules_open_only_the_harmless_devices() {
    let mut rules = vec![Rule { allow: false, target: Target::All }];
    rules.extend(defaults());
    let program = assemble(&rules);
    for (kind, major, minor, access, expected) in [
        (Kind::Char, 1, 3, Access::ALL, true),
        (Kind::Char, 136, 7, Access::ALL, true),
        (Kind::Char, 5, 1, Access::READ, false),
        (Kind::Char, 1, 1, Access::READ, false),
        (Kind::Char, 1, 1, Access::MKNOD, true),
        (Kind::Char, 1, 1, Access::ALL, false),
        (Kind::Block, 8, 0, Access::MKNOD, true),
        (Kind::Block, 8, 0, Access::READ, false),
        (Kind::Block, 1, 3, Access::READ, false),
    ] {
        let request = Request { kind, major, minor, access };
        assert_eq!(run(&program, request), expected, "{request:?}");
    }
    // This is verified at every start of a container, and run on every open of a device.
    assert_eq!(program.len(), 31);
}

#[test]
fn nothing_comes_after_rules_that_decide_all() {
    let all = |kind, allow| {
        let nodes = Nodes { kind, major: None, minor: None, access: Access::ALL };
        Rule { allow, target: Target::Nodes(nodes) }
    };
    for allow in [true, false] {
        let mut rules: Vec<_> = defaults().collect();
        rules.extend([all(Kind::Block, allow), all(Kind::Char, allow), all(Kind::Block, allow)]);
        let program = assemble(&rules);
        assert!(all_reachable(&program) && program.len() < 10);
        let request = Request { kind: Kind::Block, major: 8, minor: 0, access: Access::READ };
        assert_eq!(run(&program, request), allow);
    }
}

#[test]
fn many_rules_need_more_than_one_jump() {
    let nodes = |minor| Nodes {
        kind: Kind::Char,
        major: Some(1),
        minor: Some(minor),
        access: Access::READ,
    };
    let rules: Vec<_> = (0..20_000)
        .map(|minor| Rule { allow: minor % 2 == 0, target: Target::Nodes(nodes(minor)) })
        .collect();
    let program = assemble(&rules);
    for (major, minor, expected) in [(1, 0, true), (1, 19_998, true), (1, 7, false), (2, 0, false)]
    {
        let request = Request { kind: Kind::Char, major, minor, access: Access::READ };
        assert_eq!(run(&program, request), expected, "{request:?}");
    }
}

#[test]
fn a_rule_for_everything_drops_those_before_it() {
    let mut random = Random(7);
    let mut rules: Vec<_> = (0..50).map(|_| random.rule()).collect();
    rules.push(Rule { allow: true, target: Target::All });
    assert_eq!(assemble(&rules).len(), assemble(&rules[50..]).len());
    let request = Request { kind: Kind::Block, major: 8, minor: 0, access: Access::ALL };
    assert!(run(&assemble(&rules), request));
    assert!(!run(&assemble(&[]), request));
}
