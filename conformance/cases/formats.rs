//! What is printed, to the byte where engines read it. The golden form is what Debian's runc
//! prints in the same situation, with ids, pids, paths and times made alike.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::{Call, Output};
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN_OWN: &[(Peer, &str)] = &[(Peer::Crun, "crun has its own layout")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("formats/state", state).not_on(CRUN_OWN),
    Case::new("formats/state-keys-and-types", state_keys).not_on(CRUN_OWN),
    Case::new("formats/state-annotations", state_annotations).not_on(CRUN_OWN),
    Case::new("formats/list-json", list_json).not_on(CRUN_OWN),
    Case::new("formats/list-table", list_table).not_on(CRUN_OWN),
    Case::new("formats/list-quiet", list_quiet),
    Case::new("formats/list-of-more-than-descriptors", list_crowd)
        .not_on(&[(Peer::Crun, "crun 1.8.1 reads a state of its own format")]),
    Case::new("formats/list-empty", list_empty).not_on(CRUN_OWN),
    Case::new("formats/list-bad-format", list_bad_format).not_on(CRUN_OWN),
    Case::new("formats/ps-json", ps_json).not_on(CRUN_OWN),
    Case::new("formats/ps-table", ps_table).not_on(CRUN_OWN),
    Case::new("formats/ps-options", ps_options).not_on(CRUN_OWN),
    Case::new("formats/spec", spec).not_on(CRUN_OWN),
    Case::new("formats/spec-rootless", spec_rootless).not_on(CRUN_OWN),
    Case::new("formats/spec-refuses-to-overwrite", spec_overwrite),
    Case::new("formats/version", version),
    Case::new("formats/version-in-the-place-of-runc", version_as_runc)
        .not_on(&[(Peer::Crun, "crun has its own name always")]),
    Case::new("formats/features", features)
        .not_on(&[(Peer::Crun, "crun 1.8.1 has no features command")]),
    Case::new("formats/log-json-line", log_json).not_on(CRUN_OWN),
    Case::new("formats/log-text-line", log_text).not_on(CRUN_OWN),
    Case::new("formats/log-to-stderr", log_stderr).not_on(CRUN_OWN),
    Case::new("formats/log-nothing-on-success", log_quiet),
    Case::new("formats/log-debug", log_debug),
];

fn sleeper(env: &Env) -> Result<Bundle, Failure> {
    env.bundle_with(&["sleep", "1000"])
}

/// The same question put to Debian's runc about a container of its own.
fn runc(env: &Env, words: &[&str]) -> Call {
    let root = env.dir.join("runc-state");
    let root = root.to_string_lossy().into_owned();
    env.command(&[&["runc", "--root", &root], words].concat())
}

/// Make runc's container beside the one under test; its id.
fn runc_container(env: &Env, bundle: &Bundle, verb: &[&str]) -> Result<String, Failure> {
    let id = env.id("peer");
    let dir = bundle.dir.to_string_lossy().into_owned();
    runc(env, &[verb, &["-b", &dir, &id]].concat()).ok()?;
    Ok(id)
}

fn delete_runc(env: &Env, id: &str) -> Outcome {
    runc(env, &["delete", "-f", id]).ok()?;
    fs::remove_dir_all(env.dir.join("runc-state"))?;
    crate::leaks::reap();
    Ok(())
}

/// `text` with the parts that must differ between two containers made alike.
fn alike(text: &str, id: &str, pid: i64) -> String {
    let text = text.replace(id, "ID");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("20") {
        let (before, candidate) = rest.split_at(at);
        out.push_str(before);
        if candidate.len() >= 20 && candidate.as_bytes()[10] == b'T' {
            let end = candidate.find('Z').unwrap_or(19) + 1;
            let fraction = candidate[19..end].trim_start_matches('.').trim_end_matches('Z');
            let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && fraction.len() <= 9;
            out.push_str(if digits { "TIME" } else { "BADTIME" });
            rest = &candidate[end..];
        } else {
            out.push_str(&candidate[..2]);
            rest = &candidate[2..];
        }
    }
    out.push_str(rest);
    // A version or a pid is a whole token in every format. Times went first: a small pid may be
    // one's month, day or second.
    normalise_version(&replace_token(&out, &pid.to_string(), "PID"))
}

fn replace_token(text: &str, token: &str, by: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        out.push_str(if word == token { by } else { &word });
        word.clear();
        out.push(c);
    }
    out.push_str(if word == token { by } else { &word });
    out
}

