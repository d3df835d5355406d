//! Namespaces that several containers share, paths that lead to none, and the clocks of time
//! namespaces.

use std::fs;

use serde_json::{Value, json};

use super::namespaces::mapped;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const TIME_PEERS: &[(Peer, &str)] = &[
    (Peer::Runc, "runc has time namespaces since 1.2"),
    (Peer::Crun, "crun 1.8.1 breaks off while it writes the offsets"),
];
const TIME: &[Need] = &[Need::TimeNamespace];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("namespaces/pod-of-two", pod),
    Case::new("namespaces/pod-of-two-with-a-user-namespace", user_pod),
    Case::new("namespaces/every-one-joined-but-mount", every_joined).needs(TIME).not_on(TIME_PEERS),
    Case::new("namespaces/empty-path-is-a-new-one", empty_path)
        .not_on(&[(Peer::Crun, "crun 1.8.1 opens it")]),
    Case::new("namespaces/relative-path", relative_path)
        .not_on(&[(Peer::Runc, "runc opens it"), (Peer::Crun, "crun opens it")]),
    Case::new("namespaces/time-offsets-below-zero", negative).needs(TIME).not_on(TIME_PEERS),
    Case::new("namespaces/time-offset-of-one-clock", one_clock).needs(TIME).not_on(TIME_PEERS),
    Case::new("namespaces/time-of-exec", time_exec).needs(TIME).not_on(TIME_PEERS),
    Case::new("namespaces/time-offsets-bad-values", bad_offsets).needs(TIME).not_on(TIME_PEERS),
];

/// The link of a process's namespace.
fn link(pid: i32, name: &str) -> Result<String, Failure> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{name}"))?.to_string_lossy().into_owned())
}

/// Joins these namespaces of a process: as config.json and as /proc names them.
fn join(bundle: &mut Bundle, pid: i32, kinds: &[(&str, &str)]) -> Outcome {
    for (kind, name) in kinds {
        bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{name}")))?;
    }
    Ok(())
}

fn check(report: &Value, pid: i32, kinds: &[(&str, &str)], whose: &str) -> Outcome {
    for (_, name) in kinds {
        ensure_eq!(report["namespaces"][*name], link(pid, name)?, "{name} namespace of {whose}");
    }
    Ok(())
}

const POD: &[(&str, &str)] = &[("network", "net"), ("ipc", "ipc"), ("uts", "uts")];

fn pod(env: &mut Env) -> Outcome {
    let first = env.detach(&env.bundle_with(&["sleep", "1000"])?, "first", &[])?;
    let pid = env.pid(&first)?;
    let mut bundle = env.bundle()?;
    bundle.remove("/hostname")?;
    join(&mut bundle, pid, POD)?;
    let report = env.probe(&mut bundle)?;
    check(&report, pid, POD, "the second")?;
    ensure_eq!(report["pid"], 1, "pid in a namespace of its own");
    bundle.args(&["sleep", "1000"]);
    let second = env.detach(&bundle, "second", &[])?;
    check(&env.exec_probe(&second, &[])?, pid, POD, "exec in the second")?;
    // The namespaces outlive the container that made them.
    env.runtime(&["delete", "--force", &first]).ok()?;
    ensure_eq!(env.status(&second)?, "running", "the second container");
    env.exec_probe(&second, &[]).map(drop)
}

