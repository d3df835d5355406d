//! `events`: what a container uses, in runc's form, and that it ran out of memory.

use std::time::Duration;

use serde_json::{Value, json};

use super::cgroups_v2;
use crate::call::{Output, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const LIMITS: &[Need] = &[Need::Controllers];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "has no events")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("events/stats", stats).needs(LIMITS).not_on(CRUN),
    Case::new("events/stats-have-runc-form", runc_form).needs(LIMITS).not_on(CRUN),
    Case::new("events/pressure", pressure)
        .needs(&[Need::V2Controllers])
        .not_on(&[(Peer::Runc, "runc 1.1 knows no pressure"), (Peer::Crun, "has no events")]),
    Case::new("events/stats-without-controllers", bare).not_on(&[
        (Peer::Runc, "runc 1.1 fails where a controller is not there"),
        (Peer::Crun, "has no events"),
    ]),
    Case::new("events/interval", interval).needs(LIMITS).not_on(CRUN),
    Case::new("events/oom", oom).needs(LIMITS).not_on(CRUN),
    Case::new("events/end-with-the-container", ends).needs(LIMITS).not_on(&[
        (Peer::Runc, "on v1, waits for the cgroup to be removed"),
        (Peer::Crun, "has no events"),
    ]),
    Case::new("events/bad-calls", bad_calls).not_on(CRUN),
];

fn lines(output: &Output) -> Result<Vec<Value>, Failure> {
    let one = |line: &str| serde_json::from_str(line).map_err(|e| Failure(format!("{e}: {line}")));
    output.stdout.lines().map(one).collect()
}

fn busy(env: &Env) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo > /tmp/done; sleep 1000");
    bundle.set("/root/readonly", json!(false))?;
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864}))?;
    bundle.set("/linux/resources/pids", json!({"limit": 55}))?;
    let id = env.detach(&bundle, "s", &[])?;
    env.wait_file(&bundle.dir.join("rootfs/tmp/done"))?;
    Ok(id)
}

fn stats(env: &mut Env) -> Outcome {
    let id = busy(env)?;
    let output = env.runtime(&["events", "--stats", &id]).ok()?;
    let lines = lines(&output)?;
    ensure_eq!(lines.len(), 1, "lines of {output}");
    let line = &lines[0];
    ensure_eq!(line["type"], "stats", "type");
    ensure_eq!(line["id"], *id, "id");
    let number = |path: &str| line["data"].pointer(path).and_then(Value::as_u64).unwrap_or(0);
    ensure_eq!(number("/memory/usage/limit"), 67_108_864, "memory limit");
    ensure!(number("/memory/usage/usage") > 0, "no memory used: {line}");
    ensure!(number("/cpu/usage/total") > 1_000_000, "no time used, in nanoseconds: {line}");
    ensure_eq!(number("/pids/limit"), 55, "pids limit");
    let pids = env.runtime(&["ps", "-f", "json", &id]).ok()?;
    let pids: Vec<i64> = serde_json::from_str(&pids.stdout)?;
    ensure_eq!(number("/pids/current"), pids.len() as u64, "processes");
    ensure!(line["data"]["memory"]["raw"].is_object(), "no memory.stat: {line}");
    Ok(())
}

/// The paths of all keys, without those that depend on what happened to be counted.
fn keys(value: &Value, at: &str, out: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{at}/{key}");
        if matches!(key.as_str(), "raw" | "psi" | "event_count" | "hugetlb") {
            continue;
        }
        if !["cache", "max", "usage", "failcnt"].contains(&key.as_str()) || value.is_object() {
            out.push(path.clone());
        }
        if key != "blkio" {
            keys(value, &path, out);
        }
    }
}

fn runc_form(env: &mut Env) -> Outcome {
    let id = busy(env)?;
    let output = env.runtime(&["events", "--stats", &id]).ok()?;
    let own = lines(&output)?.remove(0);
    let bundle = env.state(&id)?["bundle"].as_str().unwrap_or_default().to_owned();
    let root = env.dir.join("runc-state").to_string_lossy().into_owned();
    let peer = env.id("peer");
    let runc = |words: &[&str]| env.command(&[&["runc", "--root", &root], words].concat());
    runc(&["run", "-d", "-b", &bundle, &peer]).ok()?;
    let golden = runc(&["events", "--stats", &peer]).output();
    runc(&["delete", "-f", &peer]).ok()?;
    crate::leaks::reap();
    std::fs::remove_dir_all(&root)?;
    let golden = lines(&golden?)?.remove(0);
    let all = |value: &Value| {
        let mut list = Vec::new();
        keys(value, "", &mut list);
        list
    };
    ensure_eq!(all(&own), all(&golden), "keys, against runc's");
    Ok(())
}

