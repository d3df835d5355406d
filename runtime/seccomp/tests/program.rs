//! What programs answer, beyond what libseccomp can be asked: runc's ENOSYS, the 4096
//! instructions, far jumps, loongarch64, calls younger than libseccomp.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod bpf;

use bpf::Call;
use oci_spec::runtime::LinuxSeccomp;
use seccomp::{Architecture, Encoded, Error, Filter, compile, compile_for};
use serde_json::{Value, json};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL_THREAD: u32 = 0;

fn compiled(profile: Value, native: Architecture) -> Filter {
    let filter = compile_for(&serde_json::from_value(profile).unwrap(), native).unwrap();
    bpf::check(&filter.instructions);
    filter
}

fn answer(filter: &Filter, architecture: Architecture, number: u32, args: &[u64]) -> u32 {
    let mut call = Call { number, audit: architecture.audit(), ..Call::default() };
    call.big_endian = architecture.big_endian();
    call.args[..args.len()].copy_from_slice(args);
    bpf::run(&filter.instructions, &call)
}

#[test]
fn calls_younger_than_the_profile_do_not_exist() {
    let x86_64 = Architecture::X86_64;
    // statx is 332 on x86_64.
    let profile = |default: &str| {
        json!({
            "defaultAction": default,
            "syscalls": [
                {"names": ["getpid", "brand_new_call"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["statx"], "action": default},
            ],
        })
    };
    let filter = compiled(profile("SCMP_ACT_ERRNO"), x86_64);
    assert_eq!(answer(&filter, x86_64, 39, &[]), ALLOW);
    assert_eq!(answer(&filter, x86_64, 332, &[]), EPERM);
    assert_eq!(answer(&filter, x86_64, 333, &[]), ENOSYS);
    assert_eq!(answer(&filter, x86_64, 0x3fff_ffff, &[]), ENOSYS);
    assert_eq!(answer(&filter, x86_64, 0x4000_0027, &[]), KILL_THREAD);
    assert_eq!(answer(&filter, x86_64, u32::MAX, &[]), EPERM);
    for default in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_KILL"] {
        let filter = compiled(profile(default), x86_64);
        assert_eq!(answer(&filter, x86_64, 333, &[]), ENOSYS, "{default}");
    }
    for (default, value) in [("SCMP_ACT_LOG", 0x7ffc_0000), ("SCMP_ACT_TRACE", 0x7ff0_0001)] {
        let filter = compiled(profile(default), x86_64);
        assert_eq!(answer(&filter, x86_64, 333, &[]), value, "{default}");
    }
}

#[test]
fn an_architecture_outside_the_profile_kills() {
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW"}), Architecture::X86_64);
    assert_eq!(answer(&filter, Architecture::X86_64, 1, &[]), ALLOW);
    assert_eq!(answer(&filter, Architecture::X86, 1, &[]), KILL_THREAD);
    assert_eq!(answer(&filter, Architecture::Aarch64, 1, &[]), KILL_THREAD);
}

#[test]
fn calls_younger_than_libseccomp_have_numbers() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"],
        "syscalls": [{"names": ["file_getattr", "removexattrat"], "action": "SCMP_ACT_ALLOW"}],
    });
    let filter = compiled(profile, Architecture::Mipsel64);
    for (architecture, base) in [
        (Architecture::Mipsel64, 5000),
        (Architecture::Mipsel, 4000),
        (Architecture::Mipsel64N32, 6000),
    ] {
        assert_eq!(answer(&filter, architecture, base + 468, &[]), ALLOW);
        assert_eq!(answer(&filter, architecture, base + 466, &[]), ALLOW);
        assert_eq!(answer(&filter, architecture, base + 467, &[]), EPERM);
        assert_eq!(answer(&filter, architecture, base + 469, &[]), ENOSYS);
    }
}

