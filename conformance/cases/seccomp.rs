//! Seccomp profiles: what is denied is denied with the right errno or signal, what is allowed works.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("seccomp/mode", mode),
    Case::new("seccomp/errno", errno),
    Case::new("seccomp/errno-default", errno_default),
    Case::new("seccomp/errno-of-the-default-action", default_errno),
    Case::new("seccomp/kill", kill),
    Case::new("seccomp/trap", trap),
    Case::new("seccomp/log-and-allow", log_allow),
    Case::new("seccomp/arguments", arguments),
    Case::new("seccomp/masked-argument", masked),
    Case::new("seccomp/arguments-of-64-bits", wide_arguments),
    Case::new("seccomp/several-conditions-on-one-argument", repeated_argument),
    Case::new("seccomp/several-rules-of-one-call", several_rules),
    Case::new("seccomp/trace-with-data", trace),
    Case::new("seccomp/trace-without-tracer", no_tracer),
    Case::new("seccomp/flags", flags)
        .not_on(&[(Peer::Runc, "Debian's libseccomp does not know all of them")]),
    Case::new("seccomp/calls-of-32-bit-programs", calls_of_32_bits),
    Case::new("seccomp/architectures-of-the-default-profiles", architectures)
        .not_on(&[(Peer::Crun, "Debian's libseccomp does not know them all")]),
    Case::new("seccomp/features-name-every-word", words).not_on(&[
        (Peer::Runc, "1.1 has no flags in its features"),
        (Peer::Crun, "1.8 has no features"),
    ]),
    Case::new("seccomp/unknown-names-are-passed-over", unknown_names),
    Case::new("seccomp/foreign-architecture-is-denied", foreign).not_on(&[
        (Peer::Crun, "libseccomp kills the process"),
        (Peer::Runc, "libseccomp kills the process"),
    ]),
    Case::new("seccomp/newer-system-calls-are-unknown", newer)
        .not_on(&[(Peer::Crun, "crun answers EPERM")]),
    Case::new("seccomp/with-and-without-no-new-privileges", nnp)
        .not_on(&[(Peer::Runc, "runc 1.1 needs keyctl and more after it loads the filter")]),
    Case::new("seccomp/last-of-all-with-no-new-privileges", last_of_all),
    Case::new("seccomp/unknown-action", unknown_action),
    Case::new("seccomp/rules-at-odds-are-found-before-the-hooks", at_odds)
        .not_on(&[(Peer::Runc, "found after them"), (Peer::Crun, "found after them")]),
    Case::new("seccomp/exec-is-filtered-too", exec),
    Case::new("seccomp/exec-refuses-a-damaged-filter", damaged)
        .not_on(&[(Peer::Runc, "it keeps none"), (Peer::Crun, "it is not looked at")]),
    Case::new("seccomp/docker-default-profile", docker_profile),
    Case::new("seccomp/podman-default-profile", podman_profile),
];

/// A bundle that makes one raw system call.
fn calling(env: &Env, seccomp: Value, call: &[&str]) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", seccomp)?;
    bundle.args(&[&["/bin/rawcall"], call].concat());
    Ok(bundle)
}

fn answer(env: &Env, seccomp: &Value, call: &[&str]) -> Result<String, Failure> {
    let output = env.run(&calling(env, seccomp.clone(), call)?)?.ok()?;
    Ok(output.stdout.trim().to_owned())
}

fn deny(names: &[&str], more: Value) -> Value {
    let mut rule = json!({"names": names, "action": "SCMP_ACT_ERRNO"});
    for (key, value) in more.as_object().into_iter().flatten() {
        rule[key] = value.clone();
    }
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule],
    })
}

const GETPPID: &[&str] = &["110"];
/// personality(0xffffffff) only reads.
const PERSONALITY: &[&str] = &["135", "0xffffffff"];

fn mode(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    ensure_eq!(env.probe(&mut bundle)?["status"]["Seccomp"], "0", "without a profile");
    bundle.set("/linux/seccomp", deny(&["swapon"], json!({})))?;
    let report = env.probe(&mut bundle)?;
    ensure_eq!(report["status"]["Seccomp"], "2", "with a profile");
    ensure_eq!(report["status"]["Seccomp_filters"], "1", "filters");
    Ok(())
}

