//! `update`: limits of a container that runs, on v1 and v2, by flags and from JSON.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{cgroups_v1, cgroups_v2};
use crate::call::Call;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const LIMITS: &[Need] = &[Need::Controllers];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun words its errors in its own way")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("update/every-flag-of-runc", flags).not_on(&[(Peer::Crun, "crun has other flags")]),
    Case::new("update/memory", memory).needs(LIMITS),
    Case::new("update/cpu", cpu).needs(LIMITS),
    Case::new("update/quota-and-period-apart", apart).needs(LIMITS),
    Case::new("update/cpuset-and-pids", cpuset_and_pids).needs(LIMITS),
    Case::new("update/unlimited", unlimited).needs(LIMITS),
    Case::new("update/resources-from-a-file", from_file).needs(LIMITS),
    Case::new("update/resources-from-standard-input", from_input).needs(LIMITS),
    Case::new("update/idle-and-shares", idle).needs(LIMITS).not_on(&[
        (Peer::Runc, "runc 1.1 has no --cpu-idle"),
        (Peer::Crun, "crun 1.8 has no --cpu-idle"),
    ]),
    Case::new("update/device-rules-stay", devices_stay)
        .not_on(&[(Peer::Crun, "crun takes whatever list there is")]),
    Case::new("update/device-rules-are-replaced", devices_change)
        .not_on(&[(Peer::Runc, "ghost only: runc leaves device rules alone")]),
    Case::new("update/device-rules-that-are-refused", devices_refused).not_on(&[
        (Peer::Runc, "ghost only: runc leaves device rules alone"),
        (Peer::Crun, "ghost only: crun leaves device rules alone"),
    ]),
    Case::new("update/limit-that-is-refused", refused)
        .needs(LIMITS)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves half of an update that fails")]),
    Case::new("update/failure-puts-back-what-it-changed", put_back).needs(LIMITS).not_on(&[
        (Peer::Runc, "runc 1.1 leaves half of an update that fails"),
        (Peer::Crun, "crun leaves half of an update that fails"),
    ]),
    Case::new("update/state-that-cannot-be-written", unwritten).needs(LIMITS).not_on(&[
        (Peer::Runc, "ghost only: the file is ours"),
        (Peer::Crun, "ghost only: the file is ours"),
    ]),
    Case::new("update/bad-values", bad_values).not_on(CRUN),
    Case::new("update/of-a-created-and-a-paused-container", other_statuses).needs(LIMITS),
    Case::new("update/of-a-stopped-container", stopped).not_on(CRUN),
];

