//! All that is wrong with a configuration is told at once, with its places.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const GHOST: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc stops at the first"),
    (Peer::Crun, "ghost only: crun stops at the first"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("violations/of-types", types).not_on(GHOST),
    Case::new("violations/of-values", values).not_on(GHOST),
    Case::new("violations/of-types-and-values", both).not_on(GHOST),
    Case::new("violations/of-a-scopes-path", scope_path).not_on(GHOST),
    Case::new("systemd/violations", systemd).needs(&[Need::Systemd]).not_on(GHOST),
    Case::new("violations/in-the-log", log).not_on(GHOST),
    Case::new("violations/exec", exec).not_on(GHOST),
];

/// The line that `text` first is on, counted from 1.
fn line_of(bundle: &Bundle, text: &str) -> Result<usize, crate::case::Failure> {
    let config = fs::read_to_string(bundle.dir.join("config.json"))?;
    Ok(config.lines().take_while(|line| !line.contains(text)).count() + 1)
}

fn types(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/args", json!("a word"))?;
    bundle.set("/process/user/uid", json!(-7))?;
    bundle.set("/linux/namespaces/-", json!({"type": "dream"}))?;
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_DREAM", "soft": 1, "hard": 1}]))?;
    bundle.mount(json!({"type": "nowhere"}))?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array().map_or(0, Vec::len);
    let dream = format!("linux.namespaces[{}].type: ", namespaces - 1);
    let output = env.run(&bundle)?.exits(1)?;
    ensure_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    for (place, text) in [
        ("process.args: ", "\"a word\""),
        ("process.user.uid: ", "-7"),
        (dream.as_str(), "\"dream\""),
        ("process.rlimits[0].type: ", "RLIMIT_DREAM"),
    ] {
        let line = line_of(&bundle, text)?;
        let start = output.stderr.find(&format!("config.json:{line}:"));
        let told = start.is_some_and(|at| output.stderr[at..].contains(place));
        ensure!(told, "{place} on line {line} is not told: {output}");
    }
    let missing = format!("mounts[{}].destination: missing", mounts(&bundle) - 1);
    ensure!(output.stderr.contains(&missing), "stderr lacks {missing:?}: {output}");
    env.nothing_left()
}

fn mounts(bundle: &Bundle) -> usize {
    bundle.config["mounts"].as_array().map_or(0, Vec::len)
}

/// One wrong value in every part of the configuration, with a word that is on its line.
fn spoil(bundle: &mut Bundle) -> Result<Vec<(String, &'static str)>, crate::case::Failure> {
    let first = mounts(bundle);
    for (pointer, value) in [
        ("/process/cwd", json!("not/absolute")),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 2, "hard": 2}]),
        ),
        (
            "/linux/sysctl",
            json!({"kernel.panic": "5", "net.core.somaxconn": "1", "vm.swappiness": "3"}),
        ),
        ("/linux/devices", json!([{"path": "dev/x", "type": "c", "major": -4, "minor": 1}])),
        ("/linux/maskedPaths", json!(["/proc/kcore", "masked"])),
        ("/linux/rootfsPropagation", json!("sideways")),
        ("/hooks", json!({"poststop": [{"path": "poststop-hook", "timeout": -3}]})),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": [""], "action": "SCMP_ACT_ERRNO"},
            {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 123456}]}),
        ),
        (
            "/linux/resources",
            json!({"hugepageLimits": [{"pageSize": "2 MB", "limit": 1}],
            "devices": [{"allow": true, "access": "rwx"}]}),
        ),
    ] {
        bundle.set(pointer, value)?;
    }
    bundle.mount(json!({"destination": "/proc/inside", "type": "tmpfs", "source": "tmpfs"}))?;
    bundle.mount(json!({"destination": "/elsewhere", "type": "bind"}))?;
    Ok([
        ("process.cwd", "not/absolute"),
        ("process.rlimits[1].type", "\"RLIMIT_CPU\""),
        ("linux.sysctl[kernel.panic]", "kernel.panic"),
        ("linux.sysctl[vm.swappiness]", "vm.swappiness"),
        ("linux.devices[0].path", "dev/x"),
        ("linux.devices[0].major", "-4"),
        ("linux.maskedPaths[1]", "\"masked\""),
        ("linux.rootfsPropagation", "sideways"),
        ("hooks.poststop[0].path", "poststop-hook"),
        ("hooks.poststop[0].timeout", "-3"),
        ("syscalls[0].names[0]", "\"\""),
        ("syscalls[1].errnoRet", "123456"),
        ("linux.resources.hugepageLimits[0].pageSize", "2 MB"),
        ("linux.resources.devices[0].access", "rwx"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text))
    .chain([
        (format!("mounts[{first}].destination"), "/proc/inside"),
        (format!("mounts[{}].source", first + 1), "/elsewhere"),
    ])
    .collect())
}

fn values(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let wrong = spoil(&mut bundle)?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    ensure_eq!(output.stderr.matches("(line ").count(), wrong.len(), "errors of {output}");
    for (path, text) in wrong {
        let told = output.stderr.split("; ").find(|one| one.contains(&path));
        let Some(told) = told else {
            return Err(crate::case::Failure(format!("{path} is not told: {output}")));
        };
        let line = line_of(&bundle, text)?;
        // What is missing, and a second one, has no text of its own.
        let near = ["rlimits[1]", "source"].iter().any(|part| path.contains(part));
        ensure!(near || told.contains(&format!("(line {line})")), "not line {line}: {told}");
    }
    env.nothing_left()
}

