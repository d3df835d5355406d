//! Our programs against libseccomp's: every system call number, every architecture, edge
//! arguments. runc's ENOSYS stub, which libseccomp does not have, is modelled here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bpf;
mod meaning;
mod oracle;
mod random;

use bpf::Call;
use meaning::Meaning;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction};
use oracle::Oracle;
use random::{Random, Shape};
use seccomp::{Architecture, Instruction, compile_for};
use std::collections::{BTreeMap, BTreeSet};

const ENOSYS: u32 = 0x0005_0026;

/// The native architecture of a kernel and the others it runs.
const FAMILIES: [&[Architecture]; 14] = [
    &[Architecture::X86_64, Architecture::X86, Architecture::X32],
    &[Architecture::X86_64],
    &[Architecture::X86_64, Architecture::X32],
    &[Architecture::X86],
    &[Architecture::Aarch64, Architecture::Arm],
    &[Architecture::Arm],
    &[Architecture::Riscv64],
    &[Architecture::Ppc64Le],
    &[Architecture::Ppc64, Architecture::Ppc],
    &[Architecture::S390X, Architecture::S390],
    &[Architecture::Mips64, Architecture::Mips, Architecture::Mips64N32],
    &[Architecture::Mipsel64, Architecture::Mipsel, Architecture::Mipsel64N32],
    &[Architecture::Mips64N32],
    &[Architecture::Mipsel],
];

#[test]
fn default_profiles_are_libseccomps() {
    let mut oracle = Oracle::start();
    for file in ["docker-default.json", "containers-default.json"] {
        let mut profile = load(file);
        oracle.forget_unknown(&mut profile);
        forget(&mut profile, "map_shadow_stack");
        for family in FAMILIES {
            let mut random = Random::new(7);
            let profile = with_architectures(&profile, family);
            let compared = compare(&mut oracle, &profile, family, &mut random).unwrap();
            println!("{file} on {family:?}: {compared:?}");
            assert!(compared.calls > 2_000);
            assert_eq!((compared.libseccomp_confused, compared.other_order), (0, 0));
        }
    }
}

/// Every second name that libseccomp knows, then the others.
#[test]
fn every_name_has_libseccomps_numbers() {
    let mut oracle = Oracle::start();
    let mut names = BTreeSet::new();
    for architecture in FAMILIES.into_iter().flatten() {
        names.extend(oracle.direct_numbers(*architecture).into_keys());
    }
    names.remove("map_shadow_stack");
    // Shares its pseudo number on x86_64, which the oracle comes from, with switch_endian.
    names.remove("sys_debug_setcontext");
    assert!(names.len() > 450, "{} names", names.len());
    for half in 0..2 {
        let names = names.iter().skip(half).step_by(2).collect::<Vec<_>>();
        let profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
        });
        let profile = serde_json::from_value(profile).unwrap();
        for family in FAMILIES {
            let profile = with_architectures(&profile, family);
            let compared = compare(&mut oracle, &profile, family, &mut Random::new(1)).unwrap();
            assert_eq!((compared.libseccomp_confused, compared.other_order), (0, 0));
        }
    }
}

/// A profile in which all rules say the same: every operator, many rules a system call.
#[test]
fn random_profiles_with_one_action_are_libseccomps() {
    let total = random_profiles(&Shape { actions: 1, conditions: 1, ..Shape::default() }, 50);
    assert_eq!(total.other_order, 0);
}

/// Several conditions a rule.
#[test]
fn random_profiles_with_conjunctions_are_libseccomps() {
    let total = random_profiles(&Shape { actions: 1, conditions: 3, ..Shape::default() }, 50);
    assert_eq!(total.other_order, 0);
}

/// Rules that contradict each other where they overlap.
#[test]
fn random_profiles_with_many_actions_are_libseccomps() {
    let total = random_profiles(&Shape { actions: 4, conditions: 1, ..Shape::default() }, 80);
    assert_eq!(total.other_order, 0);
}

/// All of it. Where rules with several conditions share the comparison of a high half,
/// libseccomp may answer for numbers above it with a rule that it has not asked first else.
#[test]
fn random_profiles_of_every_kind_are_libseccomps() {
    let total = random_profiles(&Shape { actions: 4, conditions: 3, ..Shape::default() }, 100);
    assert!(total.other_order * 5_000 < total.calls, "{total:?}");
}

