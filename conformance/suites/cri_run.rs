//! Pods and containers of containerd's CRI plugin with the runtime under test, and the one call of
//! containerd's own interface that `ctr` lacks.

use std::fs;

use serde_json::{Value, json};

use super::channels::{Channels, End};
use super::containerd::Containerd;
use super::cri::{self, Cri, Pod, RUNNING};
use super::grpc::{self, Reply};
use super::{engine, manual};
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CONTAINERD: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("containerd"), Need::Command("ctr")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    case("containerd/update", update_task),
    case("containerd/cri-pod", pod),
    case("containerd/cri-update", update),
    case("containerd/cri-stats", stats),
    case("containerd/cri-streams", streams),
    case("containerd/cri-terminal", terminal),
    case("containerd/cri-shared-pid-namespace", pid_namespace),
    case("containerd/cri-killed-shim-is-cleaned-up", killed_shim),
    case("containerd/cri-change-of-runtime", change),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome) -> Case {
    Case::new(name, run).needs(CONTAINERD).not_on(CRUN)
}

fn update_task(env: &mut Env) -> Outcome {
    let containerd = Containerd::new(env)?;
    let flags = ["-d", "--null-io", "--memory-limit", "33554432"];
    containerd.run(&flags, "a", &["sleep", "1000"]).ok()?;
    let update = |resources: Value| -> Result<Reply, Failure> {
        let kind = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
        let message = json!({"1": "a", "2": {"1": kind, "2": resources.to_string()}});
        let headers = [("containerd-namespace", env.mark.as_str())];
        let method = "/containerd.services.tasks.v1.Tasks/Update";
        grpc::call(&containerd.socket(), method, &message, &headers, env.shared.limit)
    };
    update(json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 44}}))?.map_err(Failure)?;
    let group = format!("{}/a", env.mark);
    let file = |v1: &str, v2: &str| engine::group_file(env, &group, v1, v2);
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "67108864", "memory");
    ensure_eq!(file("pids/pids.max", "pids.max")?, "44", "pids");
    // The runtime's text comes back.
    let why = update(json!({"cpu": {"cpus": "4096"}}))?.err().unwrap_or_default();
    ensure!(why.contains("cpuset.cpus"), "{why}");
    containerd.delete("a")?;
    containerd.end()
}

const POLITE: &str = "trap 'exit 5' TERM; echo ready; while true; do sleep 0.02; done";

/// The handler of the manual's RuntimeClass.
fn handler(env: &Env) -> Result<String, Failure> {
    let class = manual::snippet(env, "runtime-class")?;
    let handler = class.lines().find_map(|line| line.strip_prefix("handler: "));
    Ok(handler.unwrap_or_default().to_owned())
}

fn pod(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "runc")?;
    let pod = cri.pod("pod", &handler(env)?)?;
    let id = cri.start_container(&pod, &cri::container("one", POLITE))?;
    ensure!(env.wait_file(&env.dir.join("one.log"))?.contains("stdout F ready"), "the log");
    for id in [&pod.id, &id] {
        let output = cri.state(id)?;
        ensure!(output.stdout.contains("\"status\": \"running\""), "{output}");
    }
    // A pod without a RuntimeClass is the default runtime's; one of another is nobody's.
    let other = cri.pod("other", "")?;
    if env.is(Peer::Ghost) {
        ensure!(cri.state(&other.id)?.code() != 0, "the runtime has the default one's pod");
    }
    let message = json!({"1": cri.sandbox("none"), "2": "nosuch"});
    let why = cri.refusal("RunPodSandbox", &message)?;
    ensure!(why.contains("no runtime for \"nosuch\" is configured"), "{why}");

    let seen = cri.exec(&id, &["sh", "-c", "pwd; echo $A; echo err >&2; exit 3"])?;
    ensure_eq!(seen, ("/tmp\nb\n".into(), "err\n".into(), 3), "ExecSync: streams, exit code");
    let why = cri.refusal("ExecSync", &json!({"1": id, "2": ["nosuch"], "3": 10}))?;
    ensure!(why.contains("executable file not found in $PATH"), "{why}");

    cri.call("StopContainer", &json!({"1": id, "2": 30}))?;
    ensure_eq!(cri.status(&id)?, cri::Status { state: 2, code: 5 }, "after a stop");
    cri.call("RemoveContainer", &json!({"1": id}))?;
    cri.remove_pod(&pod)?;
    cri.remove_pod(&other)?;
    cri.end()
}