fn errno(env: &mut Env) -> Outcome {
    // 38 is ENOSYS, 13 EACCES.
    for (number, name) in [(38, "ENOSYS"), (13, "EACCES")] {
        let profile = deny(&["getppid"], json!({"errnoRet": number}));
        ensure_eq!(answer(env, &profile, GETPPID)?, name, "getppid");
        ensure_eq!(answer(env, &profile, PERSONALITY)?, "0", "personality");
    }
    Ok(())
}

fn errno_default(env: &mut Env) -> Outcome {
    ensure_eq!(answer(env, &deny(&["getppid"], json!({})), GETPPID)?, "EPERM", "getppid");
    Ok(())
}

fn default_errno(env: &mut Env) -> Outcome {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": everyday(), "action": "SCMP_ACT_ALLOW"}],
    });
    ensure_eq!(answer(env, &profile, PERSONALITY)?, "EACCES", "personality");
    ensure_eq!(answer(env, &profile, GETPPID)?, "0", "getppid");
    Ok(())
}

/// What the small static programs here need.
fn everyday() -> Vec<&'static str> {
    vec![
        "read",
        "write",
        "close",
        "fstat",
        "newfstatat",
        "mmap",
        "mprotect",
        "munmap",
        "brk",
        "ioctl",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlink",
        "readlinkat",
        "getrandom",
        "getppid",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "futex",
        "fcntl",
        "openat",
        "open",
        "uname",
        "capget",
        "capset",
        "prctl",
        "setuid",
        "setgid",
        "setgroups",
        "getuid",
        "epoll_ctl",
        "epoll_pwait",
        "getdents64",
        "sigaltstack",
        "gettid",
        "tgkill",
        "getpid",
        "clone",
        "nanosleep",
        "seccomp",
        "lseek",
        "close_range",
        "dup3",
        "dup2",
        "fchown",
        "stat",
        "lstat",
        "statx",
        "access",
        "faccessat",
        "faccessat2",
        "openat2",
        "chdir",
        "fchdir",
        "getcwd",
        "setsid",
        "umask",
        "unlinkat",
        "sched_yield",
        "madvise",
        "statfs",
        "fstatfs",
        "poll",
        "ppoll",
        "sendto",
        "sendmsg",
        "recvmsg",
        "recvfrom",
        "geteuid",
        "getegid",
        "getgid",
        "setresuid",
        "setresgid",
        "keyctl",
        "kill",
        "wait4",
        "waitid",
        "pread64",
        "writev",
        "eventfd2",
        "epoll_create1",
        "pipe2",
    ]
}

fn kill(env: &mut Env) -> Outcome {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
        let mut profile = deny(&["getppid"], json!({}));
        profile["syscalls"][0]["action"] = json!(action);
        // SIGSYS is 31.
        env.run(&calling(env, profile.clone(), GETPPID)?)?.exits(128 + 31)?;
        let caught = calling(env, profile.clone(), &["trapped", "110"])?;
        env.run(&caught)?.exits(128 + 31)?;
        // What is one thread's end only.
        let thread = env.run(&calling(env, profile, &["thread", "110"])?)?;
        if action == "SCMP_ACT_KILL_PROCESS" {
            thread.exits(128 + 31)?;
        } else {
            ensure_eq!(thread.ok()?.stdout, "alive\n", "the other thread, {action}");
        }
    }
    Ok(())
}

fn trap(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getppid"], json!({}));
    profile["syscalls"][0]["action"] = json!("SCMP_ACT_TRAP");
    env.run(&calling(env, profile.clone(), GETPPID)?)?.exits(128 + 31)?;
    ensure_eq!(answer(env, &profile, &["trapped", "110"])?, "trapped 110", "with a handler");
    Ok(())
}

fn log_allow(env: &mut Env) -> Outcome {
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        let profile = json!({
            "defaultAction": action, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}],
        });
        ensure_eq!(answer(env, &profile, PERSONALITY)?, "0", "personality under {action}");
        ensure_eq!(answer(env, &profile, GETPPID)?, "EPERM", "getppid under {action}");
    }
    Ok(())
}