/// A container's limit, by the name of its file on v1 and on v2.
pub fn read(env: &Env, id: &str, v1: (&str, &str), v2: &str) -> Result<String, Failure> {
    let path: PathBuf = if is_v1() {
        cgroups_v1::group(env, id, v1.0)?.join(v1.1)
    } else {
        cgroups_v2::group_of(env.pid(id)?)?.join(v2)
    };
    let text =
        fs::read_to_string(&path).map_err(|e| Failure(format!("read {}: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// Whether the cgroups are v1's.
pub fn is_v1() -> bool {
    !PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists()
}

const MEMORY: (&str, &str) = ("memory", "memory.limit_in_bytes");
const PIDS: (&str, &str) = ("pids", "pids.max");

/// A container with these resources.
pub fn running(
    env: &Env,
    name: &str,
    resources: &[(&str, serde_json::Value)],
) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    for (key, value) in resources {
        bundle.set(&format!("/linux/resources/{key}"), value.clone())?;
    }
    env.detach(&bundle, name, &[])
}

/// What `runc update --help` of 1.1 lists, and what has come since, up to 1.5.
fn flags(env: &mut Env) -> Outcome {
    let help = env.runtime(&["update", "--help"]).ok()?.stdout;
    let old = "resources blkio-weight cpu-period cpu-quota cpu-share cpu-rt-period cpu-rt-runtime \
               cpuset-cpus cpuset-mems memory memory-reservation memory-swap pids-limit \
               l3-cache-schema mem-bw-schema";
    let new = if env.is(Peer::Runc) { "" } else { "cpu-burst cpu-idle" };
    for flag in [old, new].iter().flat_map(|flags| flags.split_whitespace()) {
        ensure!(help.contains(&format!("--{flag}")), "--{flag} is not in {help}");
    }
    Ok(())
}

fn memory(env: &mut Env) -> Outcome {
    let id = running(env, "m", &[("memory", json!({"limit": 67_108_864}))])?;
    for (value, bytes) in [("128M", "134217728"), ("33554432", "33554432")] {
        env.runtime(&["update", "--memory", value, &id]).ok()?;
        ensure_eq!(read(env, &id, MEMORY, "memory.max")?, bytes, "limit after {value}");
    }
    env.runtime(&["update", "--memory-reservation=16m", &id]).ok()?;
    let soft = read(env, &id, ("memory", "memory.soft_limit_in_bytes"), "memory.low")?;
    ensure_eq!(soft, "16777216", "reservation");
    ensure_eq!(read(env, &id, MEMORY, "memory.max")?, "33554432", "limit beside the reservation");
    Ok(())
}

fn cpu(env: &mut Env) -> Outcome {
    let id = running(env, "c", &[])?;
    let words =
        ["update", "--cpu-quota", "50000", "--cpu-period", "200000", "--cpu-share", "2048", &id];
    env.runtime(&words).ok()?;
    if is_v1() {
        ensure_eq!(read(env, &id, ("cpu", "cpu.shares"), "")?, "2048", "shares");
        ensure_eq!(read(env, &id, ("cpu", "cpu.cfs_period_us"), "")?, "200000", "period");
    } else {
        let weight = if env.is(Peer::Ghost) { "174" } else { "79" };
        ensure_eq!(read(env, &id, ("", ""), "cpu.weight")?, weight, "weight");
    }
    let quota = read(env, &id, ("cpu", "cpu.cfs_quota_us"), "cpu.max")?;
    ensure!(quota == "50000" || quota == "50000 200000", "quota {quota}");
    Ok(())
}

fn apart(env: &mut Env) -> Outcome {
    let given = [("cpu", json!({"quota": 50_000, "period": 100_000}))];
    let id = running(env, "a", &given)?;
    for (flag, value, v1, v2) in [
        ("--cpu-quota", "30000", ["30000", "100000"], "30000 100000"),
        ("--cpu-period", "60000", ["30000", "60000"], "30000 60000"),
        ("--cpu-quota", "20000", ["20000", "60000"], "20000 60000"),
    ] {
        env.runtime(&["update", flag, value, &id]).ok()?;
        if is_v1() {
            let quota = read(env, &id, ("cpu", "cpu.cfs_quota_us"), "")?;
            let period = read(env, &id, ("cpu", "cpu.cfs_period_us"), "")?;
            ensure_eq!([&*quota, &*period], v1, "after {flag} {value}");
        } else {
            ensure_eq!(read(env, &id, ("", ""), "cpu.max")?, v2, "after {flag} {value}");
        }
    }
    Ok(())
}

fn cpuset_and_pids(env: &mut Env) -> Outcome {
    let id = running(env, "p", &[("pids", json!({"limit": 20}))])?;
    let words = ["update", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "44", &id];
    env.runtime(&words).ok()?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        ensure_eq!(read(env, &id, ("cpuset", file), file)?, "0", "{file}");
    }
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "44", "pids");
    Ok(())
}

fn unlimited(env: &mut Env) -> Outcome {
    let given = [("memory", json!({"limit": 67_108_864})), ("pids", json!({"limit": 20}))];
    let id = running(env, "u", &given)?;
    env.runtime(&["update", "--memory", "-1", "--pids-limit", "-1", &id]).ok()?;
    let memory = read(env, &id, MEMORY, "memory.max")?;
    ensure!(memory == "max" || memory == "9223372036854771712", "memory limit {memory}");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "max", "pids");
    Ok(())
}

fn from_file(env: &mut Env) -> Outcome {
    let id = running(env, "f", &[("memory", json!({"limit": 67_108_864}))])?;
    let file = env.dir.join("resources.json");
    fs::write(&file, r#"{"memory": {"limit": 33554432}, "pids": {"limit": 12}}"#)?;
    let file = file.to_string_lossy().into_owned();
    // Flags beside a file count for nothing.
    env.runtime(&["update", "--resources", &file, "--pids-limit", "99", &id]).ok()?;
    ensure_eq!(read(env, &id, MEMORY, "memory.max")?, "33554432", "memory");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "12", "pids");
    Ok(())
}

