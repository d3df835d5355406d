//! process.scheduler, process.ioPriority and process.execCPUAffinity, seen from inside.

use std::fs;

use serde_json::{Value, json};

use super::errors::refuses_value;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::trace::trace;
use crate::{ensure, ensure_eq};

/// runc has the scheduler since 1.2, crun since 1.9.
const OLD: &[(Peer, &str)] =
    &[(Peer::Runc, "runc has it since 1.2"), (Peer::Crun, "crun 1.8.1 has none of it")];
const OLD_AFFINITY: &[(Peer, &str)] =
    &[(Peer::Runc, "runc has it since 1.3"), (Peer::Crun, "crun 1.8.1 has none of it")];

const PROBE: &[&str] = &["/bin/probe"];
const SCHEDULING: &[&str] = &["/bin/rawcall", "scheduling"];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("scheduling/policies", policies).not_on(OLD),
    Case::new("scheduling/realtime-policies", realtime).needs(&[Need::Realtime]).not_on(OLD),
    Case::new("scheduling/deadline", deadline).needs(&[Need::Realtime]).not_on(OLD),
    Case::new("scheduling/deadline-on-some-cpus", deadline_cpus)
        .needs(&[Need::Realtime, Need::Cpus(2), Need::Cpuset])
        .not_on(OLD),
    Case::new("scheduling/flags", flags).not_on(OLD),
    Case::new("scheduling/of-a-user", of_a_user).not_on(OLD),
    Case::new("scheduling/in-a-user-namespace", user_namespace).not_on(OLD),
    Case::new("scheduling/without-privileges", unprivileged).not_on(OLD),
    Case::new("scheduling/exec-takes-over-the-containers", exec_default).not_on(OLD),
    Case::new("scheduling/exec-has-its-own", exec_own).not_on(OLD),
    Case::new("scheduling/hooks-do-not-have-it", hooks).not_on(OLD),
    Case::new("scheduling/bad-values", bad_scheduler).not_on(OLD),
    Case::new("scheduling/what-the-kernel-refuses", kernel_refuses).not_on(OLD),
    Case::new("scheduling/io-priority", io_priority).not_on(OLD),
    Case::new("scheduling/io-priority-bad-values", bad_io_priority).not_on(OLD),
    Case::new("scheduling/exec-cpu-affinity", affinity)
        .needs(&[Need::Cpus(2)])
        .not_on(OLD_AFFINITY),
    Case::new("scheduling/exec-cpu-affinity-before-the-cgroup", initial_affinity)
        .needs(&[Need::Cpus(2), Need::Command("strace")])
        .not_on(OLD_AFFINITY),
    Case::new("scheduling/exec-cpu-affinity-of-the-container", affinity_default)
        .needs(&[Need::Cpus(2)])
        .not_on(OLD_AFFINITY),
    Case::new("scheduling/exec-cpu-affinity-bad-lists", bad_affinity).not_on(OLD_AFFINITY),
    Case::new("scheduling/callers-cpus-are-not-the-containers", affinity_reset)
        .needs(&[Need::Cpus(2)])
        .not_on(OLD_AFFINITY),
];

/// What `rawcall scheduling` says of itself.
fn of(env: &Env, bundle: &mut Bundle) -> Result<Value, Failure> {
    bundle.args(&["/bin/rawcall", "scheduling"]);
    Ok(serde_json::from_str(&env.run(bundle)?.ok()?.stdout)?)
}

