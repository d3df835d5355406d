//! What bounds a process: rlimits, capabilities, umask, oom score; and what is for other systems.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("process/every-rlimit", every_rlimit)
        .not_on(&[(Peer::Crun, "crun runs here with a library that sets its memory lock limit")]),
    Case::new("process/every-rlimit-of-exec", every_rlimit_of_exec).not_on(&[
        (
            Peer::Runc,
            "Go raises the number of open files now and then after runc has set it: runc#4195",
        ),
        (Peer::Crun, "crun runs here with a library that sets its memory lock limit"),
    ]),
    Case::new("process/umask-of-exec", umask).not_on(&[
        (Peer::Runc, "runc keeps it for exec since 1.2"),
        (Peer::Crun, "crun 1.8.1 does not keep it for exec"),
    ]),
    Case::new("process/capability-sets-of-exec", capabilities),
    Case::new("process/ambient-capabilities-need-inheritable-ones", ambient)
        .not_on(&[(Peer::Crun, "crun 1.8.1 fails")]),
    Case::new("process/oom-score-adj-out-of-range", oom_score)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("process/console-size-out-of-range", console_size).not_on(&[
        (Peer::Runc, "runc cuts it to 16 bits"),
        (Peer::Crun, "crun cuts it to 16 bits"),
    ]),
    Case::new("process/what-is-for-windows-is-ignored", windows),
];

/// Each limit's name, its row in /proc/PID/limits, and a soft and a hard value.
fn every_limit(env: &Env) -> [(&'static str, &'static str, u64, u64); 16] {
    // Without the privilege no hard limit can be raised, and these two begin at 0.
    let may = env.shared.host.lacks(Need::SysResource).is_none();
    let (low, high) = if may { (3, 5) } else { (0, 0) };
    [
        ("RLIMIT_CPU", "Max cpu time", 1000, 2000),
        ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
        ("RLIMIT_DATA", "Max data size", 1 << 30, 1 << 31),
        ("RLIMIT_STACK", "Max stack size", 1 << 22, 1 << 23),
        ("RLIMIT_CORE", "Max core file size", 0, 0),
        ("RLIMIT_RSS", "Max resident set", 1 << 30, 1 << 31),
        ("RLIMIT_NPROC", "Max processes", 500, 600),
        ("RLIMIT_NOFILE", "Max open files", 100, 200),
        ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
        ("RLIMIT_AS", "Max address space", 1 << 32, 1 << 33),
        ("RLIMIT_LOCKS", "Max file locks", 50, 60),
        ("RLIMIT_SIGPENDING", "Max pending signals", 70, 80),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 5000, 6000),
        ("RLIMIT_NICE", "Max nice priority", low, high),
        ("RLIMIT_RTPRIO", "Max realtime priority", low, high),
        ("RLIMIT_RTTIME", "Max realtime timeout", 1_000_000, 2_000_000),
    ]
}

fn with_every_limit(env: &Env) -> Result<Bundle, Failure> {
    let given = |(name, _, soft, hard)| json!({"type": name, "soft": soft, "hard": hard});
    let mut bundle = env.bundle()?;
    bundle.set("/process/rlimits", every_limit(env).map(given).into())?;
    Ok(bundle)
}

fn check_every_limit(env: &Env, report: &Value) -> Outcome {
    for (name, row, soft, hard) in every_limit(env) {
        ensure_eq!(report["limits"][row], json!([soft.to_string(), hard.to_string()]), "{name}");
    }
    Ok(())
}

fn every_rlimit(env: &mut Env) -> Outcome {
    let mut bundle = with_every_limit(env)?;
    let report = env.probe(&mut bundle)?;
    check_every_limit(env, &report)
}

fn every_rlimit_of_exec(env: &mut Env) -> Outcome {
    let mut bundle = with_every_limit(env)?;
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let report = env.exec_probe(&id, &[])?;
    check_every_limit(env, &report)
}

/// `exec` of the probe by a process file with this in it.
fn exec_file(env: &Env, id: &str, more: &Value) -> Result<Value, Failure> {
    let mut process = json!({
        "args": ["/bin/probe"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        process[key.as_str()] = value.clone();
    }
    let path = env.dir.join("process.json");
    fs::write(&path, process.to_string())?;
    let words = ["exec", "--process", &path.to_string_lossy(), id].map(str::to_owned);
    Ok(serde_json::from_str(&env.runtime(&words).ok()?.stdout)?)
}

fn umask(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/process/user/umask", json!(0o027))?;
    let id = env.detach(&bundle, "d", &[])?;
    ensure_eq!(env.exec_probe(&id, &[])?["status"]["Umask"], "0027", "the container's");
    ensure_eq!(exec_file(env, &id, &json!({}))?["status"]["Umask"], "0027", "of a file without");
    let own = json!({"user": {"uid": 0, "gid": 0, "umask": 0o077}});
    ensure_eq!(exec_file(env, &id, &own)?["status"]["Umask"], "0077", "the file's own");
    Ok(())
}

fn sets(report: &Value) -> Vec<u64> {
    ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"]
        .iter()
        .map(|key| report["status"][key].as_str().unwrap_or_default())
        .map(|text| u64::from_str_radix(text, 16).unwrap_or(u64::MAX))
        .collect()
}

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const RAW: u64 = 1 << 13;

fn capabilities(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    let more = json!({
        "user": {"uid": 1000, "gid": 1000},
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "permitted": ["CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
            "ambient": ["CAP_NET_RAW"],
        },
    });
    // Across the exec, a user keeps what is ambient.
    let wanted = [CHOWN | KILL | RAW, RAW, RAW, KILL | RAW, RAW];
    ensure_eq!(sets(&exec_file(env, &id, &more)?), wanted, "bounding to ambient");
    Ok(())
}

fn ambient(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_KILL", "CAP_NET_RAW"],
            "effective": [], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_NET_RAW"],
        }),
    )?;
    let wanted = [KILL | RAW, KILL, KILL, KILL, KILL];
    ensure_eq!(sets(&env.probe(&mut bundle)?), wanted, "bounding to ambient");
    Ok(())
}

fn refused(env: &Env, pointer: &str, value: &Value, words: &[&str]) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set(pointer, value.clone())?;
    let output = env.run(&bundle)?.exits(1)?;
    for word in words.iter().filter(|_| env.is(Peer::Ghost)) {
        ensure!(output.stderr.contains(word), "{value}: no {word:?} in {output}");
    }
    env.nothing_left()
}

fn oom_score(env: &mut Env) -> Outcome {
    for score in [1001, -1001] {
        let words = ["process.oomScoreAdj", &score.to_string()];
        refused(env, "/process/oomScoreAdj", &json!(score), &words)?;
    }
    Ok(())
}

fn console_size(env: &mut Env) -> Outcome {
    let size = json!({"height": 65536, "width": 80});
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/process/consoleSize", size)?;
    // There is no console, whose size it could be.
    for terminal in [None, Some(false)] {
        bundle.config["process"]["terminal"] = json!(terminal);
        env.run(&bundle)?.ok()?;
    }
    bundle.config["process"]["terminal"] = json!(true);
    let output = env.run(&bundle)?.exits(1)?;
    for word in ["process.consoleSize.height", "65536"].iter().filter(|_| env.is(Peer::Ghost)) {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    env.nothing_left()
}

fn windows(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/user/username", json!("nobody"))?;
    bundle.set("/process/commandLine", json!("cmd /c exit 3"))?;
    let report = env.probe(&mut bundle)?;
    ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid");
    ensure_eq!(report["args"], json!(["/bin/probe"]), "arguments");
    Ok(())
}