/// As containerd's shim and CRI-O call it.
fn from_input(env: &mut Env) -> Outcome {
    let id = running(env, "i", &[])?;
    let text = r#"{"devices": [{"allow": true, "access": "rwm"}], "cpu": {"shares": 512},
        "memory": {"limit": 50331648}}"#;
    env.runtime(&["update", "--resources=-", &id]).stdin(input(env, text)?).ok()?;
    ensure_eq!(read(env, &id, MEMORY, "memory.max")?, "50331648", "memory");
    Ok(())
}

/// A file with this text, as standard input.
fn input(env: &Env, text: &str) -> Result<fs::File, Failure> {
    let path = env.dir.join("input");
    fs::write(&path, text)?;
    Ok(fs::File::open(path)?)
}

fn idle(env: &mut Env) -> Outcome {
    let id = running(env, "c", &[("cpu", json!({"shares": 512}))])?;
    let both = || -> Result<(String, String), Failure> {
        let idle = read(env, &id, ("cpu", "cpu.idle"), "cpu.idle")?;
        Ok((idle, read(env, &id, ("cpu", "cpu.shares"), "cpu.weight")?))
    };
    let weight = |shares: &str, weight: &str| if is_v1() { shares } else { weight }.to_owned();
    env.runtime(&["update", "--cpu-idle", "1", &id]).ok()?;
    ensure_eq!(both()?.0, "1", "cpu.idle");
    env.runtime(&["update", "--cpu-idle", "0", &id]).ok()?;
    ensure_eq!(both()?, ("0".to_owned(), weight("512", "59")), "idle no more");
    // Shares of an idle one count from when it is not.
    env.runtime(&["update", "--cpu-idle", "1", &id]).ok()?;
    env.runtime(&["update", "--cpu-share", "2048", &id]).ok()?;
    ensure_eq!(both()?.0, "1", "cpu.idle after --cpu-share");
    env.runtime(&["update", "--cpu-idle", "0", &id]).ok()?;
    ensure_eq!(both()?, ("0".to_owned(), weight("2048", "174")), "idle no more");
    Ok(())
}

/// Rules that let through fuse (10:229) or the control of loop devices (10:237), or both.
fn rules(minors: &[u32]) -> serde_json::Value {
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(minors.iter().map(
        |minor| json!({"allow": true, "type": "c", "major": 10, "minor": minor, "access": "rw"}),
    ));
    json!(rules)
}

/// A container with these rules that tries three devices over and over: a (10:229) and b (10:237)
/// may be opened at times, c (10:200) never.
fn trying(env: &Env, minors: &[u32]) -> Result<(String, PathBuf), Failure> {
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_MKNOD"]);
    bundle.set("/linux/resources/devices", rules(minors))?;
    bundle.shell(
        "mknod /a c 10 229; mknod /b c 10 237; mknod /c c 10 200; n=0; echo > /leaks; \
         while true; do { true < /c; } 2>/dev/null && echo c >> /leaks; \
         { true > /c; } 2>/dev/null && echo c >> /leaks; \
         { true < /a; } 2>/dev/null || { true < /b; } 2>/dev/null || echo none >> /leaks; \
         n=$((n + 1)); echo $n > /count; done",
    );
    let id = env.detach(&bundle, "t", &[])?;
    env.wait_file(&bundle.rootfs().join("count"))?;
    Ok((id, bundle.rootfs()))
}

/// Which of a and b can be opened.
fn open(env: &Env, id: &str) -> Result<String, Failure> {
    let script = "for x in a b; do { true < /$x; } 2>/dev/null && echo $x; done; true";
    Ok(env.exec(id, &[], &["sh", "-c", script]).ok()?.stdout.split_whitespace().collect())
}

/// A call of `update` with JSON on standard input.
pub fn update_to(env: &Env, id: &str, resources: serde_json::Value) -> Result<Call, Failure> {
    Ok(env.runtime(&["update", "--resources=-", id]).stdin(input(env, &resources.to_string())?))
}

fn devices_stay(env: &mut Env) -> Outcome {
    let (id, _) = trying(env, &[229, 237])?;
    // A hook, or an engine's plugin, lets more through.
    let opened = if is_v1() {
        let group = cgroups_v1::group(env, &id, "devices")?;
        fs::write(group.join("devices.deny"), "c 10:229 rw")?;
        "b"
    } else {
        "ab"
    };
    for resources in [
        json!({"memory": {}}),
        json!({"memory": {}, "devices": []}),
        json!({"memory": {}, "devices": rules(&[229, 237])}),
        json!({"devices": rules(&[229, 237])}),
        // Of an engine that does not know what was added to config.json.
        json!({"memory": {}, "devices": rules(&[237])}),
    ] {
        update_to(env, &id, resources.clone())?.ok()?;
        ensure_eq!(open(env, &id)?, opened, "after {resources}");
    }
    Ok(())
}