fn of_exec(env: &Env, id: &str) -> Result<Value, Failure> {
    let output = env.exec(id, &[], &["/bin/rawcall", "scheduling"]).ok()?;
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Policy, reset-on-fork flag, nice value and real-time priority.
fn seen(report: &Value) -> (i64, bool, i64, i64) {
    let number = |key: &str| report[key].as_i64().unwrap_or(-1);
    (number("policy"), number("flags") & 1 == 1, number("nice"), number("priority"))
}

fn policies(env: &mut Env) -> Outcome {
    for (given, wanted) in [
        (json!({"policy": "SCHED_OTHER", "nice": 7}), (0, false, 7, 0)),
        (json!({"policy": "SCHED_OTHER", "nice": -3}), (0, false, -3, 0)),
        (json!({"policy": "SCHED_BATCH", "nice": 19, "priority": 0}), (3, false, 19, 0)),
        (json!({"policy": "SCHED_IDLE"}), (5, false, 0, 0)),
    ] {
        let mut bundle = env.bundle()?;
        bundle.set("/process/scheduler", given.clone())?;
        ensure_eq!(seen(&of(env, &mut bundle)?), wanted, "{given}");
    }
    ensure_eq!(seen(&of(env, &mut env.bundle()?)?), (0, false, 0, 0), "without any");
    Ok(())
}

fn realtime(env: &mut Env) -> Outcome {
    for (given, wanted) in [
        (json!({"policy": "SCHED_FIFO", "priority": 12}), (1, false, 0, 12)),
        (json!({"policy": "SCHED_RR", "priority": 1}), (2, false, 0, 1)),
        (
            json!({"policy": "SCHED_RR", "priority": 99, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
            (2, true, 0, 99),
        ),
    ] {
        let mut bundle = env.bundle()?;
        bundle.set("/process/scheduler", given.clone())?;
        if !env.shared.host.v2 {
            // A new v1 group has no real-time bandwidth.
            bundle.set("/linux/cgroupsPath", json!(format!("/{}", env.id("run"))))?;
            bundle.set("/linux/resources/cpu", json!({"realtimeRuntime": 10_000}))?;
        }
        ensure_eq!(seen(&of(env, &mut bundle)?), wanted, "{given}");
    }
    Ok(())
}

fn deadline(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/process/scheduler",
        json!({
            "policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000,
            "period": 100_000_000, "flags": ["SCHED_FLAG_RECLAIM"],
        }),
    )?;
    let report = of(env, &mut bundle)?;
    ensure_eq!(seen(&report).0, 6, "policy");
    ensure_eq!(
        report["deadline"],
        json!([5_000_000, 50_000_000, 100_000_000]),
        "runtime, deadline, period"
    );
    Ok(())
}

fn deadline_cpus(env: &mut Env) -> Outcome {
    // The kernel admits a deadline for all CPUs or none.
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/linux/resources/cpu", json!({"cpus": "0"}))?;
    bundle.set(
        "/process/scheduler",
        json!({"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000}),
    )?;
    let output = env.run(&bundle)?.exits(1)?;
    for word in ["process.scheduler", "SCHED_DEADLINE", "linux.resources.cpu.cpus"] {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    env.nothing_left()
}

fn flags(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/process/scheduler",
        json!({"policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
    )?;
    ensure_eq!(seen(&of(env, &mut bundle)?), (3, true, 4, 0), "reset on fork");
    // The policy is left as it is, and the rest taken over.
    bundle.set(
        "/process/scheduler",
        json!({"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_KEEP_POLICY"]}),
    )?;
    ensure_eq!(seen(&of(env, &mut bundle)?), (0, false, 5, 0), "keep policy");
    bundle.set(
        "/process/scheduler",
        json!({"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_KEEP_PARAMS"]}),
    )?;
    // The kernel counts the policy among them.
    ensure_eq!(seen(&of(env, &mut bundle)?), (0, false, 0, 0), "keep parameters");
    Ok(())
}

fn of_a_user(env: &mut Env) -> Outcome {
    // Set while the privileges are still there.
    let mut bundle = env.bundle()?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    bundle.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": -10}))?;
    bundle.set("/process/capabilities", json!({}))?;
    ensure_eq!(seen(&of(env, &mut bundle)?), (0, false, -10, 0), "of a user without any");
    Ok(())
}

fn user_namespace(env: &mut Env) -> Outcome {
    let mut bundle = super::namespaces::mapped(env, 100_000)?;
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": -10}))?;
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 1}))?;
    let report = of(env, &mut bundle)?;
    ensure_eq!(seen(&report), (3, false, -10, 0), "scheduler");
    ensure_eq!(report["io"], json!([1, 1]), "I/O priority");
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let report = of_exec(env, &id)?;
    ensure_eq!(seen(&report), (3, false, -10, 0), "scheduler of exec");
    ensure_eq!(report["io"], json!([1, 1]), "I/O priority of exec");
    Ok(())
}

fn unprivileged(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 6}))?;
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 7}))?;
    let report = of(env, &mut bundle)?;
    ensure_eq!(seen(&report), (3, false, 6, 0), "scheduler");
    ensure_eq!(report["io"], json!([2, 7]), "I/O priority");
    // Up is not for everybody.
    bundle.set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 5}))?;
    let output = env.run(&bundle)?.exits(1)?;
    for word in ["process.scheduler", "SCHED_FIFO", "not permitted"] {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    env.nothing_left()
}

