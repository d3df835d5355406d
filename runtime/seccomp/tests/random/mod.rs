//! Random profiles from a seed.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

/// A small generator (splitmix64); a seed names a profile for ever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// What the profiles look like.
pub struct Shape {
    /// Different actions besides the default.
    pub actions: usize,
    /// Conditions a rule, at most.
    pub conditions: usize,
    /// Rules of a profile, at most.
    pub rules: usize,
    /// Operators to choose from.
    pub operators: &'static [&'static str],
}

pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
];

impl Default for Shape {
    fn default() -> Shape {
        Shape { actions: 1, conditions: 1, rules: 40, operators: &OPERATORS }
    }
}

/// Calls of every kind: plain, multiplexed, missing on some architectures, with odd numbers.
const NAMES: [&str; 24] = [
    "read",
    "write",
    "socket",
    "semop",
    "shmat",
    "accept4",
    "recv",
    "socketcall",
    "ipc",
    "clone",
    "personality",
    "ioctl",
    "execve",
    "preadv2",
    "set_tls",
    "arch_prctl",
    "mmap2",
    "getuid32",
    "faccessat2",
    "futex_waitv",
    "restart_syscall",
    "fstat",
    "setsockopt",
    "clock_gettime64",
];

pub fn profile(random: &mut Random, shape: &Shape) -> LinuxSeccomp {
    let defaults = [
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}),
        json!({"defaultAction": "SCMP_ACT_ALLOW"}),
        json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"}),
        json!({"defaultAction": "SCMP_ACT_KILL"}),
        json!({"defaultAction": "SCMP_ACT_LOG"}),
        json!({"defaultAction": "SCMP_ACT_TRAP"}),
        json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 9}),
    ];
    let mut actions = vec![
        json!({"action": "SCMP_ACT_ALLOW"}),
        json!({"action": "SCMP_ACT_ERRNO"}),
        json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 13}),
        json!({"action": "SCMP_ACT_LOG"}),
        json!({"action": "SCMP_ACT_TRACE", "errnoRet": 5}),
        json!({"action": "SCMP_ACT_KILL_THREAD"}),
        json!({"action": "SCMP_ACT_TRAP"}),
    ];
    while actions.len() > shape.actions {
        let one = random.below(actions.len());
        actions.remove(one);
    }
    let mut profile = random.pick(&defaults).clone();
    let mut values = vec![0, 5, 0x1_0000_0005, u64::MAX];
    for _ in 0..3 {
        values.push(random.next() >> random.below(60));
    }
    let rules = 1 + random.below(shape.rules);
    let syscalls = (0..rules).map(|_| {
        let mut rule = random.pick(&actions).clone();
        let names = (0..1 + random.below(2)).map(|_| *random.pick(&NAMES)).collect::<Vec<_>>();
        rule["names"] = json!(names);
        let count = match random.below(8) {
            0 => 0,
            _ => 1 + random.below(shape.conditions),
        };
        rule["args"] = (0..count).map(|_| condition(random, shape, &values)).collect();
        rule
    });
    profile["syscalls"] = syscalls.collect();
    serde_json::from_value(profile).unwrap()
}

fn condition(random: &mut Random, shape: &Shape, values: &[u64]) -> Value {
    json!({
        "index": random.below(3),
        "op": random.pick(shape.operators),
        "value": random.pick(values),
        "valueTwo": random.pick(values),
    })
}