fn devices_change(env: &mut Env) -> Outcome {
    let (id, rootfs) = trying(env, &[229])?;
    let count = || -> Result<u32, Failure> {
        Ok(env.wait_file(&rootfs.join("count"))?.trim().parse().unwrap_or_default())
    };
    ensure_eq!(open(env, &id)?, "a", "before");
    let before = count()?;
    for round in 0..4 {
        let both = json!({"devices": rules(&[229, 237])});
        update_to(env, &id, both.clone())?.ok()?;
        ensure_eq!(open(env, &id)?, "ab", "both, round {round}");
        update_to(env, &id, json!({"devices": rules(&[237])}))?.ok()?;
        ensure_eq!(open(env, &id)?, "b", "the other one, round {round}");
        update_to(env, &id, both)?.ok()?;
        let first = json!({"devices": rules(&[229])});
        update_to(env, &id, first)?.ok()?;
        ensure_eq!(open(env, &id)?, "a", "the first one, round {round}");
    }
    ensure!(count()? > before + 20, "it did not try often: {before} to {}", count()?);
    let leaks = fs::read_to_string(rootfs.join("leaks"))?;
    ensure_eq!(leaks.trim(), "", "what could be opened, or could not, for a moment");
    // At once from one to the other.
    update_to(env, &id, json!({"devices": rules(&[237]), "memory": {}}))?.ok()?;
    ensure_eq!(open(env, &id)?, "b", "at once");
    Ok(())
}

fn devices_refused(env: &mut Env) -> Outcome {
    let (id, _) = trying(env, &[229])?;
    for (rule, words) in [
        (json!({"allow": true, "type": "c", "access": "x"}), "linux.resources.devices[0].access"),
        (json!({"allow": true, "type": "p", "access": "r"}), "linux.resources.devices[0].type"),
    ] {
        let output = update_to(env, &id, json!({"devices": [rule]}))?.exits(1)?;
        ensure!(output.stderr.contains(words), "no {words} in {output}");
    }
    // The devices come last: what fails before them leaves them alone.
    let limits = json!({
        "devices": rules(&[237]),
        "hugepageLimits": [{"pageSize": "3MB", "limit": 1}],
    });
    update_to(env, &id, limits)?.exits(1)?;
    ensure_eq!(open(env, &id)?, "a", "after the failures");
    // Nothing of it was recorded either: these are new still.
    update_to(env, &id, json!({"devices": rules(&[237])}))?.ok()?;
    ensure_eq!(open(env, &id)?, "b", "after a success");
    Ok(())
}

/// The last limit of several is refused: those before it are as they were, set or not.
fn put_back(env: &mut Env) -> Outcome {
    let given = json!({"shares": 512, "quota": 50_000, "period": 100_000});
    let id = running(env, "p", &[("cpu", given)])?;
    let files = [
        (MEMORY, "memory.max"),
        (PIDS, "pids.max"),
        (("cpu", "cpu.shares"), "cpu.weight"),
        (("cpu", "cpu.cfs_quota_us"), "cpu.max"),
        (("cpu", "cpu.cfs_period_us"), "cpu.max"),
        (("cpuset", "cpuset.cpus"), "cpuset.cpus.effective"),
        (("cpu", "cpu.idle"), "cpu.idle"),
    ];
    let all = || -> Result<Vec<String>, Failure> {
        files.iter().map(|(v1, v2)| read(env, &id, *v1, v2)).collect()
    };
    let before = all()?;
    let state = fs::read(env.root().join(&id).join("state.json"))?;
    for cpu in [
        json!({"shares": 2048, "quota": 20_000, "period": 50_000, "cpus": "0"}),
        json!({"idle": 1}),
    ] {
        let resources = json!({
            "memory": {"limit": 134_217_728},
            "pids": {"limit": 30},
            "cpu": cpu,
            "hugepageLimits": [{"pageSize": "3MB", "limit": 1}],
        });
        let output = update_to(env, &id, resources.clone())?.exits(1)?;
        ensure!(output.stderr.contains("3MB"), "the value is not named: {output}");
        ensure_eq!(all()?, before, "limits after {resources}");
        let now = fs::read(env.root().join(&id).join("state.json"))?;
        ensure!(now == state, "the state has changed");
    }
    Ok(())
}

