//! The real kernel takes our programs, and denies what the default profiles deny.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use oci_spec::runtime::LinuxSeccomp;
use seccomp::{Architecture, Filter, compile_for};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

/// Makes each call before and after the filter is loaded; gives both results, errors negative.
fn under(filter: &Filter, calls: &[(&str, Vec<u64>)]) -> Vec<(i64, i64)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/load.py");
    let program = filter.instructions.iter().map(|i| json!([i.code, i.jt, i.jf, i.k]));
    let order = json!({
        "flags": filter.flags,
        "program": program.collect::<Vec<_>>(),
        "calls": calls.iter().map(|(way, words)| json!([way, words])).collect::<Vec<_>>(),
    });
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed to load a filter");
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the kernel refused the filter: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn filter(file: &str) -> Filter {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bundles/examples/seccomp/");
    let text = std::fs::read_to_string(format!("{dir}{file}")).unwrap();
    let profile: LinuxSeccomp = serde_json::from_str(&text).unwrap();
    compile_for(&profile, Architecture::X86_64).unwrap()
}

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

#[test]
#[cfg(target_arch = "x86_64")]
fn dockers_default_profile_denies_what_it_should() {
    let calls = [
        ("syscall", vec![39], None),                        // getpid
        ("syscall", vec![272, 0], Some(EPERM)),             // unshare(0)
        ("syscall", vec![165, 0, 0, 0, 0, 0], Some(EPERM)), // mount
        ("syscall", vec![250, 6, 0, 0], Some(EPERM)),       // keyctl(KEYCTL_DESCRIBE)
        ("syscall", vec![435, 0, 0], Some(ENOSYS)),         // clone3
        ("syscall", vec![600], Some(ENOSYS)),               // younger than the profile
        ("syscall", vec![135, 0xffff_ffff], None),          // personality: ask
        ("syscall", vec![135, 0x1_ffff_ffff], Some(EPERM)), // the same, with a high half
        ("syscall", vec![41, 1, 1, 0], None),               // socket(AF_UNIX)
        ("syscall", vec![41, 40, 1, 0], Some(EPERM)),       // socket(AF_VSOCK)
    ];
    let asked = calls.iter().map(|(way, words, _)| (*way, words.clone())).collect::<Vec<_>>();
    let answers = under(&filter("docker-default.json"), &asked);
    for ((_, words, expected), (before, after)) in calls.iter().zip(answers) {
        match expected {
            None => assert!(after >= 0, "{words:?}: {before} before, {after} after"),
            Some(error) => {
                assert_eq!(after, *error, "{words:?}");
                // mount asks for privileges by itself, and no kernel has call 600.
                let possible = [165, 600].contains(&words[0]) || before != after;
                assert!(possible, "{words:?}: {before} without the filter, too");
            }
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn podmans_default_profile_denies_what_it_should() {
    let calls = [
        ("syscall", vec![39]),                  // getpid
        ("syscall", vec![248, 0, 0, 0, 0, 0]),  // add_key: in no list
        ("syscall", vec![312, 0, 0, 99, 0, 0]), // kcmp: EPERM without CAP_SYS_PTRACE
        ("syscall", vec![41, 16, 3, 9]),        // socket(AF_NETLINK, NETLINK_AUDIT)
        ("syscall", vec![41, 16, 3, 0]),        // socket(AF_NETLINK, NETLINK_ROUTE)
    ];
    let answers = under(&filter("containers-default.json"), &calls);
    let after = answers.iter().map(|(_, after)| *after).collect::<Vec<_>>();
    assert!(after[0] > 0 && after[4] >= 0, "{answers:?}");
    assert_eq!(after[1..4], [ENOSYS, EPERM, -22], "{answers:?}");
    assert!(answers[1].0 != ENOSYS && answers[2].0 != EPERM && answers[3].0 != -22, "{answers:?}");
}

/// `int 0x80` makes an x86 call, to which the profile's x86 rules apply.
#[test]
#[cfg(target_arch = "x86_64")]
fn x86_calls_have_their_own_numbers() {
    let calls = [("int80", vec![20, 0]), ("int80", vec![310, 0])]; // getpid, unshare(0)
    let answers = under(&filter("docker-default.json"), &calls);
    assert!(answers[0].0 > 0, "this kernel runs no 32-bit programs: {answers:?}");
    assert_eq!(answers[0].0, answers[0].1);
    assert_eq!(answers[1], (0, EPERM));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_notifying_filter_loads_with_its_flags() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99},
        ],
    });
    let profile = serde_json::from_value(profile).unwrap();
    let filter = compile_for(&profile, Architecture::X86_64).unwrap();
    assert_eq!(under(&filter, &[("syscall", vec![168, 0])])[0].1, -99);
}