fn random_profiles(shape: &Shape, count: u64) -> Compared {
    let mut oracle = Oracle::start();
    let mut total = Compared::default();
    let mut refused = 0;
    for seed in 0..count {
        let mut random = Random::new(seed);
        let family = *random.pick(&FAMILIES);
        let profile = with_architectures(&random::profile(&mut random, shape), family);
        match compare(&mut oracle, &profile, family, &mut random) {
            Some(compared) => total += compared,
            None => refused += 1,
        }
    }
    println!("{total:?}, {refused} of {count} profiles refused by libseccomp");
    assert!(refused * 2 < count, "{refused} of {count} profiles refused");
    assert!(total.calls > 500_000, "{total:?}");
    assert!(total.libseccomp_confused * 20 < total.calls, "{total:?}");
    total
}

/// How many calls were compared.
#[derive(Debug, Default)]
struct Compared {
    calls: usize,
    /// Of these, how many libseccomp answers from a word that it did not mean to look at.
    libseccomp_confused: usize,
    /// Of these, how many two rules answer differently, and we and libseccomp take another.
    other_order: usize,
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Compared) {
        self.calls += other.calls;
        self.libseccomp_confused += other.libseccomp_confused;
        self.other_order += other.other_order;
    }
}

/// Compares every call of a profile; `None` when libseccomp refuses the profile for rules that
/// contradict each other.
///
/// libseccomp 2.5.4 and 2.6.0 have two errors. Where an argument has several rules, a jump may go
/// to a comparison of the argument's high half while the low half is loaded, or the other way
/// round. And where the first of an architecture's system calls is one that it lacks, the number
/// is never loaded, and the architecture is compared with numbers. Calls that meet such a
/// comparison are held against the profile's meaning alone.
fn compare(
    oracle: &mut Oracle,
    profile: &LinuxSeccomp,
    family: &[Architecture],
    random: &mut Random,
) -> Option<Compared> {
    let ours = compile_for(profile, family[0]);
    let theirs = match oracle.program(profile, family) {
        Ok(program) => program,
        Err(error) => {
            // EEXIST: the same conditions, another action.
            assert!(error.ends_with(": -17"), "{error}");
            return None;
        }
    };
    let ours = ours.unwrap().instructions;
    bpf::check(&ours);
    bpf::check(&theirs);
    let audits = family.iter().map(|a| a.audit()).collect::<Vec<_>>();
    assert!(!bpf::confused(&ours, &audits).contains(&true));
    let confused = bpf::confused(&theirs, &audits);
    let stub = Stub::new(oracle, profile, family);
    let meaning = Meaning::new(oracle, profile, family);
    let pool = interesting(profile);
    let mut compared = Compared::default();
    for (audit, number) in calls(family) {
        let big_endian = family[0].big_endian();
        let rounds = if compares_arguments(&theirs, number) { 150 } else { 2 };
        for _ in 0..rounds {
            let args = std::array::from_fn(|_| *random.pick(&pool));
            let call = Call { number, audit, args, big_endian };
            let got = bpf::run(&ours, &call);
            compared.calls += 1;
            if let Some(expected) = stub.answer(&call) {
                assert_eq!(got, expected, "{call:x?}");
                continue;
            }
            let mut met = false;
            let expected = bpf::trace(&theirs, &call, |at| met |= confused[at]);
            compared.libseccomp_confused += usize::from(met);
            let meant = meaning.actions(&call);
            let other_order = !met && got != expected && meant.contains(&expected);
            compared.other_order += usize::from(other_order);
            if !meant.contains(&got) || (!met && !meant.contains(&expected)) {
                let rules = rules_of(oracle, profile, family, &call);
                panic!("{got:#x}, not {expected:#x}; meant {meant:x?}; {call:x?}\n{rules}");
            }
        }
    }
    Some(compared)
}

/// runc's answer to system calls younger than the profile, by libseccomp's numbers.
struct Stub {
    highest: BTreeMap<u32, i64>,
    s390: bool,
}

impl Stub {
    fn new(oracle: &mut Oracle, profile: &LinuxSeccomp, family: &[Architecture]) -> Stub {
        let allows = matches!(
            profile.default_action(),
            LinuxSeccompAction::ScmpActAllow
                | LinuxSeccompAction::ScmpActLog
                | LinuxSeccompAction::ScmpActTrace
        );
        let entries = profile.syscalls().iter().flatten();
        let names = entries.flat_map(|e| e.names()).map(String::as_str).collect::<Vec<_>>();
        let mut highest = BTreeMap::new();
        for architecture in family.iter().filter(|_| !allows) {
            let numbers = oracle.numbers(*architecture, &names);
            let largest = numbers.values().copied().max().unwrap_or(0);
            if largest > 0 {
                highest.insert(oracle::token(*architecture), largest);
            }
        }
        Stub { highest, s390: matches!(family[0], Architecture::S390X | Architecture::S390) }
    }

