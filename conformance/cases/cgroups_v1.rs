//! Limits on cgroup v1 hierarchies: the files that the kernel shows hold what config.json says.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const V1: &[Need] = &[Need::V1];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("cgroups-v1/memory", memory).needs(V1),
    Case::new("cgroups-v1/memory-limit-kills", memory_kills).needs(V1),
    Case::new("cgroups-v1/cpu", cpu).needs(V1),
    Case::new("cgroups-v1/cpuset", cpuset).needs(V1),
    Case::new("cgroups-v1/pids", pids).needs(V1),
    Case::new("cgroups-v1/pids-limit-holds", pids_hold).needs(V1),
    Case::new("cgroups-v1/default-devices", default_devices).needs(V1),
    Case::new("cgroups-v1/device-rules", device_rules).needs(V1),
    Case::new("cgroups-v1/every-hierarchy", every_hierarchy).needs(V1),
    Case::new("cgroups-v1/absolute-path", absolute_path).needs(V1),
    Case::new("cgroups-v1/relative-path", relative_path).needs(V1),
    Case::new("cgroups-v1/parents-stay", parents_stay).needs(V1),
    Case::new("cgroups-v1/limit-that-the-kernel-refuses", refused)
        .needs(V1)
        .not_on(&[(Peer::Crun, "crun runs in a v2 view here")]),
    Case::new("cgroups-v1/systemd-flag-is-refused", systemd_flag)
        .needs(V1)
        .not_on(&[(Peer::Runc, "runc has a driver for it")]),
];

/// The container's directory in one hierarchy.
pub fn group(env: &Env, id: &str, controller: &str) -> Result<PathBuf, Failure> {
    let pid = env.pid(id)?;
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = table.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next() == Some(controller)).then(|| fields.next()).flatten()
    });
    let path = path.ok_or_else(|| Failure(format!("no {controller} in {table}")))?;
    Ok(PathBuf::from("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')))
}

fn limited(env: &Env, key: &str, value: serde_json::Value) -> Result<(Bundle, String), Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    bundle.set(&format!("/linux/resources/{key}"), value)?;
    let id = env.detach(&bundle, key, &[])?;
    Ok((bundle, id))
}

fn check(env: &Env, id: &str, controller: &str, table: &[(&str, &str)]) -> Outcome {
    let dir = group(env, id, controller)?;
    for (file, wanted) in table {
        let path = dir.join(file);
        let text = fs::read_to_string(&path)
            .map_err(|e| Failure(format!("read {}: {e}", path.display())))?;
        ensure_eq!(text.trim(), *wanted, "{file}");
    }
    Ok(())
}

fn memory(env: &mut Env) -> Outcome {
    let (_, id) = limited(
        env,
        "memory",
        json!({"limit": 67_108_864, "reservation": 33_554_432, "swappiness": 10}),
    )?;
    check(
        env,
        &id,
        "memory",
        &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.swappiness", "10"),
        ],
    )
}

/// A memory limit holds, on v1 and v2 alike.
pub fn memory_kills(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216}))?;
    bundle.shell("head -c 60m /dev/zero | tail -c 50m | wc -c; echo lived");
    let output = env.run(&bundle)?.output()?;
    ensure!(!output.stdout.contains("52428800"), "50 MiB fit into 16 MiB: {output}");
    Ok(())
}

fn cpu(env: &mut Env) -> Outcome {
    let (_, id) = limited(env, "cpu", json!({"shares": 512, "quota": 50_000, "period": 200_000}))?;
    check(
        env,
        &id,
        "cpu",
        &[("cpu.shares", "512"), ("cpu.cfs_quota_us", "50000"), ("cpu.cfs_period_us", "200000")],
    )?;
    let (_, id) = {
        let mut bundle = env.bundle()?;
        bundle.args(&["sleep", "1000"]);
        bundle.set("/linux/resources/cpu", json!({"quota": -1}))?;
        let id = env.detach(&bundle, "unlimited", &[])?;
        (bundle, id)
    };
    check(env, &id, "cpu", &[("cpu.cfs_quota_us", "-1")])
}