fn user_pod(env: &mut Env) -> Outcome {
    const ALL: &[(&str, &str)] =
        &[("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let mut holder = mapped(env, 100_000)?;
    holder.args(&["sleep", "1000"]);
    let first = env.detach(&holder, "first", &[])?;
    let pid = env.pid(&first)?;
    let mut bundle = mapped(env, 100_000)?;
    bundle.remove("/hostname")?;
    join(&mut bundle, pid, ALL)?;
    if !env.is(Peer::Runc) {
        bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
    }
    let report = env.probe(&mut bundle)?;
    check(&report, pid, ALL, "the second")?;
    ensure_eq!(report["uid_map"], json!(["0 100000 65536"]), "uid_map");
    ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid");
    // Its root has the shared network to configure, which the shared user namespace owns.
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_NET_ADMIN"]);
    bundle.shell("ip link set lo mtu 1401 && cat /sys/class/net/lo/mtu");
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1401\n", "mtu");
    bundle.args(&["sleep", "1000"]);
    let second = env.detach(&bundle, "second", &[])?;
    check(&env.exec_probe(&second, &[])?, pid, ALL, "exec in the second")
}

fn every_joined(env: &mut Env) -> Outcome {
    const ALL: &[(&str, &str)] = &[
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
        ("cgroup", "cgroup"),
        ("time", "time"),
    ];
    let mut holder = env.bundle_with(&["sleep", "1000"])?;
    holder.namespace("time", None)?.namespace("cgroup", None)?;
    let first = env.detach(&holder, "first", &[])?;
    let pid = env.pid(&first)?;
    let mut bundle = env.bundle()?;
    bundle.remove("/hostname")?;
    join(&mut bundle, pid, ALL)?;
    check(&env.probe(&mut bundle)?, pid, ALL, "the second")
}

fn empty_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    for (kind, name) in POD {
        bundle.namespace(kind, Some(""))?;
        let report = env.probe(&mut bundle)?;
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        ensure!(report["namespaces"][*name] != json!(own), "{name} namespace is the caller's");
    }
    Ok(())
}

fn refused(env: &Env, bundle: &Bundle, words: &[&str]) -> Outcome {
    let output = env.run(bundle)?.exits(1)?;
    for word in words {
        ensure!(output.stderr.contains(word), "stderr lacks {word:?}: {output}");
    }
    env.nothing_left()
}

fn relative_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.namespace("network", Some("proc/self/ns/net"))?;
    refused(env, &bundle, &["linux.namespaces[", "].path", "proc/self/ns/net"])
}

fn timed(env: &Env, offsets: Value) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.namespace("time", None)?.set("/linux/timeOffsets", offsets)?;
    Ok(bundle)
}

fn negative(env: &mut Env) -> Outcome {
    let offsets = json!({
        "monotonic": {"secs": -3, "nanosecs": 250_000_000},
        "boottime": {"secs": -2, "nanosecs": 999_999_999},
    });
    let report = env.probe(&mut timed(env, offsets)?)?;
    ensure_eq!(
        report["timens_offsets"],
        json!(["monotonic -3 250000000", "boottime -2 999999999"]),
        "offsets"
    );
    Ok(())
}

fn one_clock(env: &mut Env) -> Outcome {
    for (offsets, wanted) in [
        (json!({"boottime": {"secs": 60}}), ["monotonic 0 0", "boottime 60 0"]),
        (json!({"monotonic": {"nanosecs": 7}}), ["monotonic 0 7", "boottime 0 0"]),
        (json!({}), ["monotonic 0 0", "boottime 0 0"]),
    ] {
        let report = env.probe(&mut timed(env, offsets.clone())?)?;
        ensure_eq!(report["timens_offsets"], json!(wanted), "{offsets}");
        let own = fs::read_link("/proc/self/ns/time")?;
        ensure!(report["namespaces"]["time"] != json!(own), "the time namespace is the caller's");
    }
    Ok(())
}

fn time_exec(env: &mut Env) -> Outcome {
    let mut bundle = timed(env, json!({"boottime": {"secs": 1_000_000}}))?;
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let report = env.exec_probe(&id, &[])?;
    ensure_eq!(report["namespaces"]["time"], link(env.pid(&id)?, "time")?, "time namespace");
    let output = env.exec(&id, &[], &["cat", "/proc/uptime"]).ok()?;
    let uptime: f64 = output.stdout.split(' ').next().unwrap_or_default().parse()?;
    ensure!(uptime > 1_000_000.0, "uptime {uptime}");
    Ok(())
}

fn bad_offsets(env: &mut Env) -> Outcome {
    for (offsets, words) in [
        (json!({"realtime": {"secs": 1}}), ["linux.timeOffsets.realtime", "monotonic"]),
        (
            json!({"boottime": {"nanosecs": 1_000_000_000}}),
            ["linux.timeOffsets.boottime.nanosecs", "1000000000"],
        ),
        // A clock can't be before its zero.
        (
            json!({"boottime": {"secs": -999_999_999_999_i64}}),
            ["linux.timeOffsets.boottime.secs", "-999999999999"],
        ),
        (
            json!({"boottime": {"secs": 5}, "monotonic": {"secs": -999_999_999_998_i64}}),
            ["linux.timeOffsets.monotonic.secs", "-999999999998"],
        ),
        (json!({"boottime": {"secs": "x"}}), ["linux.timeOffsets.boottime.secs", "\\\"x\\\""]),
    ] {
        refused(env, &timed(env, offsets)?, &words)?;
    }
    let mut bundle = timed(env, json!({"boottime": {"secs": 1}}))?;
    bundle.drop_namespace("time")?;
    refused(env, &bundle, &["linux.timeOffsets.boottime", "time namespace"])
}
