//! The numbers that the kernel is given for the words of config.json: all of them, also those that this
//! kernel refuses, or whose effect nothing shows.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::trace::{calls, trace};
use crate::{ensure, ensure_eq};

const OLD: &[(Peer, &str)] =
    &[(Peer::Runc, "runc 1.1.5 has it not"), (Peer::Crun, "crun 1.8.1 has it not")];
const LIBSECCOMP: &[(Peer, &str)] = &[
    (Peer::Runc, "libseccomp makes more such calls, with flags of its own"),
    (Peer::Crun, "libseccomp makes more such calls, with flags of its own"),
];

/// Whatever the kernel, the numbers are the same.
const TRACED: &[Need] = &[Need::Command("strace")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("scheduling/numbers-of-policies-and-flags", scheduler).needs(TRACED).not_on(OLD),
    Case::new("memory-policy/numbers-of-modes-and-flags", memory_policy).needs(TRACED).not_on(OLD),
    Case::new("seccomp/numbers-of-flags", seccomp_flags).needs(TRACED).not_on(LIBSECCOMP),
    Case::new("seccomp/numbers-of-flags-with-an-agent", agent_flags)
        .needs(TRACED)
        .not_on(LIBSECCOMP),
    Case::new("seccomp/numbers-of-actions", seccomp_actions).needs(TRACED).not_on(LIBSECCOMP),
];

/// The only call of this name under `run`, with numbers for names; it may be made to succeed.
fn only_call(env: &Env, bundle: &mut Bundle, name: &str, fake: bool) -> Result<String, Failure> {
    bundle.args(&["true"]);
    let (which, result) = (format!("trace={name}"), format!("inject={name}:retval=0"));
    let mut words = vec!["-X", "raw", "-v", "-e", &which];
    if fake {
        words.extend(["-e", &result]);
    }
    let text = trace(env, env.run(bundle)?, &words)?;
    // Not those that only ask whether the kernel knows a flag.
    let made: Vec<&str> =
        calls(&text, name).into_iter().filter(|call| !call.contains("NULL)")).collect();
    ensure_eq!(made.len(), 1, "calls in {text}");
    Ok(made[0].to_owned())
}

fn scheduler(env: &mut Env) -> Outcome {
    let deadline = json!({
        "policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000,
        "period": 100_000_000,
    });
    let flagged = |flags: &[&str]| json!({"policy": "SCHED_OTHER", "nice": 5, "flags": flags});
    let flags = [
        ("SCHED_FLAG_RESET_ON_FORK", "flags=0x1"),
        ("SCHED_FLAG_RECLAIM", "flags=0x2"),
        ("SCHED_FLAG_DL_OVERRUN", "flags=0x4"),
        ("SCHED_FLAG_KEEP_POLICY", "flags=0x8"),
        ("SCHED_FLAG_KEEP_PARAMS", "flags=0x10"),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", "flags=0x20"),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", "flags=0x40"),
    ];
    let mut rows = vec![
        (flagged(&[]), "policy=0 flags=0 nice=5 priority=0 runtime=0"),
        (json!({"policy": "SCHED_FIFO", "priority": 12}), "policy=0x1 priority=12"),
        (json!({"policy": "SCHED_RR", "priority": 99}), "policy=0x2 priority=99"),
        (json!({"policy": "SCHED_BATCH", "nice": -20}), "policy=0x3 nice=-20"),
        (json!({"policy": "SCHED_ISO"}), "policy=0x4"),
        (json!({"policy": "SCHED_IDLE"}), "policy=0x5"),
        (deadline, "policy=0x6 runtime=5000000 deadline=50000000 period=100000000"),
        (flagged(&flags.map(|(flag, _)| flag)), "flags=0x7f"),
    ];
    rows.extend(flags.map(|(flag, wanted)| (flagged(&[flag]), wanted)));
    for (given, wanted) in rows {
        let mut bundle = env.bundle()?;
        bundle.set("/process/scheduler", given.clone())?;
        let call = only_call(env, &mut bundle, "sched_setattr", true)?;
        for word in wanted.split(' ') {
            ensure!(call.contains(&format!(" sched_{word},")), "{given}: no {word} in {call}");
        }
    }
    Ok(())
}

