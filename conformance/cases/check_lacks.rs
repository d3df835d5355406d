//! `check`: what is not there on this host is told, whatever else is wrong, and once.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::bad_values::put;
use super::check::{check, find};
use crate::case::{Case, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const GHOST: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc has no such command"),
    (Peer::Crun, "ghost only: crun has no such command"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("check/hooks-that-are-not-there", hooks).not_on(GHOST),
    Case::new("check/findings-beside-others", beside).not_on(GHOST),
    Case::new("check/limits-beside-others", limits_beside).needs(&[Need::V1]).not_on(GHOST),
    Case::new("check/device-that-is-not-made", device).not_on(GHOST),
    Case::new("check/limits-left-out-on-v1", |env| left_out(env, OF_BOTH))
        .needs(&[Need::V1])
        .not_on(GHOST),
    Case::new("check/limits-left-out-on-v2", |env| left_out(env, &[OF_BOTH, OF_V1].concat()))
        .needs(&[Need::V2])
        .not_on(GHOST),
];

/// Programs of hooks are looked up: without one, `create` fails, or what comes after it.
fn hooks(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let plain = bundle.config.clone();
    let file = env.dir.join("no-program");
    fs::write(&file, "")?;
    for program in [Path::new("/no/such/hook"), &file, Path::new("/etc")] {
        for (kind, code) in [
            ("prestart", 1),
            ("createRuntime", 1),
            ("createContainer", 1),
            ("startContainer", 0),
            ("poststart", 0),
            ("poststop", 0),
        ] {
            bundle.config = plain.clone();
            bundle.set("/hooks", json!({kind: [{"path": "/bin/true"}, {"path": program}]}))?;
            let findings = check(env, &bundle, code)?;
            ensure_eq!(
                findings.len(),
                usize::from(kind != "startContainer"),
                "{kind} {findings:?}"
            );
            if let [finding] = &findings[..] {
                ensure_eq!(finding["path"], json!(format!("hooks.{kind}[1].path")), "{finding}");
                let class = if code == 1 { "host" } else { "warning" };
                ensure_eq!(finding["kind"], json!(class), "{finding}");
            }
            let dir = bundle.dir.to_string_lossy().into_owned();
            let id = env.id("hooked");
            env.runtime(&["create", "-b", &dir, &id]).exits(code)?;
            if code == 0 {
                env.runtime(&["delete", "--force", &id]).ok()?;
            }
        }
    }
    Ok(())
}

/// What the host lacks is told beside what is wrong everywhere.
fn beside(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/netDevices", json!({"nope0": {}}))?;
    bundle.set("/process/cwd", json!("relative"))?;
    bundle.set("/hooks", json!({"createRuntime": [{"path": "/no/such/hook"}]}))?;
    let findings = check(env, &bundle, 1)?;
    for (path, kind) in [
        ("process.cwd", "violation"),
        ("linux.netDevices[nope0]", "host"),
        ("hooks.createRuntime[0].path", "host"),
    ] {
        ensure_eq!(find(&findings, path)?["kind"], json!(kind), "kind");
    }
    ensure_eq!(findings.len(), 3, "findings {findings:?}");
    // A bad name hides no other.
    bundle.set("/linux/netDevices", json!({"nope0": {}, "a/b": {}}))?;
    let findings = check(env, &bundle, 1)?;
    find(&findings, "linux.netDevices[nope0]")?;
    find(&findings, "linux.netDevices[a/b]")?;
    ensure_eq!(findings.len(), 4, "findings {findings:?}");
    Ok(())
}

/// A limit that is wrong everywhere hides none that this host can't set.
fn limits_beside(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/cpu", json!({"shares": 1}))?;
    bundle.set("/linux/resources/memory", json!({"swappiness": 101}))?;
    bundle.set(
        "/linux/resources/hugepageLimits",
        json!([{"pageSize": "2 MB", "limit": 1}, {"pageSize": "3MB", "limit": 1}]),
    )?;
    bundle.set("/linux/resources/blockIO", json!({"leafWeight": 100}))?;
    let findings = check(env, &bundle, 1)?;
    for (path, kind) in [
        ("linux.resources.cpu.shares", "violation"),
        ("linux.resources.memory.swappiness", "violation"),
        ("linux.resources.hugepageLimits[0].pageSize", "violation"),
        ("linux.resources.hugepageLimits[1]", "host"),
        ("linux.resources.blockIO.leafWeight", "host"),
    ] {
        ensure_eq!(find(&findings, path)?["kind"], json!(kind), "kind");
    }
    ensure_eq!(findings.len(), 5, "findings {findings:?}");
    Ok(())
}

/// Those that can't be made are told one by one, and nothing that comes of their absence.
fn device(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let node = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 3});
    bundle.set(
        "/linux/devices",
        json!([node("/bin/true/x"), node("/dev/good"), node("/bin/true/y")]),
    )?;
    let findings = check(env, &bundle, 1)?;
    let told: Vec<_> = findings.iter().map(|finding| &finding["path"]).collect();
    ensure_eq!(told, ["linux.devices[0].path", "linux.devices[2].path"], "{findings:?}");
    // What covers files is made of it.
    bundle.set("/linux/devices", json!([]))?;
    bundle.config["mounts"].as_array_mut().into_iter().flatten().for_each(|mount| {
        if mount["destination"] == "/dev" {
            mount["destination"] = json!("/elsewhere");
        }
    });
    fs::create_dir_all(bundle.rootfs().join("dev"))?;
    fs::write(bundle.rootfs().join("dev/null"), "")?;
    let findings = check(env, &bundle, 1)?;
    ensure!(findings.iter().all(|one| one["path"] == "linux.devices"), "{findings:?}");
    ensure_eq!(findings.len(), 1, "findings {findings:?}");
    Ok(())
}