fn arguments(env: &mut Env) -> Outcome {
    // kill(pid, 0) of pid 1 with one argument condition each; syscall 62.
    let with = |op: &str, value: u64| {
        deny(&["kill"], json!({"args": [{"index": 0, "value": value, "op": op}]}))
    };
    for (op, value, pid, denied) in [
        ("SCMP_CMP_EQ", 1, "1", true),
        ("SCMP_CMP_EQ", 2, "1", false),
        ("SCMP_CMP_NE", 1, "1", false),
        ("SCMP_CMP_NE", 2, "1", true),
        ("SCMP_CMP_LT", 2, "1", true),
        ("SCMP_CMP_LT", 1, "1", false),
        ("SCMP_CMP_LE", 1, "1", true),
        ("SCMP_CMP_LE", 0, "1", false),
        ("SCMP_CMP_GT", 0, "1", true),
        ("SCMP_CMP_GT", 1, "1", false),
        ("SCMP_CMP_GE", 1, "1", true),
        ("SCMP_CMP_GE", 2, "1", false),
    ] {
        let found = answer(env, &with(op, value), &["62", pid, "0"])?;
        ensure_eq!(found, if denied { "EPERM" } else { "0" }, "kill({pid}) with {op} {value}");
    }
    // Two conditions of one rule must both hold.
    let both = deny(
        &["kill"],
        json!({"args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"},
        ]}),
    );
    ensure_eq!(answer(env, &both, &["62", "1", "0"])?, "0", "one of two conditions");
    Ok(())
}

fn masked(env: &mut Env) -> Outcome {
    let profile = deny(
        &["personality"],
        json!({"args": [{"index": 0, "value": 0xf0, "valueTwo": 0x50, "op": "SCMP_CMP_MASKED_EQ"}]}),
    );
    ensure_eq!(answer(env, &profile, &["135", "0x5f"])?, "EPERM", "0x5f & 0xf0 is 0x50");
    ensure_eq!(answer(env, &profile, PERSONALITY)?, "0", "0xffffffff & 0xf0 is not");
    Ok(())
}

/// Several answers of one container: a run for each would take long in the VM.
fn answers(env: &Env, seccomp: &Value, calls: &[&str]) -> Result<Vec<String>, Failure> {
    let mut bundle = env.bundle()?;
    let script: String = calls.iter().map(|call| format!("rawcall {call}\n")).collect();
    bundle.set("/linux/seccomp", seccomp.clone())?.shell(&script);
    Ok(env.run(&bundle)?.ok()?.stdout.lines().map(str::to_owned).collect())
}

/// Both halves of a value count, in every comparison.
fn wide_arguments(env: &mut Env) -> Outcome {
    const VALUE: u64 = 0x1_0000_0002;
    const HIGH: u64 = 0xff_0000_0000;
    // lseek of /dev/null, to values around VALUE and to one that only the mask takes.
    let places =
        ["8 0 2", "8 0 0x100000001", "8 0 0x100000002", "8 0 0x100000003", "8 0 0x1200000007"];
    for (op, value, two, denied) in [
        ("SCMP_CMP_EQ", VALUE, 0, [false, false, true, false, false]),
        ("SCMP_CMP_NE", VALUE, 0, [true, true, false, true, true]),
        ("SCMP_CMP_LT", VALUE, 0, [true, true, false, false, false]),
        ("SCMP_CMP_LE", VALUE, 0, [true, true, true, false, false]),
        ("SCMP_CMP_GT", VALUE, 0, [false, false, false, true, true]),
        ("SCMP_CMP_GE", VALUE, 0, [false, false, true, true, true]),
        ("SCMP_CMP_MASKED_EQ", HIGH, 0x12_0000_0000u64, [false, false, false, false, true]),
    ] {
        let args = json!([{"index": 1, "value": value, "valueTwo": two, "op": op}]);
        let profile = deny(&["lseek"], json!({"args": args, "errnoRet": 123}));
        let found = answers(env, &profile, &places)?;
        let found: Vec<bool> = found.iter().map(|answer| answer == "ENOMEDIUM").collect();
        ensure_eq!(found, denied, "which lseek of {places:?} is denied with {op}");
    }
    Ok(())
}

