//! Runs inside a container, statically linked, and prints what it sees there as one JSON object.
//! What /proc knows is read there; where /proc is missing those keys are null.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

mod lock;
mod overwrite;
mod ready;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("lock") => return lock::run(),
        Some("overwrite") => return overwrite::run(),
        Some("ready") => return ready::run(),
        _ => {}
    }
    let report = json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "exe": link("/proc/self/exe"),
        "env": std::env::vars_os()
            .map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy()))
            .collect::<Vec<_>>(),
        "cwd": std::env::current_dir().ok(),
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
        "sid": stat_field(3),
        "pgid": stat_field(2),
        "status": status(),
        "limits": limits(),
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "cgroup": lines("/proc/self/cgroup"),
        "uid_map": lines("/proc/self/uid_map"),
        "gid_map": lines("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "timens_offsets": lines("/proc/self/timens_offsets"),
        "apparmor": text("/proc/self/attr/current"),
        "keys": lines("/proc/keys"),
        "namespaces": namespaces(),
        "fds": fds(),
        "mounts": mounts(),
        "dev": dev(),
        "tty": [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()],
        "winsize": rustix::termios::tcgetwinsize(io::stdin()).ok().map(|s| [s.ws_row, s.ws_col]),
        "hostname": uname(rustix::system::uname().nodename()),
        "machine": uname(rustix::system::uname().machine()),
        "memory_policy": memory_policy(),
        "domainname": uname(rustix::system::uname().domainname()),
    });
    match writeln!(io::stdout(), "{report}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A number of /proc/self/stat, counted from the field after the command's name.
fn stat_field(index: usize) -> Option<i64> {
    text("/proc/self/stat")?.rsplit_once(')')?.1.split_whitespace().nth(index)?.parse().ok()
}

fn uname(name: &std::ffi::CStr) -> String {
    name.to_string_lossy().into_owned()
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end_matches(['\n', '\0']).to_owned())
}

fn lines(path: &str) -> Option<Vec<String>> {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(text(path)?.lines().map(squeeze).collect())
}

fn link(path: &str) -> Option<String> {
    fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned())
}

/// The policy of the first mapping: `bind:0`, `prefer (many):0`.
fn memory_policy() -> Option<String> {
    let table = text("/proc/self/numa_maps")?;
    let (_, rest) = table.lines().next()?.split_once(' ')?;
    Some(rest.split_once(" file=").map_or(rest, |(policy, _)| policy).to_owned())
}

/// The fields of /proc/self/status, as they stand there.
fn status() -> Option<Map<String, Value>> {
    let fields = lines("/proc/self/status")?;
    let fields = fields.iter().filter_map(|line| line.split_once(':'));
    Some(fields.map(|(key, value)| (key.to_owned(), json!(value.trim()))).collect())
}

/// `{"Max open files": ["1024", "4096"]}`.
fn limits() -> Option<Map<String, Value>> {
    let table = fs::read_to_string("/proc/self/limits").ok()?;
    let row = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        let mut values = rest.split_whitespace();
        Some((name.trim().to_owned(), json!([values.next()?, values.next()?])))
    };
    Some(table.lines().skip(1).filter_map(row).collect())
}

fn namespaces() -> Option<Map<String, Value>> {
    let entries = fs::read_dir("/proc/self/ns").ok()?.flatten();
    let named = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name.clone(), json!(link(&format!("/proc/self/ns/{name}"))))
    });
    Some(named.collect())
}

/// Open descriptors but the one that lists them.
fn fds() -> Option<Map<String, Value>> {
    let names: Vec<String> = fs::read_dir("/proc/self/fd")
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let targets = names.into_iter().filter_map(|name| {
        let target = link(&format!("/proc/self/fd/{name}"))?;
        Some((name, json!(target)))
    });
    Some(targets.collect())
}

/// The mount table in order: target, root, options, type, source, super options, propagation.
fn mounts() -> Option<Vec<Value>> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let row = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        Some(json!({
            "target": left.get(4)?, "root": left.get(3)?, "options": words(left.get(5)?),
            "propagation": left.get(6..)?, "type": right.first()?, "source": right.get(1)?,
            "super": words(right.get(2)?),
        }))
    };
    Some(table.lines().filter_map(row).collect())
}

/// What is in /dev: a symlink's target, or kind, mode, owner and device numbers.
fn dev() -> Option<Map<String, Value>> {
    let entries = fs::read_dir("/dev").ok()?.flatten();
    let named = entries.filter_map(|entry| {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(target) = fs::read_link(&path) {
            return Some((name, json!(target)));
        }
        let meta = fs::symlink_metadata(&path).ok()?;
        let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
        Some((name, json!(format!("{mode:o} {uid}:{gid} {major}:{minor}"))))
    });
    Some(named.collect())
}