fn both(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/args", json!(["true", 2]))?;
    bundle.set("/process/user/uid", json!("root"))?;
    bundle.set("/process/cwd", json!("not/absolute"))?;
    bundle.set("/linux/maskedPaths", json!(["masked"]))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    ensure_eq!(output.stderr.matches("; ").count(), 3, "errors of {output}");
    for place in
        ["process.args[1]: ", "process.user.uid: ", "process.cwd: ", "linux.maskedPaths[0]: "]
    {
        ensure!(output.stderr.contains(place), "{place} is not told: {output}");
    }
    ensure!(!output.stderr.contains("must not be empty"), "{output}");
    env.nothing_left()
}

/// Every path is told by `create --systemd-cgroup` with the line of `text`, and by check as a violation.
fn told_with_systemd(env: &Env, bundle: &Bundle, wrong: &[(&str, &str)]) -> Outcome {
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let create = ["--systemd-cgroup", "create", "-b", &dir, &env.id("c")];
    let stderr = env.runtime(&create).exits(1)?.stderr;
    let check = ["--systemd-cgroup", "check", "-f", "json", "-b", &dir];
    let findings = env.runtime(&check).exits(1)?;
    let findings: Vec<Value> = serde_json::from_str(&findings.stdout)?;
    for (path, text) in wrong {
        let line = line_of(bundle, text)?;
        let told = stderr.split("; ").find(|one| one.contains(path));
        let told = told.ok_or_else(|| Failure(format!("{path} is not told: {stderr}")))?;
        ensure!(told.contains(&format!("(line {line})")), "not line {line}: {told}");
        let finding = findings.iter().find(|finding| finding["path"] == *path);
        let finding = finding.ok_or_else(|| Failure(format!("no {path}: {findings:?}")))?;
        ensure_eq!(finding["kind"], json!("violation"), "kind of {finding}");
        ensure_eq!(finding["line"], json!(line), "line of {finding}");
    }
    env.nothing_left()
}

fn scope_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("not/absolute"))?;
    bundle.set("/linux/maskedPaths", json!(["masked"]))?;
    for path in ["/plain", "a.slice:b", "no-slice:b:c", "a.slice:b:c.slice", "a.slice:b:c d"] {
        bundle.set("/linux/cgroupsPath", json!(path))?;
        let wrong = [
            ("linux.cgroupsPath", path),
            ("process.cwd", "not/absolute"),
            ("linux.maskedPaths[0]", "\"masked\""),
        ];
        told_with_systemd(env, &bundle, &wrong)?;
    }
    Ok(())
}

fn systemd(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("not/absolute"))?;
    bundle.set("/linux/cgroupsPath", json!("no slice at all"))?;
    bundle.set("/linux/resources", json!({"cpu": {"cpus": "one"}}))?;
    bundle.set(
        "/annotations",
        json!({"org.systemd.property.TimeoutStopSec": "seven",
               "org.systemd.property.CPUWeight": "much", "org.systemd.property.X": "5"}),
    )?;
    let wrong = [
        ("process.cwd", "not/absolute"),
        ("linux.cgroupsPath", "no slice"),
        ("linux.resources.cpu.cpus", "\"one\""),
        ("annotations[org.systemd.property.TimeoutStopSec]", "seven"),
        ("annotations[org.systemd.property.CPUWeight]", "much"),
        ("annotations[org.systemd.property.X]", "property.X"),
    ];
    told_with_systemd(env, &bundle, &wrong)
}

fn log(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let wrong = spoil(&mut bundle)?;
    bundle.save()?;
    let log = env.dir.join("log.json").to_string_lossy().into_owned();
    let dir = bundle.dir.to_string_lossy().into_owned();
    let words = ["--log", &log, "--log-format", "json", "create", "-b", &dir, &env.id("c")];
    env.runtime(&words).exits(1)?;
    // Engines read the file as one object.
    let line: Value = serde_json::from_str(&fs::read_to_string(&log)?)?;
    ensure_eq!(line["level"], json!("error"), "level");
    let message = line["msg"].as_str().unwrap_or_default();
    for (path, _) in wrong {
        ensure!(message.contains(&path), "{path} is not in the log: {message}");
    }
    env.nothing_left()
}

fn exec(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let file = env.dir.join("process.json");
    let path = file.to_string_lossy().into_owned();
    for (process, words) in [
        (
            json!({"cwd": 3, "args": [true], "user": {"uid": 0, "gid": 0}}),
            ["process.json:1:", "cwd: ", "args[0]: "],
        ),
        (
            json!({"cwd": "/", "args": ["a\0b", "c"], "user": {"uid": u32::MAX, "gid": 0}}),
            ["process.args[0]: ", "process.user.uid: ", "4294967295"],
        ),
    ] {
        fs::write(&file, serde_json::to_vec(&process)?)?;
        let output = env.runtime(&["exec", "--process", &path, &id]).exits(255)?;
        ensure_eq!(output.stderr.lines().count(), 1, "lines of {output}");
        for word in words {
            ensure!(output.stderr.contains(word), "stderr lacks {word:?}: {output}");
        }
    }
    Ok(())
}