fn cpuset(env: &mut Env) -> Outcome {
    let (_, id) = limited(env, "cpu", json!({"cpus": "0", "mems": "0"}))?;
    check(env, &id, "cpuset", &[("cpuset.cpus", "0"), ("cpuset.mems", "0")])?;
    no_such_node(env)
}

/// Where there is one node only, another shows that the list is looked at.
fn no_such_node(env: &Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/linux/resources/cpu", json!({"mems": "0,63"}))?;
    let output = env.run(&bundle)?.exits(1)?;
    let ghost = env.is(Peer::Ghost);
    for word in [if ghost { "linux.resources.cpu.mems" } else { "cpuset.mems" }, "0,63"] {
        ensure!(output.stderr.contains(word), "no {word}: {output}");
    }
    Ok(())
}

fn pids(env: &mut Env) -> Outcome {
    let (_, id) = limited(env, "pids", json!({"limit": 33}))?;
    check(env, &id, "pids", &[("pids.max", "33")])?;
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]).set("/linux/resources/pids", json!({"limit": -1}))?;
    let id = env.detach(&bundle, "unlimited", &[])?;
    check(env, &id, "pids", &[("pids.max", "max")])
}

/// A process limit holds, on v1 and v2 alike.
pub fn pids_hold(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/pids", json!({"limit": 10}))?;
    bundle.shell("for i in $(seq 30); do sleep 100 & done; echo all");
    let output = env.run(&bundle)?.output()?;
    ensure!(!output.stdout.contains("all"), "30 processes fit into 10: {output}");
    Ok(())
}

fn default_devices(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let mut rules: Vec<String> =
        fs::read_to_string(group(env, &id, "devices")?.join("devices.list"))?
            .lines()
            .map(str::to_owned)
            .collect();
    rules.sort();
    let wanted = [
        "b *:* m",
        "c *:* m",
        "c 136:* rwm",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
    ];
    for rule in wanted {
        ensure!(rules.iter().any(|r| r == rule), "rule {rule} is missing: {rules:?}");
    }
    for rule in &rules {
        // runc 1.1 lets tun through; later ones do not.
        let known = wanted.contains(&rule.as_str()) || rule == "c 10:200 rwm" && env.is(Peer::Runc);
        ensure!(known, "unknown rule {rule}");
    }
    Ok(())
}

/// What a container with these rules may do with the devices that it made itself.
pub fn device_answers(env: &Env, rules: serde_json::Value) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_MKNOD"]);
    bundle.set("/linux/resources/devices", rules)?;
    bundle.shell(
        "mknod /zero c 1 5 && mknod /fuse c 10 229 && mknod /loop b 7 7; \
         mknod /minor c 10 228; mknod /major c 11 229; \
         head -c 1 /zero | wc -c; (: < /fuse) && echo read; (: > /fuse) && echo write; \
         (: < /dev/null) && echo null; mknod /port c 1 4 && echo made; \
         for n in minor major; do (: < /$n) 2>&1 | grep -q 'not permitted' || echo $n; done",
    );
    let output = env.run(&bundle)?.output()?;
    Ok(output.stdout)
}

/// The devices that rules let through and that they do not, on v1 and v2 alike.
pub fn device_rules(env: &mut Env) -> Outcome {
    let answers = device_answers(env, json!([{"allow": false, "access": "rwm"}]))?;
    ensure_eq!(answers, "1\nnull\nmade\n", "the defaults alone");
    let answers = device_answers(
        env,
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
        ]),
    )?;
    ensure_eq!(answers, "1\nread\nnull\nmade\n", "fuse may be read");
    let answers = device_answers(
        env,
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "access": "rwm"},
        ]),
    )?;
    ensure_eq!(answers, "1\nread\nwrite\nnull\nmade\nminor\n", "every minor of 10");
    let answers = device_answers(
        env,
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "minor": 229, "access": "rwm"},
        ]),
    )?;
    ensure_eq!(answers, "1\nread\nwrite\nnull\nmade\nmajor\n", "229 of every major");
    let answers = device_answers(env, json!([{"allow": true, "access": "rwm"}]))?;
    ensure_eq!(answers, "1\nread\nwrite\nnull\nmade\nminor\nmajor\n", "everything");
    Ok(())
}