/// The value of ociVersion is each runtime's own.
fn normalise_version(text: &str) -> String {
    let key = "\"ociVersion\":";
    let Some(at) = text.find(key) else { return text.to_owned() };
    let value = at + key.len();
    let Some(open) = text[value..].find('"') else { return text.to_owned() };
    let start = value + open + 1;
    let Some(close) = text[start..].find('"') else { return text.to_owned() };
    format!("{}VERSION{}", &text[..start], normalise_version(&text[start + close..]))
}

fn same_as_runc(env: &Env, bundle: &Bundle, make: &[&str], words: &[&str]) -> Outcome {
    let id = if make[0] == "create" {
        env.create(bundle, "x", &make[1..])?
    } else {
        env.detach(bundle, "x", &make[2..])?
    };
    let peer = runc_container(env, bundle, make)?;
    let fill = |id: &str| words.iter().map(|w| w.replace("@", id)).collect::<Vec<_>>();
    let own = env.runtime(&fill(&id)).ok()?;
    let words: Vec<String> = fill(&peer);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let golden = runc(env, &words).ok()?;
    let pid = |text: String| -> Result<i64, Failure> {
        let state: Value = serde_json::from_str(&text)?;
        state["pid"].as_i64().ok_or_else(|| Failure("state has no pid".to_owned()))
    };
    let own_pid = pid(env.verb("state", &id).ok()?.stdout)?;
    let peer_pid = pid(runc(env, &["state", &peer]).ok()?.stdout)?;
    delete_runc(env, &peer)?;
    ensure_eq!(
        alike(&own.stdout, &id, own_pid),
        alike(&golden.stdout, &peer, peer_pid),
        "output compared with runc's"
    );
    ensure_eq!(own.stderr, "", "stderr");
    Ok(())
}

fn state(env: &mut Env) -> Outcome {
    same_as_runc(env, &sleeper(env)?, &["create"], &["state", "@"])
}

fn state_keys(env: &mut Env) -> Outcome {
    let bundle = sleeper(env)?;
    let id = env.detach(&bundle, "d", &[])?;
    let state = env.state(&id)?;
    let known = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    let map = state.as_object().ok_or_else(|| Failure("state is no object".to_owned()))?;
    for key in map.keys() {
        ensure!(known.contains(&key.as_str()), "unknown key {key} in state");
    }
    ensure_eq!(state["bundle"], json!(bundle.dir), "bundle");
    ensure_eq!(state["rootfs"], json!(bundle.rootfs()), "rootfs");
    ensure_eq!(state["owner"], "", "owner");
    ensure!(!map.contains_key("annotations"), "empty annotations are shown");
    let text = env.verb("state", &id).ok()?.stdout;
    ensure!(text.ends_with('}'), "state ends with a newline");
    Ok(())
}

fn state_annotations(env: &mut Env) -> Outcome {
    let mut bundle = sleeper(env)?;
    bundle.set("/annotations", json!({"org.b": "2", "org.a": "<&>\u{2028}\"x\""}))?;
    same_as_runc(env, &bundle, &["create"], &["state", "@"])
}

fn list_json(env: &mut Env) -> Outcome {
    same_as_runc(env, &sleeper(env)?, &["run", "-d"], &["list", "--format", "json"])
}

fn list_table(env: &mut Env) -> Outcome {
    // Ids of one length, so that the columns are as wide; the pid's width may differ.
    let id = env.detach(&sleeper(env)?, "x", &[])?;
    let output = env.runtime(&["list"]).ok()?;
    let lines: Vec<&str> = output.stdout.lines().collect();
    ensure_eq!(lines.len(), 2, "lines of {output}");
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    ensure_eq!(words, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "heading");
    let columns: Vec<usize> = words.iter().filter_map(|w| lines[0].find(w)).collect();
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    ensure_eq!(row.len(), 6, "cells of {output}");
    ensure_eq!((row[0], row[2], row[5]), (id.as_str(), "running", "root"), "cells");
    // Cells stand below their heading, three spaces apart, no column narrower than twelve.
    for (cell, column) in row.iter().zip(&columns) {
        ensure!(lines[1][*column..].starts_with(cell), "{cell} is not below its heading: {output}");
    }
    let widths: Vec<usize> = columns.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (cell, width) in row.iter().zip(&widths) {
        ensure_eq!(*width, (cell.len() + 3).max(12), "width of the column of {cell} in {output}");
    }
    Ok(())
}