#[test]
fn loongarch64_has_a_table() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_LOONGARCH64"],
        "syscalls": [
            {"names": ["getpid", "statx", "socketcall"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "op": "SCMP_CMP_EQ", "value": 0xffff_ffff_u64},
            ]},
        ],
    });
    let native = Architecture::Loongarch64;
    let filter = compiled(profile, native);
    for (number, args, expected) in [
        (172, vec![], ALLOW),
        (291, vec![], ALLOW),
        (92, vec![0xffff_ffff], ALLOW),
        (92, vec![0x1_ffff_ffff], EPERM),
        (40, vec![], EPERM),
        (292, vec![], ENOSYS),
    ] {
        assert_eq!(answer(&filter, native, number, &args), expected, "{number} {args:x?}");
    }
}

/// Many rules make jumps of more than 255 instructions, and in the end a program that is too long.
#[test]
fn long_programs_jump_far_and_too_long_ones_are_errors() {
    let profile = |conditions: u64| {
        let rules = (0..conditions).map(|value| {
            json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 1, "op": "SCMP_CMP_EQ", "value": value << 32 | value},
                {"index": 2, "op": "SCMP_CMP_MASKED_EQ", "value": 0x00ff_0000_00ff_u64, "valueTwo": value},
            ]})
        });
        let mut rules = rules.collect::<Vec<_>>();
        rules.push(json!({"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}));
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
    };
    let x86_64 = Architecture::X86_64;
    for conditions in [1, 20, 24, 25, 26, 27, 28, 29, 60, 250, 400] {
        let filter = compiled(profile(conditions), x86_64);
        for value in [0, conditions / 2, conditions - 1] {
            let arg = value << 32 | value;
            let masked = value & 0xff;
            assert_eq!(answer(&filter, x86_64, 16, &[0, arg, masked]), ALLOW);
            assert_eq!(answer(&filter, x86_64, 16, &[0, arg, masked ^ 1]), EPERM);
            assert_eq!(answer(&filter, x86_64, 16, &[0, arg ^ 1 << 63, masked]), EPERM);
        }
        assert_eq!(answer(&filter, x86_64, 16, &[0, conditions << 32 | conditions]), EPERM);
        assert_eq!(answer(&filter, x86_64, 39, &[]), ALLOW);
        assert_eq!(answer(&filter, x86_64, 40, &[]), ENOSYS);
    }
    let long: LinuxSeccomp = serde_json::from_value(profile(600)).unwrap();
    let error = compile_for(&long, x86_64).unwrap_err();
    assert!(matches!(error, Error::TooLong { instructions } if instructions > 4096), "{error}");
    assert!(error.to_string().contains("4096"));
}

#[test]
fn contradicting_rules_are_errors_that_name_both() {
    let rule = |action: &str, value: u64| {
        json!({"names": ["ioctl"], "action": action, "args": [
            {"index": 1, "op": "SCMP_CMP_EQ", "value": value},
        ]})
    };
    let profile = |second: u64| {
        serde_json::from_value::<LinuxSeccomp>(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86"],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                rule("SCMP_ACT_ALLOW", 5),
                rule("SCMP_ACT_KILL", second),
            ],
        }))
        .unwrap()
    };
    let compile = |second| compile_for(&profile(second), Architecture::X86_64);
    assert!(compile(6).is_ok());
    let message = compile(5).unwrap_err().to_string();
    assert!(message.contains("syscalls[2]: conflicts with syscalls[1] for number 16"), "{message}");
    // Only the low half counts on x86.
    let message = compile(0x1_0000_0005).unwrap_err().to_string();
    assert!(message.contains("number 54 of SCMP_ARCH_X86:"), "{message}");
}

#[test]
fn the_bytes_of_a_compiled_filter_hold_its_flags() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let filter = compile(&serde_json::from_value(profile).unwrap()).unwrap();
    assert_eq!((filter.flags, filter.notify), (2 | 8, true));
    let read = Encoded::read(filter.encode().bytes().to_vec()).unwrap();
    assert_eq!((read.flags(), read.notify()), (2 | 8, true));
    assert_eq!(read.instructions().len(), 8 * filter.instructions.len());
}