/// A process file for `exec` with this in it.
fn process_file(env: &Env, more: &Value, args: &[&str]) -> Result<String, Failure> {
    let mut process = json!({
        "args": args, "cwd": "/", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin"],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        process[key.as_str()] = value.clone();
    }
    let path = env.dir.join("process.json");
    fs::write(&path, process.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

fn exec_file(env: &Env, id: &str, more: &Value, args: &[&str]) -> Result<Value, Failure> {
    let file = process_file(env, more, args)?;
    let output = env.runtime(&["exec", "--process", &file, id]).ok()?;
    Ok(serde_json::from_str(&output.stdout)?)
}

fn exec_default(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3}))?;
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 2}))?;
    let id = env.detach(&bundle, "d", &[])?;
    for report in [of_exec(env, &id)?, exec_file(env, &id, &json!({}), SCHEDULING)?] {
        ensure_eq!(seen(&report), (3, false, 3, 0), "scheduler");
        ensure_eq!(report["io"], json!([2, 2]), "I/O priority");
    }
    Ok(())
}

fn exec_own(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3}))?;
    let id = env.detach(&bundle, "d", &[])?;
    let own = json!({
        "scheduler": {"policy": "SCHED_IDLE"},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    });
    let report = exec_file(env, &id, &own, SCHEDULING)?;
    ensure_eq!(seen(&report).0, 5, "policy");
    ensure_eq!(report["io"], json!([3, 0]), "I/O priority");
    let file =
        process_file(env, &json!({"scheduler": {"policy": "SCHED_IDLE", "nice": 99}}), PROBE)?;
    let output = env.runtime(&["exec", "--process", &file, &id]).exits(255)?;
    ensure!(output.stderr.contains("process.scheduler.nice: 99"), "{output}");
    Ok(())
}

fn hooks(env: &mut Env) -> Outcome {
    let file = env.dir.join("notes");
    let path = super::hooks::script(
        env,
        "nice",
        &format!("echo $(cut -d' ' -f19 /proc/self/stat) $(ionice -p $$) >> {}", file.display()),
    )?;
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 9}))?;
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}))?;
    let hook = json!([{"path": path, "env": ["PATH=/usr/bin:/bin"]}]);
    bundle.set(
        "/hooks",
        json!({"prestart": hook, "createRuntime": hook, "createContainer": hook, "poststart": hook}),
    )?;
    env.detach(&bundle, "d", &[])?;
    let text = fs::read_to_string(file)?;
    ensure_eq!(text.lines().count(), 4, "hooks that ran: {text}");
    for line in text.lines() {
        ensure!(line.starts_with("0 ") && !line.contains("idle"), "a hook has it: {line}");
    }
    Ok(())
}

fn bad_scheduler(env: &mut Env) -> Outcome {
    for (value, words) in [
        (json!({"policy": "SCHED_OTHER", "nice": 20}), ["scheduler.nice", "20"]),
        (json!({"policy": "SCHED_OTHER", "nice": -21}), ["scheduler.nice", "-21"]),
        (json!({"policy": "SCHED_OTHER", "priority": 1}), ["scheduler.priority", "SCHED_OTHER"]),
        (json!({"policy": "SCHED_FIFO", "priority": 0}), ["scheduler.priority", "0"]),
        (json!({"policy": "SCHED_FIFO", "priority": 100}), ["scheduler.priority", "100"]),
        (json!({"policy": "SCHED_BATCH", "runtime": 5}), ["scheduler.runtime", "5"]),
        (json!({"policy": "SCHED_BATCH", "deadline": 5}), ["scheduler.deadline", "5"]),
        (json!({"policy": "SCHED_BATCH", "period": 5}), ["scheduler.period", "5"]),
        (json!({"policy": "SCHED_DEADLINE"}), ["scheduler.runtime", "missing"]),
        (
            json!({"policy": "SCHED_DEADLINE", "runtime": 9000, "deadline": 8000}),
            ["scheduler.runtime", "9000"],
        ),
        (json!({"policy": "SCHED_NONE"}), ["scheduler.policy", "SCHED_NONE"]),
        (json!({"policy": "SCHED_OTHER", "flags": ["FLAG_X"]}), ["scheduler.flags[0]", "FLAG_X"]),
        (json!({"nice": 1}), ["scheduler", "policy"]),
    ] {
        refuses_value(env, "/process/scheduler", &value, &words)?;
    }
    Ok(())
}

