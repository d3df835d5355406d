//! linux.intelRdt: groups of resctrl, where the machine has it, and refusals where not.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::errors::refuses_value;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const WORDS: &[(Peer, &str)] = &[
    (Peer::Runc, "runc 1.1 does not look for the file system"),
    (Peer::Crun, "crun words its errors in its own way"),
];
const OLD: &[(Peer, &str)] = &[
    (Peer::Runc, "runc has monitoring groups since 1.4"),
    (Peer::Crun, "crun has monitoring groups since 1.24"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("intel-rdt/bad-values", bad).not_on(WORDS),
    Case::new("intel-rdt/not-mounted", not_mounted).needs(&[Need::NoResctrl]).not_on(WORDS),
    Case::new("intel-rdt/update-where-it-is-not-mounted", update_not_mounted)
        .needs(&[Need::NoResctrl])
        .not_on(&[(Peer::Crun, "crun words its errors in its own way")]),
    Case::new("intel-rdt/update", update).needs(&[Need::Resctrl]).not_on(OLD),
    Case::new("intel-rdt/groups-of-its-own", own_groups).needs(&[Need::Resctrl]).not_on(OLD),
    Case::new("intel-rdt/group-that-is-there", shared_group).needs(&[Need::Resctrl]).not_on(OLD),
];

fn bad(env: &mut Env) -> Outcome {
    for (value, words) in [
        (json!({"closID": ".."}), ["linux.intelRdt.closID", "\\\"..\\\""]),
        (json!({"closID": "a/b"}), ["linux.intelRdt.closID", "a/b"]),
        (json!({"closID": "mon_groups"}), ["linux.intelRdt.closID", "mon_groups"]),
        (json!({"l3CacheSchema": "L3"}), ["linux.intelRdt.l3CacheSchema", "L3"]),
        (json!({"memBwSchema": "MB:0"}), ["linux.intelRdt.memBwSchema", "MB:0"]),
        (json!({"schemata": "L3:0=f"}), ["linux.intelRdt.schemata", "L3:0=f"]),
        (json!({"enableCMT": "yes"}), ["linux.intelRdt.enableCMT", "yes"]),
        (json!({"enableMBM": 1}), ["linux.intelRdt.enableMBM", "1 is not a boolean"]),
        (json!({"enableMonitoring": "yes"}), ["linux.intelRdt.enableMonitoring", "yes"]),
        (json!({"enableCMT": "yes"}), ["linux.intelRdt.enableCMT", "yes"]),
        (json!({"enableMBM": "yes"}), ["linux.intelRdt.enableMBM", "yes"]),
    ] {
        refuses_value(env, "/linux/intelRdt", &value, &words)?;
    }
    Ok(())
}

fn not_mounted(env: &mut Env) -> Outcome {
    for value in [
        json!({}),
        json!({"closID": "x"}),
        json!({"schemata": ["L3:0=f"]}),
        json!({"enableMonitoring": true}),
    ] {
        refuses_value(
            env,
            "/linux/intelRdt",
            &value,
            &["linux.intelRdt", "no resctrl file system is mounted"],
        )?;
    }
    Ok(())
}

fn update_not_mounted(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    for (flag, value, runc) in [
        ("--l3-cache-schema", "L3:0=ff", "l3 cache schema is not enabled"),
        ("--mem-bw-schema", "MB:0=20", "memory bandwidth schema is not enabled"),
    ] {
        let words = if env.is(Peer::Ghost) { "no resctrl file system is mounted" } else { runc };
        let output = env.runtime(&["update", flag, value, &id]).exits(1)?;
        ensure!(output.stderr.contains(words), "no {words:?} in {output}");
    }
    if env.is(Peer::Ghost) {
        for (flag, value) in [("--l3-cache-schema", "L3"), ("--mem-bw-schema", "MB:0")] {
            let output = env.runtime(&["update", flag, value, &id]).exits(1)?;
            let quoted = format!("\\\"{value}\\\" is not of the form");
            ensure!(output.stderr.contains(&quoted), "no {quoted} in {output}");
        }
    }
    Ok(())
}

fn update(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let group = root()?.join(&id);
    let schemata = fs::read_to_string(root()?.join("schemata"))?;
    let mut updated = false;
    for (flag, name) in [("--l3-cache-schema", "L3"), ("--mem-bw-schema", "MB")] {
        // Not every processor has both.
        let line = schemata.lines().map(str::trim).find(|line| line.starts_with(name));
        let Some(line) = line else { continue };
        updated = true;
        env.runtime(&["update", flag, line, &id]).ok()?;
        ensure!(has_task(&group, env.pid(&id)?)?, "init is not in {}", group.display());
        let now = fs::read_to_string(group.join("schemata"))?;
        ensure!(now.contains(line), "{now:?} lacks {line}");
    }
    ensure!(updated, "neither L3 nor MB in {schemata}");
    env.delete_all()?;
    ensure!(!group.exists(), "{} is left", group.display());
    Ok(())
}

/// Where resctrl is mounted.
fn root() -> Result<PathBuf, Failure> {
    let table = fs::read_to_string("/proc/self/mounts")?;
    let mut rows = table.lines().map(|row| row.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(2) == Some(&"resctrl"));
    let row = row.ok_or_else(|| Failure("resctrl is not mounted".to_owned()))?;
    Ok(PathBuf::from(row[1]))
}

fn has_task(group: &Path, pid: i32) -> Result<bool, Failure> {
    Ok(fs::read_to_string(group.join("tasks"))?.lines().any(|line| line == pid.to_string()))
}

fn own_groups(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/linux/intelRdt", json!({"enableMonitoring": true}))?;
    let id = env.detach(&bundle, "d", &[])?;
    let group = root()?.join(&id);
    let monitor = group.join("mon_groups").join(&id);
    let pid = env.pid(&id)?;
    ensure!(has_task(&group, pid)?, "init is not in {}", group.display());
    ensure!(has_task(&monitor, pid)?, "init is not in {}", monitor.display());
    env.exec(&id, &["--detach"], &["sleep", "1000"]).ok()?;
    let tasks = fs::read_to_string(monitor.join("tasks"))?;
    ensure_eq!(tasks.lines().count(), 2, "tasks after exec");
    env.delete_all()?;
    ensure!(!group.exists(), "{} is left", group.display());
    Ok(())
}

fn shared_group(env: &mut Env) -> Outcome {
    let name = env.id("clos");
    let group = root()?.join(&name);
    refuses_value(
        env,
        "/linux/intelRdt",
        &json!({"closID": name}),
        &["linux.intelRdt.closID", &name],
    )?;
    fs::create_dir(&group)?;
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/linux/intelRdt", json!({"closID": name, "enableMonitoring": true}))?;
    let id = env.detach(&bundle, "d", &[])?;
    ensure!(has_task(&group, env.pid(&id)?)?, "init is not in {}", group.display());
    env.delete_all()?;
    ensure!(!group.join("mon_groups").join(&id).exists(), "its monitoring group is left");
    ensure!(group.exists(), "a group that was there before is gone");
    let other = json!({"closID": name, "schemata": ["L3:0=0"]});
    refuses_value(env, "/linux/intelRdt", &other, &["linux.intelRdt", "L3:0=0"])?;
    fs::remove_dir(&group)?;
    Ok(())
}
