//! What a case must not leave: processes, mounts, cgroups, systemd units and state directories. The
//! runner is in a mount namespace of its own, and takes over what its descendants leave: whatever it
//! finds there and below it is a case's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::call::{self, TICK};
use crate::env::Env;

/// How long a killed process may take to be gone.
const GRACE: Duration = Duration::from_secs(3);

/// A word that differs between runners, as several may run at once on one cgroup tree.
pub fn nonce() -> String {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// Collect the exit status of every orphan that ended, as the init of a machine does: an exec'd
/// process that nobody collects keeps its container's pid namespace, and so `delete`, waiting. The
/// runner's own children are left to their `Child`.
pub fn reap() {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids.filter(|pid| !call::is_child(*pid)) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut fields = rest.split_whitespace();
        if fields.next() == Some("Z") && fields.next() == Some(&own.to_string()) {
            // Nobody else takes it: failing is not possible while it is a zombie of ours.
            let _ = waitpid(Pid::from_raw(pid.cast_signed()), WaitOptions::NOHANG);
        }
    }
}

/// The processes below the runner.
pub fn processes() -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: BTreeMap<i32, i32> =
        pids.filter_map(|pid: i32| Some((pid, parent(pid)?))).collect();
    let own = std::process::id().cast_signed();
    let mut below = vec![own];
    let mut next = 0;
    while let Some(above) = below.get(next).copied() {
        below.extend(parents.iter().filter(|(_, parent)| **parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    below[1..].iter().map(|pid| (*pid, describe(*pid))).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn describe(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} [{}]", line.trim(), comm.trim())
}

/// The mount table's lines, without what belongs to the whole file system and not to the mount.
pub fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = |line: &str| line.rsplit_once(' ').map_or(line, |(own, _)| own).to_owned();
    table.lines().map(own).collect()
}

/// What is left of `env`'s containers, one line each; waits a little for processes that die.
pub fn left(env: &Env) -> Vec<String> {
    let start = Instant::now();
    loop {
        reap();
        let left = look(env);
        if left.is_empty() || start.elapsed() > GRACE {
            return left;
        }
        std::thread::sleep(TICK);
    }
}

fn look(env: &Env) -> Vec<String> {
    let mut left: Vec<String> =
        processes().into_iter().map(|(pid, line)| format!("process {pid} {line}")).collect();
    let dir = env.dir.to_string_lossy();
    left.extend(
        mounts().into_iter().filter(|l| l.contains(&*dir)).map(|line| format!("mount {line}")),
    );
    for root in env.shared.host.cgroup_roots() {
        left.extend(
            groups_with(&root, &env.mark)
                .into_iter()
                .map(|path| format!("cgroup {}", path.display())),
        );
    }
    if env.shared.host.systemd {
        left.extend(units(env).into_iter().map(|unit| format!("unit {unit}")));
    }
    if let Ok(entries) = fs::read_dir(env.root()) {
        left.extend(entries.flatten().map(|e| format!("state {}", e.path().display())));
    }
    left
}

/// The units with the case's mark that systemd knows.
fn units(env: &Env) -> Vec<String> {
    let pattern = format!("*{}*", env.mark);
    let words = ["systemctl", "list-units", "--all", "--plain", "--no-legend", &pattern];
    let output = env.command(&words).output();
    let lines = output.map(|output| output.stdout).unwrap_or_default();
    lines.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// The cgroups below `root` whose name has `word` in it.
pub fn groups_with(root: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find_dirs(root, word, &mut found, 0);
    found
}

fn find_dirs(dir: &Path, mark: &str, found: &mut Vec<PathBuf>, depth: u32) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(mark) {
            found.push(path);
        } else if depth < 4 {
            find_dirs(&path, mark, found, depth + 1);
        }
    }
}

/// Put the machine back as it was, so that one case's leak does not fail the next.
pub fn clean(env: &Env) {
    for _ in 0..100 {
        let processes = processes();
        for (pid, _) in &processes {
            if let Some(pid) = Pid::from_raw(*pid) {
                // It may be gone by now.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        reap();
        if processes.is_empty() {
            break;
        }
        std::thread::sleep(TICK);
    }
    let dir = env.dir.to_string_lossy().into_owned();
    for line in mounts().iter().rev().filter(|line| line.contains(&dir)) {
        if let Some(target) = line.split(' ').nth(4) {
            // Best effort: what stays mounted keeps its directory from being removed below.
            let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
        }
    }
    for root in env.shared.host.cgroup_roots() {
        groups_with(&root, &env.mark).iter().for_each(|path| remove_cgroup(path));
    }
}

fn remove_cgroup(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove_cgroup(&entry.path());
        }
    }
    // Reported as a leak already.
    let _ = fs::remove_dir(path);
}