fn every_hierarchy(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let table = fs::read_to_string(format!("/proc/{}/cgroup", env.pid(&id)?))?;
    for line in table.lines().filter(|line| !line.starts_with("0::")) {
        ensure!(line.ends_with(&id), "not in a group of its own: {line}");
    }
    let group = group(env, &id, "pids")?;
    env.runtime(&["delete", "-f", &id]).ok()?;
    ensure!(!group.exists(), "{} is left", group.display());
    Ok(())
}

fn absolute_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let path = format!("/{}/inner", env.id("outer"));
    bundle.args(&["sleep", "1000"]).set("/linux/cgroupsPath", json!(path))?;
    let id = env.detach(&bundle, "d", &[])?;
    ensure_eq!(
        group(env, &id, "pids")?,
        PathBuf::from(format!("/sys/fs/cgroup/pids{path}")),
        "group"
    );
    env.runtime(&["delete", "-f", &id]).ok()?;
    remove_parents(env)
}

fn relative_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let path = env.id("relative");
    bundle.args(&["sleep", "1000"]).set("/linux/cgroupsPath", json!(path))?;
    let id = env.detach(&bundle, "d", &[])?;
    ensure!(group(env, &id, "pids")?.ends_with(&path), "group");
    env.runtime(&["delete", "-f", &id]).ok()?;
    ensure!(env.left().is_empty(), "left behind: {:?}", env.left());
    Ok(())
}

/// Remove the outer groups that a case's cgroupsPath brought about: they are not the container's.
pub fn remove_parents(env: &Env) -> Outcome {
    for root in env.shared.host.cgroup_roots() {
        let outer = root.join(env.id("outer"));
        if outer.exists() {
            fs::remove_dir(&outer)
                .map_err(|e| Failure(format!("remove {}: {e}", outer.display())))?;
        }
    }
    Ok(())
}

fn parents_stay(env: &mut Env) -> Outcome {
    // A group that was there before, with another one's child in it, is not the runtime's.
    let outer = PathBuf::from("/sys/fs/cgroup/pids").join(env.id("outer"));
    fs::create_dir_all(outer.join("sibling"))?;
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    bundle.set("/linux/cgroupsPath", json!(format!("/{}/inner", env.id("outer"))))?;
    env.run(&bundle)?.ok()?;
    ensure!(outer.join("sibling").exists(), "the sibling is gone");
    ensure!(!outer.join("inner").exists(), "the container's own group is left");
    fs::remove_dir(outer.join("sibling"))?;
    remove_parents(env)
}

fn refused(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    bundle.set("/linux/resources/cpu", json!({"cpus": "4000"}))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("cpuset.cpus"), "the line does not name the file: {output}");
    if !env.is(Peer::Runc) {
        // runc adds a warning of its own.
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
    }
    env.nothing_left()
}

/// Where systemd runs it is the v1 hierarchies that are in the way.
fn systemd_flag(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("c");
    env.adopt(&id);
    for (system, words) in [
        ("mkdir -p /run/systemd/system", "this host is not on cgroup v2"),
        ("true", "systemd is not running on this host"),
    ] {
        let script = format!("mount -t tmpfs none /run && {system} && exec \"$@\"");
        for verb in ["create", "run"] {
            let call = env.runtime(&["--systemd-cgroup", verb, "--bundle", &dir, &id]);
            let output = call.under(&["unshare", "--mount", "sh", "-c", &script, "sh"]).exits(1)?;
            ensure!(output.stderr.contains(words), "no {words:?} in {output}");
            ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
        }
    }
    env.nothing_left()
}