const PRIORITIES: &[&str] = &["140 1 0", "140 2 0", "140 0 0"];

/// On one argument they are alternatives.
fn repeated_argument(env: &mut Env) -> Outcome {
    let args = json!([
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
    ]);
    let profile = deny(&["getpriority"], json!({"args": args, "errnoRet": 123}));
    let found = answers(env, &profile, PRIORITIES)?;
    ensure_eq!(found, ["ENOMEDIUM", "ENOMEDIUM", "20"], "getpriority of {PRIORITIES:?}");
    Ok(())
}

fn several_rules(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getpriority"], json!({}));
    let rule = |value: u64, errno: u32| {
        json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
               "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
    };
    profile["syscalls"] = json!([rule(1, 38), rule(2, 123)]);
    let found = answers(env, &profile, PRIORITIES)?;
    ensure_eq!(found, ["ENOSYS", "ENOMEDIUM", "20"], "getpriority of {PRIORITIES:?}");
    Ok(())
}

fn trace(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getppid"], json!({"errnoRet": 77}));
    profile["syscalls"][0]["action"] = json!("SCMP_ACT_TRACE");
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", profile)?;
    bundle.args(&["/bin/tracer", "/bin/rawcall", "110"]);
    // The tracer is its parent.
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "trace 77\n1\n", "what the tracer saw");
    Ok(())
}

fn no_tracer(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getppid"], json!({}));
    profile["syscalls"][0]["action"] = json!("SCMP_ACT_TRACE");
    ensure_eq!(answer(env, &profile, GETPPID)?, "ENOSYS", "getppid");
    Ok(())
}

fn flags(env: &mut Env) -> Outcome {
    const ALL: [&str; 4] = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        // Of no use without an agent, and passed over.
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    let mut sets = vec![json!([]), json!(ALL)];
    sets.extend(ALL.map(|flag| json!([flag])));
    for flags in sets {
        let mut profile = deny(&["getppid"], json!({}));
        profile["flags"] = flags.clone();
        ensure_eq!(answer(env, &profile, GETPPID)?, "EPERM", "getppid with {flags}");
    }
    let mut profile = deny(&["getppid"], json!({}));
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_DREAM"]);
    let output = env.run(&calling(env, profile, GETPPID)?)?.exits(1)?;
    ensure!(output.stderr.contains("SECCOMP_FILTER_FLAG_DREAM"), "{output}");
    env.nothing_left()
}

