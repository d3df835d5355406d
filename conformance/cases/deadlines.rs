//! Commands that somebody keeps waiting: each gives up after a while, and says what for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("deadlines/lock-that-another-command-has", lock)
        .not_on(&[(Peer::Runc, "runc has no such lock"), (Peer::Crun, "crun has no such lock")]),
    Case::new("deadlines/process-that-does-not-freeze", wedged)
        .needs(&[Need::V2, Need::Command("mkfs.ext4"), Need::Command("fsfreeze")])
        .not_on(&[
            (Peer::Runc, "runc runs in a v1 view here, where such a process can be frozen"),
            (Peer::Crun, "ghost only: crun does not wait for the processes"),
        ]),
    Case::new("deadlines/process-that-does-not-freeze-on-v1", wedged_v1)
        .needs(&[Need::V1, Need::Command("mkfs.ext4"), Need::Command("fsfreeze")])
        .not_on(&[
            (Peer::Runc, "runc says only that it is unable to freeze"),
            (Peer::Crun, "crun runs in a v2 view here"),
        ]),
];

fn lock(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let go = env.dir.join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.1; done", go.display());
    bundle.config["hooks"] =
        json!({"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", wait]}]});
    let id = env.create(&bundle, "c", &[])?;
    let patient = |words: &[&str]| env.runtime(words).limit(Duration::from_secs(90)).spawn();
    let start = patient(&["start", &id])?;
    env.wait_status(&id, "running")?;
    let began = Instant::now();
    let mut calls = Vec::new();
    for words in [
        &["pause", &*id][..],
        &["resume", &id],
        &["update", "--cpu-share", "512", &id],
        &["delete", &id],
        &["start", &id],
    ] {
        calls.push((words[0], patient(words)?));
    }
    let holder = format!("process {} (", start.pid());
    for (verb, call) in calls {
        let output = call.wait()?;
        output.expect_code(1)?;
        for word in [&*id, "is busy", "30 s", &holder] {
            ensure!(output.stderr.contains(word), "{verb}: no {word:?} in {output}");
        }
    }
    let took = began.elapsed();
    ensure!(took > Duration::from_secs(29), "they gave up after {took:?}");
    ensure_eq!(env.status(&id)?, "running", "status");
    fs::write(go, "")?;
    start.wait()?.expect_code(0)?;
    env.verb("pause", &id).ok()?;
    env.verb("resume", &id).ok().map(drop)
}

/// A file system that takes no writes for now, and whoever writes to it sleeps uninterruptibly.
struct Stopped(PathBuf);

impl Stopped {
    fn new(dir: &Path) -> Result<Self, Failure> {
        let (image, mount) = (dir.join("image"), dir.join("stopped"));
        fs::create_dir(&mount)?;
        fs::File::create(&image)?.set_len(8 << 20)?;
        run(&["mkfs.ext4", "-q", &image.to_string_lossy()])?;
        run(&["mount", "-o", "loop", &image.to_string_lossy(), &mount.to_string_lossy()])?;
        Ok(Self(mount))
    }

    fn go_on(&self) -> Outcome {
        run(&["fsfreeze", "--unfreeze", &self.0.to_string_lossy()])
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Whatever the case came to: nobody may sleep on it.
        let _ = self.go_on();
        let _ = run(&["umount", "--lazy", &self.0.to_string_lossy()]);
    }
}

fn run(words: &[&str]) -> Outcome {
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {told}");
    Ok(())
}

fn wedged(env: &mut Env) -> Outcome {
    let stopped = Stopped::new(&env.dir)?;
    let mut bundle = env.bundle()?;
    bundle.bind(&stopped.0, "/mnt", &["rw"])?;
    bundle.shell("trap '' TERM; while true; do echo > /mnt/file; sleep 0.1; done");
    let id = env.detach(&bundle, "c", &[])?;
    env.wait_file(&stopped.0.join("file"))?;
    run(&["fsfreeze", "--freeze", &stopped.0.to_string_lossy()])?;
    let pid = env.pid(&id)?;
    wait_until(env.shared.limit, "a process that sleeps uninterruptibly", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.contains(") D ").then_some(()))
    })?;
    gives_up(env, &id, &stopped)
}

/// Who waits to write to a stopped file system can be frozen on v1; who waits for a disk cannot, and this one's
/// disk is a file on such a file system.
fn wedged_v1(env: &mut Env) -> Outcome {
    let stopped = Stopped::new(&env.dir)?;
    let disk = Stopped::new(&stopped.0)?;
    // Dropped first, so that nothing waits for the disk when that goes.
    let _go_on = GoOn(&stopped);
    let mut bundle = env.bundle()?;
    bundle.bind(&disk.0, "/mnt", &["rw"])?;
    bundle.shell(
        "while true; do dd if=/dev/zero of=/mnt/file bs=4k count=1 conv=fsync; sleep 0.1; done",
    );
    let id = env.detach(&bundle, "c", &[])?;
    env.wait_file(&disk.0.join("file"))?;
    run(&["fsfreeze", "--freeze", &stopped.0.to_string_lossy()])?;
    wait_until(env.shared.limit, "a process that waits for its disk", || {
        let group = super::cgroups_v1::group(env, &id, "freezer")?;
        let waits = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.contains("(dd) D ")
        };
        let pids = fs::read_to_string(group.join("cgroup.procs"))?;
        Ok(pids.lines().any(waits).then_some(()))
    })?;
    gives_up(env, &id, &stopped)
}

struct GoOn<'a>(&'a Stopped);

impl Drop for GoOn<'_> {
    fn drop(&mut self) {
        // The case itself may have done so.
        let _ = self.0.go_on();
    }
}

fn gives_up(env: &mut Env, id: &str, stopped: &Stopped) -> Outcome {
    let output = env.verb("pause", id).limit(Duration::from_secs(60)).exits(1)?;
    for word in ["still not frozen after 10 s", "/sys/fs/cgroup"] {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    // It is not left half frozen.
    ensure_eq!(env.status(id)?, "running", "status");
    stopped.go_on()?;
    env.verb("pause", id).ok()?;
    ensure_eq!(env.status(id)?, "paused", "status once it is let go");
    env.verb("resume", id).ok()?;
    env.delete_all()
}