/// No limit changes that later commands would not know of.
fn unwritten(env: &mut Env) -> Outcome {
    let id = running(env, "u", &[("pids", json!({"limit": 20}))])?;
    let state = env.root().join(&id).join("state.json");
    let part = state.with_extension("json.part");
    fs::create_dir(&part)?;
    let call = ["update", "--pids-limit", "30", &id];
    let output = env.runtime(&call).exits(1)?;
    ensure!(output.stderr.contains(&format!("write {}: ", state.display())), "{output}");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "20", "the limit");
    fs::remove_dir(&part)?;
    env.runtime(&call).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "30", "the limit");
    ensure!(!part.exists(), "the draft is still there");
    Ok(())
}

fn refused(env: &mut Env) -> Outcome {
    let id = running(env, "r", &[("pids", json!({"limit": 20}))])?;
    let text = r#"{"pids": {"limit": 30}, "cpu": {"cpus": "4000"}}"#;
    let output = env.runtime(&["update", "-r", "-", &id]).stdin(input(env, text)?).exits(1)?;
    ensure!(output.stderr.contains("4000"), "the value is not named: {output}");
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "20", "pids after a failure");
    env.runtime(&["update", "--cpuset-cpus", "0", &id]).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "20", "pids after a later update");
    Ok(())
}

/// What is no `linux.resources`, and words of the error.
const BAD_RESOURCES: &[(&str, &[&str])] = &[
    ("[]", &["standard input:1:", "sequence"]),
    (
        "{\n\"pids\": {\"limit\": \"x\"}}",
        &["standard input:2:", ": pids.limit: invalid type: string"],
    ),
    (
        r#"{"devices": [{"allow": true}, {"allow": true, "type": "q"}]}"#,
        &["standard input:1:", ": devices[1].type: unknown variant `q`"],
    ),
];

fn bad_values(env: &mut Env) -> Outcome {
    let id = running(env, "b", &[])?;
    for flag in
        ["--memory", "--memory-swap", "--cpu-quota", "--cpu-period", "--cpu-share", "--pids-limit"]
    {
        let output = env.runtime(&["update", flag, "1x7", &id]).exits(1)?;
        let name = flag.trim_start_matches('-');
        ensure!(output.stderr.contains(name), "{flag} is not named: {output}");
    }
    for text in ["", "{", r#"{"memory": {"limit": "1"}}"#, "[]"] {
        env.runtime(&["update", "--resources=-", &id]).stdin(input(env, text)?).exits(1)?;
    }
    // runc and crun pass some of these over.
    let bad = if env.is(Peer::Ghost) { BAD_RESOURCES } else { &[] };
    for (text, words) in bad {
        let call = env.runtime(&["update", "--resources=-", &id]).stdin(input(env, text)?);
        let output = call.exits(1)?;
        for word in *words {
            ensure!(output.stderr.contains(word), "{text}: no {word:?} in {output}");
        }
    }
    let missing = env.dir.join("nope").to_string_lossy().into_owned();
    let output = env.runtime(&["update", "--resources", &missing, &id]).exits(1)?;
    ensure!(output.stderr.contains(&missing), "the file is not named: {output}");
    let output = env.runtime(&["update", "--memory", "1g", &env.id("nope")]).exits(1)?;
    ensure!(output.stderr.contains("container does not exist"), "words of {output}");
    Ok(())
}

fn other_statuses(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.create(&bundle, "c", &[])?;
    env.runtime(&["update", "--pids-limit", "21", &id]).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "21", "pids of a created container");
    env.verb("start", &id).ok()?;
    env.verb("pause", &id).ok()?;
    env.runtime(&["update", "--pids-limit", "22", &id]).ok()?;
    ensure_eq!(read(env, &id, PIDS, "pids.max")?, "22", "pids of a paused container");
    ensure_eq!(env.status(&id)?, "paused", "status");
    env.verb("resume", &id).ok().map(drop)
}

fn stopped(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let id = env.detach(&bundle, "s", &[])?;
    env.wait_status(&id, "stopped")?;
    let output = env.runtime(&["update", "--pids-limit", "21", &id]).exits(1)?;
    ensure!(output.stderr.contains("container not running"), "words of {output}");
    Ok(())
}