/// getppid is 64 to them; 64 is semget to the others.
fn calls_of_32_bits(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getppid"], json!({}));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    let mut bundle = env.bundle()?;
    bundle.args(&["/bin/call32", "64"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "0\n", "getppid without a profile");
    bundle.set("/linux/seccomp", profile.clone())?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "-1\n", "getppid");
    bundle.args(&["/bin/call32", "20"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1\n", "getpid");
    // Outside of the profile, they end the process.
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    bundle.set("/linux/seccomp", profile)?;
    env.run(&bundle)?.exits(128 + 31)?;
    Ok(())
}

/// As engines name them for this machine, and for others of its byte order.
fn architectures(env: &mut Env) -> Outcome {
    for list in [
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"][..],
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        &["SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32"],
        &["SCMP_ARCH_RISCV64", "SCMP_ARCH_PPC64LE"],
        &[],
    ] {
        if env.is(Peer::Runc) && list.contains(&"SCMP_ARCH_RISCV64") {
            // runc 1.1 is older than that word.
            continue;
        }
        let mut profile = deny(&["getppid"], json!({}));
        profile["architectures"] = json!(list);
        let found = answers(env, &profile, &["110", "135 0xffffffff"])?;
        ensure_eq!(found, ["EPERM", "0"], "getppid and personality with {list:?}");
    }
    Ok(())
}

/// Each word that `features` has works in a profile of the other cases.
fn words(env: &mut Env) -> Outcome {
    let features: Value = serde_json::from_str(&env.runtime(&["features"]).ok()?.stdout)?;
    let seccomp = &features["linux"]["seccomp"];
    for (key, words) in [
        ("actions", "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP"),
        ("operators", "EQ GE GT LE LT MASKED_EQ NE"),
        (
            "archs",
            "AARCH64 ARM LOONGARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 \
             PPC64LE RISCV64 S390 S390X X32 X86 X86_64",
        ),
        ("knownFlags", "TSYNC SPEC_ALLOW LOG WAIT_KILLABLE_RECV"),
    ] {
        let found: Vec<&str> = seccomp[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(|word| {
                let prefixes = ["SCMP_ACT_", "SCMP_CMP_", "SCMP_ARCH_", "SECCOMP_FILTER_FLAG_"];
                prefixes.iter().find_map(|prefix| word.strip_prefix(prefix))
            })
            .collect();
        ensure_eq!(found, words.split_whitespace().collect::<Vec<_>>(), "{key}");
    }
    ensure_eq!(seccomp["supportedFlags"], seccomp["knownFlags"], "flags, on a kernel from 5.19 on");
    Ok(())
}

fn unknown_names(env: &mut Env) -> Outcome {
    let profile = deny(&["no_such_call", "getppid"], json!({}));
    ensure_eq!(answer(env, &profile, GETPPID)?, "EPERM", "getppid");
    Ok(())
}

fn foreign(env: &mut Env) -> Outcome {
    // An x32 call (bit 30) under a profile of x86-64 alone must not pass as something else.
    let profile = deny(&["getppid"], json!({}));
    let output = env.run(&calling(env, profile, &["0x4000006e"])?)?.output()?;
    ensure!(
        output.code() != 0 || output.stdout.starts_with('E'),
        "x32 getppid went through: {output}"
    );
    Ok(())
}

fn newer(env: &mut Env) -> Outcome {
    // Programs probe for calls newer than the profile by ENOSYS, also where the default is EPERM.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": everyday(), "action": "SCMP_ACT_ALLOW"}],
    });
    ensure_eq!(answer(env, &profile, &["1000"])?, "ENOSYS", "system call 1000");
    ensure_eq!(answer(env, &profile, PERSONALITY)?, "EPERM", "personality");
    Ok(())
}

fn nnp(env: &mut Env) -> Outcome {
    for value in [true, false] {
        let mut bundle = calling(env, deny(&["getppid"], json!({})), GETPPID)?;
        bundle.set("/process/noNewPrivileges", json!(value))?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "EPERM\n", "noNewPrivileges {value}");
        // Loading it must not need what the process itself has not.
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
        bundle.set("/process/capabilities", json!({}))?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "EPERM\n", "a user, noNewPrivileges {value}");
    }
    Ok(())
}

/// With no_new_privs, the filter is the last of all: it may deny what makes the process what it is.
fn last_of_all(env: &mut Env) -> Outcome {
    let names =
        ["capset", "prctl", "setgid", "setgroups", "setresgid", "setresuid", "setuid", "umask"];
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", deny(&names, json!({})))?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}))?;
    bundle.set("/process/capabilities", json!({"bounding": ["CAP_KILL"]}))?;
    bundle.set("/process/noNewPrivileges", json!(true))?;
    let report = env.probe(&mut bundle)?;
    for (field, wanted) in [
        ("Seccomp", "2"),
        ("NoNewPrivs", "1"),
        ("Uid", "1000 1000 1000 1000"),
        ("Groups", "5"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000020"),
    ] {
        ensure_eq!(report["status"][field], wanted, "{field}");
    }
    // Without, it takes a privilege to load it, which is dropped under it.
    bundle.set("/process/noNewPrivileges", json!(false))?;
    bundle.set("/linux/seccomp", deny(&["personality"], json!({})))?;
    let report = env.probe(&mut bundle)?;
    for (field, wanted) in [("Seccomp", "2"), ("NoNewPrivs", "0"), ("CapPrm", "0000000000000000")] {
        ensure_eq!(report["status"][field], wanted, "{field}, without no_new_privs");
    }
    bundle.set("/linux/seccomp", deny(&["capset"], json!({})))?;
    env.run(&bundle)?.exits(1)?;
    env.nothing_left()
}

fn unknown_action(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getppid"], json!({}));
    profile["syscalls"][0]["action"] = json!("SCMP_ACT_DREAM");
    let output = env.run(&calling(env, profile, GETPPID)?)?.exits(1)?;
    ensure!(output.stderr.contains("SCMP_ACT_DREAM"), "{output}");
    env.nothing_left()
}

fn at_odds(env: &mut Env) -> Outcome {
    let mut profile = deny(&["getppid"], json!({}));
    let compare = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let other = json!({"names": ["getppid"], "action": "SCMP_ACT_KILL", "args": compare});
    profile["syscalls"][0]["args"] = compare;
    // Enough rules for init to be quicker than their check.
    let rule = |value| {
        let args = json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
        json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "args": args})
    };
    let mut rules: Vec<Value> = (0..2000).map(rule).collect();
    rules.extend([profile["syscalls"][0].take(), other]);
    profile["syscalls"] = json!(rules);
    let mut bundle = calling(env, profile, GETPPID)?;
    let marker = env.dir.join("hooked");
    let hook = json!({"path": "/bin/touch", "args": ["touch", marker]});
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        bundle.set("/hooks", json!({kind: [hook]}))?;
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("conflicts"), "{kind}: {output}");
        ensure!(!marker.exists(), "the {kind} hook has run");
        env.nothing_left()?;
    }
    // With another error, both are told at once.
    bundle.set("/process/oomScoreAdj", json!(1001))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("conflicts"), "{output}");
    ensure!(output.stderr.contains("oomScoreAdj"), "{output}");
    env.nothing_left()
}