fn update(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "ghost-runc")?;
    let pod = cri.pod("pod", "")?;
    let id = cri.start_container(&pod, &cri::container("one", POLITE))?;
    let group = format!("{}/{id}", env.mark);
    let file = |v1: &str, v2: &str| engine::group_file(env, &group, v1, v2);
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "33554432", "memory");
    let resources = json!({"1": 50_000, "2": 20_000, "3": 512, "4": 67_108_864, "6": "0"});
    cri.call("UpdateContainerResources", &json!({"1": id, "2": resources}))?;
    ensure_eq!(file("memory/memory.limit_in_bytes", "memory.max")?, "67108864", "memory");
    ensure_eq!(file("cpuset/cpuset.cpus", "cpuset.cpus")?, "0", "CPUs");
    if env.shared.host.v2 {
        ensure_eq!(file("", "cpu.max")?, "20000 50000", "cpu");
    } else {
        ensure_eq!(file("cpu/cpu.cfs_quota_us", "")?, "20000", "quota");
        ensure_eq!(file("cpu/cpu.cfs_period_us", "")?, "50000", "period");
        ensure_eq!(file("cpu/cpu.shares", "")?, "512", "shares");
    }
    let message = json!({"1": id, "2": {"6": "4096"}});
    let why = cri.refusal("UpdateContainerResources", &message)?;
    ensure!(why.contains("cpuset.cpus"), "{why}");
    cri.remove_container(&id)?;
    cri.remove_pod(&pod)?;
    cri.end()
}

fn stats(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "ghost-runc")?;
    let pod = cri.pod("pod", "")?;
    let first = cri.start_container(&pod, &cri::container("one", POLITE))?;
    let second = cri.start_container(&pod, &cri::container("two", POLITE))?;
    let mut all = cri.call("ListContainerStats", &json!({}))?.messages(1)?;
    ensure_eq!(all.len(), 2, "containers with statistics");
    all.push(cri.call("ContainerStats", &json!({"1": first}))?.message(1)?);
    let mut ids = Vec::new();
    for stats in &all {
        ids.push(stats.message(1)?.text(1));
        let cpu = stats.message(2)?.message(2)?.number(1);
        let memory = stats.message(3)?.message(2)?.number(1);
        ensure!(cpu > 0 && memory > 0 && memory < 33_554_432, "cpu {cpu}, memory {memory}");
    }
    ids[..2].sort();
    let mut wanted = [first.clone(), second.clone()];
    wanted.sort();
    ensure_eq!((&ids[..2], &ids[2]), (&wanted[..], &first), "whose statistics");
    cri.remove_container(&first)?;
    cri.remove_container(&second)?;
    cri.remove_pod(&pod)?;
    cri.end()
}

/// The URL that the answer to `Exec` or `Attach` has, opened.
fn open(cri: &Cri, method: &str, message: &Value) -> Result<Channels, Failure> {
    let url = cri.call(method, message)?.text(1);
    Channels::open(&url, cri.containerd.env.shared.limit * 2)
}

fn streams(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "ghost-runc")?;
    let pod = cri.pod("pod", "")?;
    let mut config = cri::container("one", "read line; echo got $line; echo err >&2; exit 6");
    config["12"] = true.into();
    let id = cri.start_container(&pod, &config)?;

    let script = "read line; echo got $line; echo err >&2; exit 5";
    let message = json!({"1": id, "2": ["sh", "-c", script], "4": true, "5": true, "6": true});
    let mut exec = open(&cri, "Exec", &message)?;
    exec.write("typed\n")?;
    let End { stdout, stderr, code } = exec.end()?;
    ensure_eq!((&*stdout, &*stderr, code), ("got typed\n", "err\n", 5), "Exec");

    let attach = json!({"1": id, "2": true, "4": true, "5": true});
    let mut attach = open(&cri, "Attach", &attach)?;
    attach.write("more\n")?;
    attach.expect("got more\n")?;
    drop(attach);
    wait_exit(&cri, &id, 6)?;
    let log = fs::read_to_string(env.dir.join("one.log"))?;
    ensure!(log.contains("stdout F got more") && log.contains("stderr F err"), "the log: {log}");
    cri.remove_container(&id)?;
    cri.remove_pod(&pod)?;
    cri.end()
}