    fn answer(&self, call: &Call) -> Option<u32> {
        let x32 = call.audit == Architecture::X86_64.audit() && call.number & 0x4000_0000 != 0;
        let token = if x32 { oracle::token(Architecture::X32) } else { call.audit };
        let highest = *self.highest.get(&token)?;
        (i64::from(call.number) > highest || (self.s390 && call.number == 0)).then_some(ENOSYS)
    }
}

fn load(file: &str) -> LinuxSeccomp {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bundles/examples/seccomp/");
    let text = std::fs::read_to_string(format!("{dir}{file}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Takes a name away: libseccomp 2.5.4 lacks map_shadow_stack on x32.
fn forget(profile: &mut LinuxSeccomp, name: &str) {
    let mut entries = profile.syscalls().clone().unwrap();
    for entry in &mut entries {
        let names = entry.names().iter().filter(|known| *known != name).cloned().collect();
        entry.set_names(names);
    }
    profile.set_syscalls(Some(entries));
}

fn with_architectures(profile: &LinuxSeccomp, family: &[Architecture]) -> LinuxSeccomp {
    let parse = |a: &Architecture| serde_json::from_value::<Arch>(a.name().into()).unwrap();
    let mut profile = profile.clone();
    profile.set_architectures(Some(family.iter().map(parse).collect()));
    profile
}

fn base_of(audit: u32) -> u32 {
    match audit {
        0x0000_0008 | 0x4000_0008 => 4000,
        0x8000_0008 | 0xc000_0008 => 5000,
        0xa000_0008 | 0xe000_0008 => 6000,
        _ => 0,
    }
}

/// Architecture and number of the calls to compare: all numbers that mean something to one of
/// the family, the edges of the number space, and a few numbers on foreign architectures.
fn calls(family: &[Architecture]) -> Vec<(u32, u32)> {
    let mut edges = (0..8).chain(0x000e_fffe..0x000f_0010).collect::<Vec<u32>>();
    for edge in [0x4000_0000, 0x8000_0000_u32, 0xc000_0000, 0] {
        edges.extend([edge.wrapping_sub(2), edge.wrapping_sub(1), edge, edge + 1]);
    }
    let mut calls = Vec::new();
    for architecture in family {
        let audit = architecture.audit();
        let base = base_of(audit);
        let numbers = edges.iter().copied().chain(base..base + 1000);
        calls.extend(numbers.map(|number| (audit, number)));
        if audit == Architecture::X86_64.audit() {
            calls.extend((0x4000_0000..0x4000_0000 + 1000).map(|number| (audit, number)));
        }
    }
    for foreign in [0, 0x4000_0003, 0xc000_003e, 0xc000_00b7, 0x16, 8, 0xffff_ffff] {
        calls.extend(edges.iter().map(|number| (foreign, *number)));
    }
    calls.sort_unstable();
    calls.dedup();
    calls
}

/// Whether a program looks at arguments after it has found this number.
fn compares_arguments(program: &[Instruction], number: u32) -> bool {
    let asked = |pair: &[Instruction]| pair[0].code == 0x15 && pair[0].k == number;
    program.windows(2).any(asked) && program.iter().any(|i| i.code == 0x20 && i.k >= 16)
}

/// Argument values around those that the profile compares with, in either half.
fn interesting(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut values = vec![0, 1, u64::from(u32::MAX), 1 << 32, 1 << 31, u64::MAX];
    for arg in profile.syscalls().iter().flatten().flat_map(|e| e.args().iter().flatten()) {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            let low = value & u64::from(u32::MAX);
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), !value]);
            values.extend([low, value ^ low, value ^ (1 << 32), value.wrapping_add(1 << 32)]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

/// The rules of a profile that speak of a call, one a line.
fn rules_of(
    oracle: &mut Oracle,
    profile: &LinuxSeccomp,
    family: &[Architecture],
    call: &Call,
) -> String {
    let default = (profile.default_action(), profile.default_errno_ret());
    let mut lines = format!("{family:?}, default {default:?}");
    for (index, entry) in profile.syscalls().iter().flatten().enumerate() {
        let names = entry.names().iter().map(String::as_str).collect::<Vec<_>>();
        let speaks = family.iter().any(|architecture| {
            let numbers = oracle.numbers(*architecture, &names);
            numbers.values().any(|number| *number < -1 || *number == i64::from(call.number))
        });
        if speaks {
            lines += &format!("\n{index}: {}", serde_json::to_string(entry).unwrap());
        }
    }
    lines
}