/// The pressure files of v2, as runc tells them since 1.2.
fn pressure(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    // Two who want all of the little time that there is.
    bundle.set("/linux/resources/cpu", json!({"quota": 10_000, "period": 100_000}))?;
    bundle.shell("(while true; do :; done) & while true; do :; done");
    let id = env.detach(&bundle, "p", &[])?;
    let group = cgroups_v2::group_of(env.pid(&id)?)?;
    let sections = [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")];
    if !group.join("cpu.pressure").exists() {
        return Err(Failure("the kernel has no pressure files".to_owned()));
    }
    let data = wait_until(env.shared.limit, "time that the processes waited", || {
        let line = lines(&env.runtime(&["events", "--stats", &id]).ok()?)?.remove(0);
        let total = line["data"].pointer("/cpu/psi/some/total").and_then(Value::as_u64);
        Ok((total.unwrap_or(0) > 0).then_some(line["data"].clone()))
    })?;
    for (section, file) in sections {
        let psi = &data[section]["psi"];
        let text = std::fs::read_to_string(group.join(format!("{file}.pressure")))?;
        for kind in ["some", "full"] {
            let now = text.lines().find_map(|line| line.strip_prefix(kind));
            let now = now.and_then(|line| line.rsplit_once("total=")?.1.parse::<u64>().ok());
            let total = psi[kind]["total"].as_u64();
            ensure!(total.is_some(), "{section}: no total of {kind}: {psi}");
            // It only ever grows.
            ensure!(total <= now.or(Some(0)), "{section}: {kind} {total:?}, the file has {now:?}");
            for average in ["avg10", "avg60", "avg300"] {
                let value = psi[kind][average].as_f64();
                let is_share = value.is_some_and(|share| (0.0..=100.0).contains(&share));
                ensure!(is_share, "{section}: {average} of {kind}: {psi}");
            }
        }
    }
    Ok(())
}

fn bare(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "b", &[])?;
    let line = lines(&env.runtime(&["events", "--stats", &id]).ok()?)?.remove(0);
    ensure_eq!(line["data"]["pids"]["current"], 1, "processes");
    Ok(())
}

fn interval(env: &mut Env) -> Outcome {
    let id = busy(env)?;
    let call = env.runtime(&["events", "--interval", "100ms", &id]);
    let output = call.under(&["timeout", "2"]).output()?;
    let lines = lines(&output)?;
    ensure!((3..=20).contains(&lines.len()), "{} lines in 2 s: {output}", lines.len());
    ensure!(lines.iter().all(|line| line["type"] == "stats"), "not only stats: {output}");
    Ok(())
}

fn oom(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/memory", json!({"limit": 33_554_432}))?;
    bundle.shell("sleep 1000 & while [ ! -e /tmp/go ]; do sleep 0.05; done; head -c 100m /dev/zero | tail -c 90m | wc -c; wait");
    bundle.set("/root/readonly", json!(false))?;
    let id = env.detach(&bundle, "o", &[])?;
    let events = env.runtime(&["events", "--interval", "50ms", &id]).spawn()?;
    // The first line shows that it is watching.
    events.wait_for_stdout("stats")?;
    std::fs::write(bundle.dir.join("rootfs/tmp/go"), "")?;
    let seen = events.wait_for_stdout("\"type\":\"oom\"");
    let lines = events.stdout()?;
    env.runtime(&["delete", "--force", &id]).ok()?;
    crate::leaks::reap();
    events.wait()?;
    seen?;
    let seen = lines.lines().find(|line| line.contains("\"type\":\"oom\"")).unwrap_or_default();
    let wanted = format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}");
    ensure_eq!(seen, wanted, "the line");
    Ok(())
}

fn ends(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1"])?;
    let id = env.detach(&bundle, "e", &[])?;
    let call = env.runtime(&["events", "--interval", "1h", &id]).limit(Duration::from_secs(60));
    let output = call.ok()?;
    ensure_eq!(output.stdout, "", "lines");
    Ok(())
}

fn bad_calls(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let id = env.detach(&bundle, "b", &[])?;
    env.wait_status(&id, "stopped")?;
    let output = env.runtime(&["events", "--stats", &id]).exits(1)?;
    ensure!(output.stderr.contains("is not running"), "words of {output}");
    for value in ["0s", "-1s", "5", "soon"] {
        env.runtime(&["events", &format!("--interval={value}"), &id]).exits(1)?;
    }
    let output = env.runtime(&["events", &env.id("nope")]).exits(1)?;
    ensure!(output.stderr.contains("container does not exist"), "words of {output}");
    Ok(())
}