/// What a shell on a terminal is told; the answers are in [`talk`].
const TALK: &str = "tty; until [ \"$(stty size)\" = '37 91' ]; do sleep 0.02; done; echo sized; \
                    read line; echo got $line; exit 4";

fn talk(mut channels: Channels) -> Result<Channels, Failure> {
    channels.resize(37, 91)?;
    channels.expect("sized\r\n")?;
    channels.write("typed\n")?;
    channels.expect("got typed\r\n")?;
    Ok(channels)
}

fn terminal(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "ghost-runc")?;
    let pod = cri.pod("pod", "")?;
    let mut config = cri::container("one", TALK);
    config["12"] = true.into();
    config["14"] = true.into();
    let id = cri.start_container(&pod, &config)?;

    let message = json!({"1": id, "2": ["sh", "-c", TALK], "3": true, "4": true, "5": true});
    let exec = talk(open(&cri, "Exec", &message)?)?;
    let End { stdout, code, .. } = exec.end()?;
    ensure!(stdout.starts_with("/dev/pts/") && code == 4, "Exec: {code}, {stdout}");

    let message = json!({"1": id, "2": true, "3": true, "4": true});
    drop(talk(open(&cri, "Attach", &message)?)?);
    wait_exit(&cri, &id, 4)?;
    let log = fs::read_to_string(env.dir.join("one.log"))?;
    ensure!(log.contains("stdout F /dev/pts/0"), "the log: {log}");
    cri.remove_container(&id)?;
    cri.remove_pod(&pod)?;
    cri.end()
}

fn wait_exit(cri: &Cri, id: &str, code: u64) -> Outcome {
    wait_until(cri.containerd.env.shared.limit, "the container to be reported exited", || {
        crate::leaks::reap();
        let status = cri.status(id)?;
        if status == RUNNING {
            return Ok(None);
        }
        ensure_eq!(status, cri::Status { state: 2, code }, "status");
        Ok(Some(()))
    })
}

fn pid_namespace(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "ghost-runc")?;
    let pod = cri.pod("pod", "")?;
    let start = |name: &str, seconds: &str, pids: u8| {
        let script = format!("trap 'exit 0' TERM; sleep {seconds} & wait");
        cri.start_container(&pod, &cri::container_with_pids(name, &script, pids))
    };
    let first = start("one", "1001", cri::SHARED)?;
    let second = start("two", "1002", cri::SHARED)?;
    let alone = start("alone", "1003", cri::OWN)?;
    let look = "readlink /proc/self/ns/pid; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; \
                tr '\\0' ' ' </proc/1/cmdline";
    let look = |id: &str| -> Result<String, Failure> {
        wait_until(env.shared.limit, "the container's process", || {
            let seen = cri.exec(id, &["sh", "-c", look])?.0;
            let children = seen.matches("sleep 100").count();
            Ok((children >= if id == alone { 1 } else { 3 }).then_some(seen))
        })
    };
    let (seen, other, own) = (look(&first)?, look(&second)?, look(&alone)?);
    // The sandbox's process is the first of all, and every container sees the others'.
    ensure!(seen.ends_with("sleep 1000 "), "process 1: {seen}");
    ensure!(seen.contains("sleep 1001") && seen.contains("sleep 1002"), "{seen}");
    ensure!(!seen.contains("sleep 1003"), "a container of its own is seen: {seen}");
    ensure_eq!(seen.lines().next(), other.lines().next(), "namespaces of both");
    ensure!(own.contains("sleep 1003") && !own.contains("sleep 1001"), "{own}");
    cri.remove_container(&first)?;
    // The end of one is not the end of the others.
    ensure_eq!(cri.status(&second)?, RUNNING, "the other container");
    let seen = cri.exec(&second, &["sh", "-c", "cat /proc/[0-9]*/cmdline"])?.0;
    ensure!(!seen.contains("1001"), "a process of the removed one: {seen}");
    cri.remove_container(&second)?;
    cri.remove_container(&alone)?;
    cri.remove_pod(&pod)?;
    cri.end()
}