fn list_quiet(env: &mut Env) -> Outcome {
    let bundle = sleeper(env)?;
    let (one, two) = (env.create(&bundle, "1", &[])?, env.create(&sleeper(env)?, "2", &[])?);
    for flag in ["-q", "--quiet"] {
        let output = env.runtime(&["list", flag]).ok()?;
        let mut ids: Vec<&str> = output.stdout.lines().collect();
        ids.sort_unstable();
        ensure_eq!(ids, [one.as_str(), two.as_str()], "ids");
    }
    Ok(())
}

/// The state directory of a real container under many names: none may be kept open, and those that
/// are shared among threads come back in order.
fn list_crowd(env: &mut Env) -> Outcome {
    const CROWD: usize = 150;
    let one = env.create(&sleeper(env)?, "1", &[])?;
    let state = fs::read_to_string(env.root().join(&one).join("state.json"))?;
    let names: Vec<String> = (0..CROWD).map(|number| format!("{one}-{number:03}")).collect();
    for name in &names {
        let dir = env.root().join(name);
        DirBuilder::new().mode(0o755).create(&dir)?;
        let id = |id: &str| format!("\"id\":\"{id}\"");
        fs::write(dir.join("state.json"), state.replace(&id(&one), &id(name)))?;
    }
    let limit = ["prlimit", "--nofile=32:32"];
    let list = env.runtime(&["list", "--format", "json"]).under(&limit).ok()?.json()?;
    let ids = list.as_array().into_iter().flatten().filter_map(|row| row["id"].as_str());
    let (own, others): (Vec<&str>, Vec<&str>) = ids.partition(|id| *id == one);
    ensure_eq!(own, [one.as_str()], "the container itself");
    ensure_eq!(others, names, "its likes");
    for name in &names {
        fs::remove_dir_all(env.root().join(name))?;
    }
    Ok(())
}

fn list_empty(env: &mut Env) -> Outcome {
    ensure_eq!(env.runtime(&["list", "-f", "json"]).ok()?.stdout, "null\n", "json, no container");
    let heading = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
    ensure_eq!(env.runtime(&["list"]).ok()?.stdout, heading, "table, no container");
    if env.is(Peer::Ghost) {
        // A root that the caller names must exist; runc holds to that since 1.2.
        let missing = env.dir.join("no-such-root").to_string_lossy().into_owned();
        let output = env.bare_runtime(&["--root", &missing, "list"]).exits(1)?;
        ensure!(output.stderr.contains("no-such-root"), "{output}");
    }
    Ok(())
}

fn list_bad_format(env: &mut Env) -> Outcome {
    let output = env.runtime(&["list", "--format", "yaml"]).exits(1)?;
    ensure!(output.stderr.contains("invalid format option"), "{output}");
    let output = env.runtime(&["--log-format", "yaml", "list"]).exits(1)?;
    ensure!(output.stderr.contains("invalid log-format: yaml"), "{output}");
    Ok(())
}

fn ps_json(env: &mut Env) -> Outcome {
    let id = env.detach(&sleeper(env)?, "d", &[])?;
    let pid = env.pid(&id)?;
    for words in [["ps", "--format", "json", &id], ["ps", "-f", "json", &id]] {
        let output = env.runtime(&words).ok()?;
        ensure_eq!(output.stdout, format!("[{pid}]\n"), "pids");
        ensure_eq!(output.stderr, "", "stderr");
    }
    let exec = env.exec(&id, &[], &["sleep", "1000"]).spawn()?;
    crate::call::wait_until(env.shared.limit, "a second pid", || {
        let output = env.runtime(&["ps", "--format", "json", &id]).ok()?;
        let pids: Vec<i32> = serde_json::from_str(&output.stdout)?;
        Ok((pids.len() == 2 && pids.contains(&pid)).then_some(()))
    })?;
    env.runtime(&["kill", "--all", &id, "KILL"]).ok()?;
    exec.wait()?.expect_code(137)
}

fn ps_table(env: &mut Env) -> Outcome {
    let id = env.detach(&sleeper(env)?, "d", &[])?;
    let pid = env.pid(&id)?.to_string();
    let output = env.verb("ps", &id).ok()?;
    let lines: Vec<&str> = output.stdout.lines().collect();
    ensure_eq!(lines.len(), 2, "lines of {output}");
    ensure!(lines[0].starts_with("UID"), "{output}");
    ensure_eq!(lines[1].split_whitespace().nth(1), Some(pid.as_str()), "pid");
    ensure!(lines[1].ends_with("sleep 1000"), "{output}");
    Ok(())
}