fn exec(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", deny(&["getppid"], json!({})))?.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let output = env.exec(&id, &[], &["/bin/rawcall", "110"]).ok()?;
    ensure_eq!(output.stdout, "EPERM\n", "getppid");
    Ok(())
}

fn damaged(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", deny(&["getppid"], json!({})))?.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let file = env.root().join(&id).join("seccomp.bpf");
    for content in [&b""[..], b"odd", &[0xff; 64]] {
        fs::write(&file, content)?;
        let output = env.exec(&id, &[], &["true"]).exits(255)?;
        let wanted = format!("state of container {id}: {}: ", file.display());
        ensure!(output.stderr.contains(&wanted), "{content:?}: {output}");
    }
    Ok(())
}

/// A ready profile, and per system call its answer without and within.
fn profile_holds(env: &Env, profile: &str, table: &[(&[&str], &str, &str)]) -> Outcome {
    let profile: Value = serde_json::from_str(profile)?;
    let open = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    for (call, without, within) in table {
        ensure_eq!(answer(env, &open, call)?, *without, "system call {call:?}, no profile");
        ensure_eq!(answer(env, &profile, call)?, *within, "system call {call:?}");
    }
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", profile)?;
    bundle.shell("ls / > /dev/null && echo $(sleep 0.01; echo works)");
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "works\n", "a shell under the profile");
    Ok(())
}

fn podman_profile(env: &mut Env) -> Outcome {
    profile_holds(
        env,
        include_str!("../../bundles/examples/seccomp/containers-default.json"),
        &[
            (&["110"], "0", "0"),
            // personality(PER_LINUX32), personality(ADDR_NO_RANDOMIZE)
            (&["135", "8"], "0", "0"),
            (&["135", "0x40000"], "0", "ENOSYS"),
            // get_mempolicy, userfaultfd(UFFD_USER_MODE_ONLY), kcmp of the process with itself
            (&["239"], "0", "0"),
            (&["323", "1"], "3", "EPERM"),
            (&["312", "1", "1", "2"], "0", "EPERM"),
        ],
    )
}

fn docker_profile(env: &mut Env) -> Outcome {
    profile_holds(
        env,
        include_str!("../../bundles/examples/seccomp/docker-default.json"),
        &[
            (&["110"], "0", "0"),
            (&["135", "8"], "0", "0"),
            (&["135", "0x40000"], "0", "EPERM"),
            (&["323", "1"], "3", "EPERM"),
            // unshare(CLONE_NEWUSER), socket(AF_UNIX), clone3
            (&["272", "0x10000000"], "0", "EPERM"),
            (&["41", "1", "1", "0"], "3", "3"),
            (&["435"], "EINVAL", "ENOSYS"),
        ],
    )
}