/// Pointers below `linux.resources`, values, and the fields that are warned of.
type LeftOut = (&'static str, &'static str, &'static str);

const OF_BOTH: &[LeftOut] = &[
    ("memory/kernel", "16777216", "memory.kernel"),
    ("memory/kernelTCP", "16777216", "memory.kernelTCP"),
    ("memory/useHierarchy", "false", "memory.useHierarchy"),
];
const OF_V1: &[LeftOut] = &[
    ("memory/swappiness", "10", "memory.swappiness"),
    ("memory/disableOOMKiller", "true", "memory.disableOOMKiller"),
    ("cpu/realtimeRuntime", "1000", "cpu.realtimeRuntime"),
    ("cpu/realtimePeriod", "900000", "cpu.realtimePeriod"),
    ("blockIO/leafWeight", "300", "blockIO.leafWeight"),
    (
        "blockIO/weightDevice/0",
        r#"{"major": 8, "minor": 0, "leafWeight": 300}"#,
        "blockIO.weightDevice[0].leafWeight",
    ),
    ("network/classID", "7", "network.classID"),
    ("network/priorities/0", r#"{"name": "lo", "priority": 5}"#, "network.priorities"),
];

/// Limits that this version of control groups has no file for work, but not as asked.
fn left_out(env: &mut Env, limits: &[LeftOut]) -> Outcome {
    let mut bundle = env.bundle()?;
    for (pointer, value, _) in limits {
        put(&mut bundle.config, &format!("/linux/resources/{pointer}"), value)?;
    }
    let findings = check(env, &bundle, 0)?;
    for (_, _, field) in limits {
        let finding = find(&findings, &format!("linux.resources.{field}"))?;
        ensure_eq!(finding["kind"], json!("warning"), "{finding}");
    }
    ensure_eq!(findings.len(), limits.len(), "findings {findings:?}");
    // What asks for nothing is not warned of, engines send it.
    let mut bundle = env.bundle()?;
    bundle
        .set("/linux/resources/memory", json!({"disableOOMKiller": false, "useHierarchy": true}))?;
    let findings = check(env, &bundle, 0)?;
    ensure!(findings.is_empty(), "findings {findings:?}");
    Ok(())
}