/// A pod has one shim. When it is killed, containerd has the runtime delete the containers by force.
fn killed_shim(env: &mut Env) -> Outcome {
    let cri = Cri::start(env, "ghost-runc")?;
    let pod = cri.pod("pod", "")?;
    let other = cri.pod("other", "")?;
    let id = cri.start_container(&pod, &cri::container("one", "sleep 1001"))?;
    let kept = cri.start_container(&other, &cri::container("two", POLITE))?;
    let shims = engine::processes_with(&["containerd-shim", &format!("-id {}", pod.id)]);
    ensure_eq!(shims.len(), 1, "shims of the pod");
    engine::kill(shims[0])?;
    // What containerd says of an exit that nobody saw.
    wait_exit(&cri, &id, 255)?;
    ensure_eq!(cri.status(&kept)?, RUNNING, "the other pod's container");
    wait_until(env.shared.limit, "the processes and groups to go", || {
        crate::leaks::reap();
        let processes = engine::processes_with(&["sleep 1001"]);
        Ok((processes.is_empty() && engine::groups_of(env, &id).is_empty()).then_some(()))
    })?;
    let state = format!("/run/containerd/runc/{}/{id}", cri::KUBERNETES);
    ensure!(!fs::exists(&state)?, "{state} is left");
    cri.remove_container(&id)?;
    cri.remove_pod(&pod)?;
    // The name is free again.
    let pod = cri.pod("pod", "")?;
    let id = cri.start_container(&pod, &cri::container("one", POLITE))?;
    cri.remove_container(&id)?;
    cri.remove_pod(&pod)?;
    cri.remove_container(&kept)?;
    cri.remove_pod(&other)?;
    cri.end()
}

/// A node whose default runtime changes: the pods that are there stay runc's, and are looked after,
/// stopped and removed by it.
fn change(env: &mut Env) -> Outcome {
    let mut cri = Cri::start(env, "runc")?;
    let script = cri::container("a", POLITE);
    let old_pod = cri.pod("old", "")?;
    let old = cri.start_container(&old_pod, &script)?;
    cri.containerd.configure(&cri::config(env, cri::CONFIG, "ghost-runc")?)?;
    cri.containerd.crash_and_start()?;
    let new_pod = cri.pod("new", "")?;
    let new = cri.start_container(&new_pod, &script)?;
    for id in [&old, &new] {
        let seen = cri.exec(id, &["sh", "-c", "exit 3"])?;
        ensure_eq!(seen, (String::new(), String::new(), 3), "ExecSync");
        cri.call("UpdateContainerResources", &json!({"1": id, "2": {"4": 67_108_864}}))?;
    }
    if env.is(Peer::Ghost) {
        let (old, new) = (cri.state(&old)?, cri.state(&new)?);
        ensure!(old.code() != 0 && new.code() == 0, "whose they are: {old} {new}");
    }
    // A container more in the old pod is its runtime's.
    let more = cri.start_container(&old_pod, &cri::container("c", POLITE))?;
    ensure!(cri.state(&more)?.code() == cri.state(&old)?.code(), "another runtime in one pod");
    cri.remove_container(&more)?;
    let remove = |pod: &Pod, id: &str| -> Outcome {
        cri.call("StopContainer", &json!({"1": id, "2": 30}))?;
        ensure_eq!(cri.status(id)?, cri::Status { state: 2, code: 5 }, "after a stop");
        cri.call("RemoveContainer", &json!({"1": id}))?;
        cri.remove_pod(pod)
    };
    remove(&old_pod, &old)?;
    remove(&new_pod, &new)?;
    cri.end()
}