fn kernel_refuses(env: &mut Env) -> Outcome {
    // A policy of patched kernels, and a runtime below the kernel's least.
    for (value, words) in [
        (json!({"policy": "SCHED_ISO"}), ["process.scheduler", "SCHED_ISO"]),
        (
            json!({"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 500_000}),
            ["process.scheduler", "SCHED_DEADLINE"],
        ),
    ] {
        refuses_value(env, "/process/scheduler", &value, &words)?;
    }
    Ok(())
}

fn io_priority(env: &mut Env) -> Outcome {
    for (class, number, priority) in
        [("IOPRIO_CLASS_RT", 1, 0), ("IOPRIO_CLASS_BE", 2, 7), ("IOPRIO_CLASS_IDLE", 3, 0)]
    {
        let mut bundle = env.bundle()?;
        bundle.set("/process/ioPriority", json!({"class": class, "priority": priority}))?;
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
        ensure_eq!(of(env, &mut bundle)?["io"], json!([number, priority]), "{class}");
    }
    Ok(())
}

fn bad_io_priority(env: &mut Env) -> Outcome {
    for (value, words) in [
        (json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), ["ioPriority.priority", "8"]),
        (json!({"class": "IOPRIO_CLASS_BE", "priority": -1}), ["ioPriority.priority", "-1"]),
        (json!({"class": "IOPRIO_CLASS_X", "priority": 1}), ["ioPriority.class", "IOPRIO_CLASS_X"]),
        (json!({"priority": 1}), ["ioPriority.class", "missing"]),
    ] {
        refuses_value(env, "/process/ioPriority", &value, &words)?;
    }
    Ok(())
}

fn cpus(report: &Value) -> String {
    report["status"]["Cpus_allowed_list"].as_str().unwrap_or_default().to_owned()
}

fn affinity(env: &mut Env) -> Outcome {
    let every = cpus(&env.probe(&mut env.bundle()?)?);
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    for (given, wanted) in [
        (json!({"initial": "0", "final": "1"}), "1"),
        (json!({"final": "0"}), "0"),
        (json!({"final": "0,1"}), "0-1"),
        (json!({"final": "1-1"}), "1"),
        // Once it is in the cgroup, the kernel decides.
        (json!({"initial": "1"}), every.as_str()),
        (json!({"initial": "1", "final": ""}), every.as_str()),
    ] {
        let report = exec_file(env, &id, &json!({"execCPUAffinity": given}), PROBE)?;
        ensure_eq!(cpus(&report), wanted, "{given}");
    }
    Ok(())
}

fn initial_affinity(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    let given = json!({"execCPUAffinity": {"initial": "1", "final": "0"}});
    let file = process_file(env, &given, PROBE)?;
    let call = env.runtime(&["exec", "--process", &file, &id]);
    let text = trace(env, call, &["-e", "trace=sched_setaffinity,clone3"])?;
    let at = |word: &str| text.find(word).ok_or_else(|| Failure(format!("no {word} in {text}")));
    let (initial, born, last) = (at(", [1])")?, at("clone3(")?, at(", [0])")?);
    ensure!(initial < born && born < last, "not in this order: {text}");
    Ok(())
}

fn affinity_default(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"}))?;
    let id = env.detach(&bundle, "d", &[])?;
    for report in [env.exec_probe(&id, &[])?, exec_file(env, &id, &json!({}), PROBE)?] {
        ensure_eq!(cpus(&report), "1", "of exec");
    }
    // It says nothing of init.
    let every = cpus(&env.probe(&mut env.bundle()?)?);
    ensure_eq!(cpus(&env.probe(&mut bundle)?), every, "of init");
    Ok(())
}

fn bad_affinity(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    for list in ["x", "0-", "1-0", "0,,1", "4000", "0-99999999999999999999"] {
        for name in ["initial", "final"] {
            let more = json!({"execCPUAffinity": {name: list}});
            let file = process_file(env, &more, PROBE)?;
            let output = env.runtime(&["exec", "--process", &file, &id]).exits(255)?;
            for word in ["execCPUAffinity", name, list] {
                ensure!(output.stderr.contains(word), "{more}: no {word:?} in {output}");
            }
        }
    }
    // Numbers that no machine of these tests has.
    let file = process_file(env, &json!({"execCPUAffinity": {"final": "1000-1010"}}), PROBE)?;
    let output = env.runtime(&["exec", "--process", &file, &id]).exits(255)?;
    ensure!(output.stderr.contains("1000-1010"), "{output}");
    env.delete_all()?;
    refuses_value(env, "/process/execCPUAffinity", &json!({"final": "7-3"}), &["final", "7-3"])
}

fn affinity_reset(env: &mut Env) -> Outcome {
    let every = cpus(&env.probe(&mut env.bundle()?)?);
    let held = ["taskset", "--cpu-list", "0"];
    let bundle = env.bundle_with(&["/bin/probe"])?;
    let report: Value = serde_json::from_str(&env.run(&bundle)?.under(&held).ok()?.stdout)?;
    ensure_eq!(cpus(&report), every, "of init");
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    let output = env.exec(&id, &[], &["/bin/probe"]).under(&held).ok()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure_eq!(cpus(&report), every, "of exec");
    Ok(())
}