fn ps_options(env: &mut Env) -> Outcome {
    let id = env.detach(&sleeper(env)?, "d", &[])?;
    let pid = env.pid(&id)?.to_string();
    let output = env.runtime(&["ps", &id, "-e", "-o", "pid,comm"]).ok()?;
    let lines: Vec<Vec<&str>> =
        output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure_eq!(lines, [vec!["PID", "COMMAND"], vec![pid.as_str(), "sleep"]], "table");
    Ok(())
}

fn spec_text(env: &Env, call: impl Fn(&str) -> Call, name: &str) -> Result<String, Failure> {
    let dir = env.dir.join(name);
    fs::create_dir(&dir)?;
    let output = call(&dir.to_string_lossy()).ok()?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output");
    Ok(fs::read_to_string(dir.join("config.json"))?)
}

fn compare_spec(env: &Env, flags: &[&str]) -> Outcome {
    let words = |dir: &str| -> Vec<String> {
        let words = [&["spec", "--bundle", dir], flags].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let own = spec_text(env, |dir| env.runtime(&words(dir)), "own")?;
    let golden = spec_text(
        env,
        |dir| env.command(&[vec!["runc".to_owned()], words(dir)].concat()),
        "golden",
    )?;
    let (mut own, mut golden) = (normalise_version(&own), normalise_version(&golden));
    if env.is(Peer::Ghost) {
        // What runc changed after Debian's version: no ambient set, and one more masked path.
        own = cut(&own, ",\n\t\t\t\"/sys/devices/virtual/tpm\"", "")?;
        golden = cut(&golden, ",\n\t\t\t\"ambient\": [", "\n\t\t\t]")?;
    }
    ensure_eq!(own, golden, "config.json");
    Ok(())
}

/// `text` without what stands between the start of `from` and the next end of `to`.
fn cut(text: &str, from: &str, to: &str) -> Result<String, Failure> {
    let start = text.find(from).ok_or_else(|| Failure(format!("no {from:?} in {text}")))?;
    let after = start + from.len();
    let end = text[after..].find(to).map(|at| after + at + to.len());
    let end = end.ok_or_else(|| Failure(format!("no {to:?} in {text}")))?;
    Ok(format!("{}{}", &text[..start], &text[end..]))
}

fn spec(env: &mut Env) -> Outcome {
    compare_spec(env, &[])?;
    let dir = env.dir.join("here");
    fs::create_dir(&dir)?;
    env.runtime(&["spec"]).cwd(&dir).ok()?;
    ensure!(dir.join("config.json").exists(), "no config.json in the current directory");
    Ok(())
}

fn spec_rootless(env: &mut Env) -> Outcome {
    compare_spec(env, &["--rootless"])
}

fn spec_overwrite(env: &mut Env) -> Outcome {
    let dir = env.dir.join("spec");
    fs::create_dir(&dir)?;
    fs::write(dir.join("config.json"), "mine")?;
    let output = env.runtime(&["spec"]).cwd(&dir).exits(1)?;
    ensure!(output.stderr.contains("config.json"), "{output}");
    ensure_eq!(fs::read_to_string(dir.join("config.json"))?, "mine", "config.json");
    Ok(())
}

/// What the engines' own parsers make of `--version`.
fn read_by_engines(text: &str, named_runc: bool) -> Outcome {
    let lines: Vec<&str> = text.trim().lines().collect();
    let number = lines[0].rsplit(' ').next().unwrap_or_default();
    let value = |key: &str| lines[1..].iter().find_map(|line| line.strip_prefix(key));
    // moby, parseRuntimeVersion: what is before and after "version" in a line that has the word.
    for line in lines.iter().filter(|line| line.contains("version")) {
        let parts: Vec<&str> = line.split("version").map(str::trim).collect();
        ensure!(!parts[0].is_empty() && parts[parts.len() - 1] == number, "moby reads {parts:?}");
    }
    ensure!(value("commit:").is_some_and(|commit| !commit.trim().is_empty()), "moby: no commit");
    // go-runc before 1.1, parseVersion: three lines, and no more than one separator in each. runc
    // itself has more lines by now.
    if lines.len() == 3 {
        for (line, separator) in lines.iter().zip(["version ", ": ", ": "]) {
            ensure_eq!(line.split(separator).count(), 2, "go-runc's parts of {line:?}");
        }
    }
    // go-runc from 1.1 on knows the name "runc" only, and takes any other for no version at all.
    if named_runc {
        ensure_eq!(lines[0].strip_prefix("runc version "), Some(number), "go-runc's version");
        ensure!(value("commit: ").is_some() && value("spec: ").is_some(), "go-runc: {text}");
        // nerdctl, parseRuncVersion.
        ensure_eq!(lines[0].split_whitespace().count(), 3, "nerdctl's words");
    }
    Ok(())
}

/// In runc's place it has runc's name.
fn version_as_runc(env: &mut Env) -> Outcome {
    let link = env.dir.join("runc");
    std::os::unix::fs::symlink(&env.shared.runtime, &link)?;
    let output = env.command(&[link.as_os_str(), "--version".as_ref()]).ok()?;
    ensure!(output.stdout.starts_with("runc version "), "{output}");
    read_by_engines(&output.stdout, true)
}

fn version(env: &mut Env) -> Outcome {
    for flag in ["--version", "-v"] {
        // crun has no short form.
        if env.is(Peer::Crun) && flag == "-v" {
            continue;
        }
        let output = env.bare_runtime(&[flag]).ok()?;
        ensure_eq!(output.stderr, "", "stderr");
        let lines: Vec<&str> = output.stdout.lines().collect();
        let first: Vec<&str> = lines[0].split(' ').collect();
        ensure_eq!((first.len(), first[1]), (3, "version"), "first line {:?}", lines[0]);
        ensure!(first[2].starts_with(|c: char| c.is_ascii_digit()), "first line {:?}", lines[0]);
        ensure!(lines.iter().any(|line| line.starts_with("spec: ")), "no spec line: {output}");
        // Docker takes the last line that has the word.
        let count = lines.iter().filter(|line| line.contains("version")).count();
        ensure_eq!(count, 1, "lines with the word version");
        // What it shows as the runtime's version.
        let commit = lines.iter().find_map(|line| line.strip_prefix("commit: "));
        ensure!(commit.is_some_and(|commit| !commit.is_empty()), "no commit: {output}");
        read_by_engines(&output.stdout, lines[0].split(' ').next() == Some("runc"))?;
        if env.is(Peer::Ghost) {
            let is_hash =
                |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(commit.is_some_and(is_hash), "built from the repository: {output}");
        }
    }
    Ok(())
}

fn features(env: &mut Env) -> Outcome {
    let output = env.bare_runtime(&["features"]).ok()?;
    ensure_eq!(output.stderr, "", "stderr");
    let features: Value = serde_json::from_str(&output.stdout)?;
    for key in ["ociVersionMin", "ociVersionMax"] {
        ensure!(features[key].is_string(), "{key} is missing");
    }
    let has = |pointer: &str, value: &str| {
        features
            .pointer(pointer)
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(|v| v == value))
    };
    for (pointer, values) in [
        (
            "/hooks",
            &[
                "prestart",
                "createRuntime",
                "createContainer",
                "startContainer",
                "poststart",
                "poststop",
            ][..],
        ),
        ("/mountOptions", &["bind", "rbind", "ro", "rro", "nosuid", "rslave", "tmpcopyup"]),
        ("/linux/namespaces", &["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]),
        ("/linux/capabilities", &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]),
        (
            "/linux/seccomp/actions",
            &["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_NOTIFY"],
        ),
        ("/linux/seccomp/operators", &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]),
        ("/linux/seccomp/archs", &["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]),
    ] {
        for value in values {
            ensure!(has(pointer, value), "{pointer} lacks {value}");
        }
    }
    if env.is(Peer::Ghost) {
        // Of version 1.3 of the runtime-spec.
        ensure!(has("/linux/memoryPolicy/modes", "MPOL_WEIGHTED_INTERLEAVE"), "memoryPolicy.modes");
        ensure!(has("/linux/memoryPolicy/flags", "MPOL_F_STATIC_NODES"), "memoryPolicy.flags");
        let all = json!({"enabled": true, "schemata": true, "monitoring": true});
        ensure_eq!(features["linux"]["intelRdt"], all, "intelRdt");
        for pointer in [
            "/linux/cgroup/systemd",
            "/linux/cgroup/systemdUser",
            "/linux/cgroup/rdma",
            "/linux/apparmor/enabled",
            "/linux/selinux/enabled",
            "/linux/netDevices/enabled",
            "/linux/mountExtensions/idmap/enabled",
        ] {
            ensure_eq!(features.pointer(pointer), Some(&json!(true)), "{pointer}");
        }
        ensure!(has("/linux/namespaces", "time"), "the time namespace");
        let unsafe_ones = "/potentiallyUnsafeConfigAnnotations";
        ensure!(has(unsafe_ones, "org.systemd.property."), "{unsafe_ones}");
    }
    for pointer in ["/linux/cgroup/v1", "/linux/cgroup/v2", "/linux/seccomp/enabled"] {
        ensure_eq!(features.pointer(pointer), Some(&json!(true)), "{pointer}");
    }
    Ok(())
}

fn check_json_line(text: &str, words: &str) -> Outcome {
    ensure_eq!(text.lines().count(), 1, "lines of the log {text:?}");
    let line: Value = serde_json::from_str(text)?;
    let keys: Vec<&String> = line.as_object().map(|m| m.keys().collect()).unwrap_or_default();
    ensure_eq!(keys, ["level", "msg", "time"], "keys");
    ensure_eq!(line["level"], "error", "level");
    let message = line["msg"].as_str().unwrap_or_default();
    ensure!(message.contains(words), "msg {message:?} lacks {words:?}");
    let time = line["time"].as_str().unwrap_or_default();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let seconds = shape.starts_with("0000-00-00T00:00:00");
    let zone = shape.ends_with('Z') || shape.ends_with("+00:00") || shape.ends_with("-00:00");
    ensure!(seconds && zone, "time {time:?} is not RFC 3339");
    Ok(())
}

/// A failing command with a log file; the log's text and the output.
fn logged(env: &Env, format: &str) -> Result<(String, Output), Failure> {
    let log = env.dir.join("log");
    let file = log.to_string_lossy().into_owned();
    let output = env
        .runtime(&["--log", &file, "--log-format", format, "start", &env.id("nope")])
        .exits(1)?;
    Ok((fs::read_to_string(log)?, output))
}

fn log_json(env: &mut Env) -> Outcome {
    let (log, output) = logged(env, "json")?;
    check_json_line(&log, "container does not exist")?;
    ensure!(output.stderr.contains("container does not exist"), "plain text lacks: {output}");
    ensure!(!output.stderr.contains('{'), "stderr is not plain: {output}");
    ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
    Ok(())
}

fn log_text(env: &mut Env) -> Outcome {
    let (log, _) = logged(env, "text")?;
    ensure_eq!(log.lines().count(), 1, "lines of the log {log:?}");
    ensure!(log.starts_with("time=\"20"), "log {log:?}");
    ensure!(log.ends_with("level=error msg=\"container does not exist\"\n"), "log {log:?}");
    Ok(())
}

fn log_stderr(env: &mut Env) -> Outcome {
    let id = env.id("nope");
    let output = env.runtime(&["--log-format", "json", "start", &id]).exits(1)?;
    check_json_line(&output.stderr, "container does not exist")?;
    let output = env.runtime(&["start", &id]).exits(1)?;
    ensure!(
        output.stderr.ends_with("level=error msg=\"container does not exist\"\n"),
        "text form: {output}"
    );
    Ok(())
}

fn log_debug(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["echo", "out"])?;
    let log = env.dir.join("log");
    let file = log.to_string_lossy().into_owned();
    let dir = bundle.dir.to_string_lossy().into_owned();
    let words =
        ["--debug", "--log", &file, "--log-format", "json", "run", "-b", &dir, &env.id("x")];
    let output = env.runtime(&words).ok()?;
    ensure_eq!(output.stdout, "out\n", "stdout");
    let text = fs::read_to_string(log)?;
    if !env.is(Peer::Crun) {
        ensure!(!text.is_empty(), "no debug line");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            ensure!(line["level"] == "debug" || line["level"] == "info", "level of {line}");
        }
    }
    Ok(())
}

fn log_quiet(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let log = env.dir.join("log");
    let file = log.to_string_lossy().into_owned();
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env
        .runtime(&["--log", &file, "--log-format", "json", "run", "-b", &dir, &env.id("x")])
        .ok()?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output");
    ensure_eq!(fs::read_to_string(log).unwrap_or_default(), "", "log");
    Ok(())
}