fn memory_policy(env: &mut Env) -> Outcome {
    let flagged = |flag: &str| json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
    for (given, mode, nodes) in [
        (json!({"mode": "MPOL_DEFAULT"}), "0", "NULL"),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "1"}), "0x1", "[0x00000000000002]"),
        (json!({"mode": "MPOL_BIND", "nodes": "0,2-3"}), "0x2", "[0x0000000000000d]"),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "0x3", "[0x00000000000001]"),
        (json!({"mode": "MPOL_LOCAL"}), "0x4", "NULL"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "0x5", "[0x00000000000001]"),
        (json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}), "0x6", "[0x00000000000001]"),
        (flagged("MPOL_F_NUMA_BALANCING"), "0x2002", "[0x00000000000001]"),
        (flagged("MPOL_F_RELATIVE_NODES"), "0x4002", "[0x00000000000001]"),
        (flagged("MPOL_F_STATIC_NODES"), "0x8002", "[0x00000000000001]"),
    ] {
        let mut bundle = env.bundle()?;
        bundle.set("/linux/memoryPolicy", given.clone())?;
        let call = only_call(env, &mut bundle, "set_mempolicy", true)?;
        let wanted = format!("set_mempolicy({mode}, {nodes}, ");
        ensure!(call.starts_with(&wanted), "{given}: {call}, wanted {wanted}");
    }
    Ok(())
}

const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// The flags of seccomp(2) for this profile, null being no list of flags.
fn given_flags(env: &Env, mut profile: Value, flags: &Value) -> Result<String, Failure> {
    if !flags.is_null() {
        profile["flags"] = flags.clone();
    }
    let mut bundle = env.bundle()?;
    bundle.set("/linux/seccomp", profile)?;
    let call = only_call(env, &mut bundle, "seccomp", false)?;
    let number = call.strip_prefix("seccomp(0x1, ").and_then(|rest| rest.split_once(','));
    ensure!(call.ends_with("= 0") || call.ends_with("= 3"), "{flags}: {call}");
    Ok(number.map(|(number, _)| number.to_owned()).unwrap_or_default())
}

fn seccomp_flags(env: &mut Env) -> Outcome {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    for (flags, wanted) in [
        // As runc: no list is not an empty one.
        (json!(null), "0x4"),
        (json!([]), "0"),
        (json!(FLAGS[..1]), "0x1"),
        (json!(FLAGS[1..2]), "0x2"),
        (json!(FLAGS[2..3]), "0x4"),
        // The kernel refuses it without a listener, on which alone it has an effect.
        (json!(FLAGS[3..]), "0"),
        (json!(FLAGS), "0x7"),
    ] {
        ensure_eq!(given_flags(env, profile.clone(), &flags)?, wanted, "{flags}");
    }
    Ok(())
}

fn agent_flags(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}],
    });
    for (flags, wanted) in [
        (json!([]), "0x8"),
        // With TSYNC_ESRCH, without which the kernel refuses it beside a listener.
        (json!(FLAGS[..1]), "0x19"),
        (json!(FLAGS[1..2]), "0xa"),
        (json!(FLAGS[2..3]), "0xc"),
        (json!(FLAGS[3..]), "0x28"),
        (json!(FLAGS), "0x3f"),
    ] {
        ensure_eq!(given_flags(env, profile.clone(), &flags)?, wanted, "{flags}");
    }
    Ok(())
}

/// What the kernel does for each is in the other cases, but for what it writes to its log.
fn seccomp_actions(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    for (action, wanted) in [
        ("SCMP_ACT_KILL", "0"),
        ("SCMP_ACT_KILL_THREAD", "0"),
        ("SCMP_ACT_KILL_PROCESS", "0x80000000"),
        ("SCMP_ACT_TRAP", "0x30000"),
        ("SCMP_ACT_ERRNO", "0x50000|0x4d"),
        ("SCMP_ACT_TRACE", "0x7ff00000|0x4d"),
        ("SCMP_ACT_LOG", "0x7ffc0000"),
        ("SCMP_ACT_NOTIFY", "0x7fc00000"),
    ] {
        let mut bundle = env.bundle()?;
        let mut rule = json!({"names": ["getpgrp"], "action": action});
        if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") {
            rule["errnoRet"] = json!(77);
        }
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": agent.path, "syscalls": [rule],
        });
        bundle.set("/linux/seccomp", profile)?;
        let call = only_call(env, &mut bundle, "seccomp", false)?;
        let answer = format!("BPF_STMT(0x6|0, {wanted})");
        ensure!(call.contains(&answer), "{action}: no {answer} in {call}");
    }
    Ok(())
}
