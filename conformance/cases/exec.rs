//! exec: a further process in a running container.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::wait_until;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun words its errors in its own way")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("exec/exit-code", code),
    Case::new("exec/signalled-process-exits-128-and-signal", signalled),
    Case::new("exec/streams", streams),
    Case::new("exec/joins-every-namespace-and-cgroup", joins),
    Case::new("exec/takes-what-config-says", from_config)
        .not_on(&[(Peer::Crun, "crun starts at /")]),
    Case::new("exec/flags", flags).not_on(&[(Peer::Crun, "crun has no --additional-gids")]),
    Case::new("exec/user-by-number-only", user_flag),
    Case::new("exec/process-file", process_file),
    Case::new("exec/process-file-without-user", process_file_no_user),
    Case::new("exec/process-file-broken", process_file_broken)
        .not_on(&[(Peer::Crun, "crun exits 1"), (Peer::Runc, "ghost only: line and column")]),
    Case::new("exec/process-file-bad-values", process_file_values).not_on(&[
        (Peer::Crun, "ghost only: crun takes these values or does not name the field"),
        (Peer::Runc, "ghost only: runc takes these values or does not name the field"),
    ]),
    Case::new("exec/detach-and-pid-file", detach),
    Case::new("exec/command-missing", missing).not_on(CRUN),
    Case::new("exec/cwd", cwd),
    Case::new("exec/capabilities-flag", cap_flag).not_on(&[(Peer::Crun, "crun replaces the sets")]),
    Case::new("exec/no-new-privileges-flag", no_new_privs),
    Case::new("exec/forwards-signals", forwards)
        .not_on(&[(Peer::Crun, "crun leaves signals to the terminal")]),
    Case::new("exec/in-a-user-namespace", user_namespace),
    Case::new("exec/in-a-created-container", created),
    Case::new("exec/preserve-fds", preserve_fds),
    Case::new("exec/listen-fds", listen_fds).not_on(&[
        (Peer::Runc, "runc passes LISTEN_FDS to init alone"),
        (Peer::Crun, "crun does not pass LISTEN_FDS on"),
    ]),
    Case::new("exec/in-a-joined-pid-namespace", joined_pid),
    Case::new("exec/leaves-the-container-running", leaves_running),
    Case::new("exec/session-and-descriptors", session)
        .not_on(&[(Peer::Crun, "crun makes a session for a terminal only")]),
];

fn sleeper(env: &Env) -> Result<String, Failure> {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    env.detach(&bundle, "d", &[])
}

fn code(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    for code in [0, 1, 42, 255] {
        env.exec(&id, &[], &["sh", "-c", &format!("exit {code}")]).exits(code)?;
    }
    Ok(())
}

fn signalled(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    env.exec(&id, &[], &["sh", "-c", "kill -KILL $$; sleep 5"]).exits(137)?;
    env.exec(&id, &[], &["sh", "-c", "kill -TERM $$; sleep 5"]).exits(143)?;
    Ok(())
}

fn streams(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let input = env.dir.join("input");
    fs::write(&input, "from stdin\n")?;
    let call = env.exec(&id, &[], &["sh", "-c", "cat; echo err >&2"]);
    let output = call.stdin(fs::File::open(&input)?).ok()?;
    ensure_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("from stdin\n", "err\n"),
        "streams"
    );
    Ok(())
}

fn joins(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("cgroup", None)?.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let pid = env.pid(&id)?;
    let report = env.exec_probe(&id, &[])?;
    for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"] {
        let wanted =
            fs::read_link(format!("/proc/{pid}/ns/{name}"))?.to_string_lossy().into_owned();
        ensure_eq!(report["namespaces"][name], wanted, "{name} namespace");
    }
    let own = env.exec(&id, &[], &["cat", "/proc/1/cgroup", "/proc/self/cgroup"]).ok()?;
    let lines: Vec<&str> = own.stdout.lines().collect();
    let (init, exec) = lines.split_at(lines.len() / 2);
    ensure_eq!(exec, init, "cgroups of exec and of process 1");
    ensure!(!own.stdout.contains(&env.mark), "host paths inside: {own}");
    Ok(())
}

fn rich(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    bundle.set("/process/env", json!(["PATH=/bin", "FROM=config"]))?;
    bundle.set("/process/cwd", json!("/home/user"))?;
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o27}),
    )?;
    bundle.set("/process/oomScoreAdj", json!(300))?;
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NPROC", "soft": 90, "hard": 91}]))?;
    Ok(bundle)
}

fn has_env(report: &Value, word: &str) -> bool {
    report["env"].as_array().is_some_and(|list| list.contains(&json!(word)))
}

fn from_config(env: &mut Env) -> Outcome {
    let id = env.detach(&rich(env)?, "d", &[])?;
    let report = env.exec_probe(&id, &[])?;
    ensure!(has_env(&report, "FROM=config"), "environment {}", report["env"]);
    ensure_eq!(report["cwd"], "/home/user", "cwd");
    ensure_eq!(report["status"]["Uid"], "1000 1000 1000 1000", "uid");
    ensure_eq!(report["status"]["Gid"], "1001 1001 1001 1001", "gid");
    ensure_eq!(report["status"]["Groups"], "7", "groups");
    ensure_eq!(report["status"]["NoNewPrivs"], "1", "NoNewPrivs");
    ensure_eq!(report["limits"]["Max processes"], json!(["90", "91"]), "processes");
    ensure_eq!(report["oom_score_adj"], "300", "oom_score_adj");
    ensure_eq!(report["status"]["CapBnd"], "0000000020000420", "bounding set");
    Ok(())
}

fn flags(env: &mut Env) -> Outcome {
    let id = env.detach(&rich(env)?, "d", &[])?;
    let report = env.exec_probe(
        &id,
        &["-e", "A=1", "-e", "B=2", "--cwd", "/tmp", "--user", "5:6", "--additional-gids=8"],
    )?;
    for word in ["FROM=config", "A=1", "B=2"] {
        ensure!(has_env(&report, word), "{word} is missing: {}", report["env"]);
    }
    ensure_eq!(report["cwd"], "/tmp", "cwd");
    ensure_eq!(report["status"]["Uid"], "5 5 5 5", "uid");
    ensure_eq!(report["status"]["Gid"], "6 6 6 6", "gid");
    let groups = report["status"]["Groups"].as_str().unwrap_or_default();
    ensure!(groups.split(' ').any(|group| group == "8"), "groups {groups}");
    Ok(())
}

fn user_flag(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let report = env.exec_probe(&id, &["--user", "77"])?;
    ensure_eq!(report["status"]["Uid"], "77 77 77 77", "uid");
    ensure_eq!(report["status"]["Gid"], "0 0 0 0", "gid");
    if !env.is(Peer::Crun) {
        let output = env.exec(&id, &["--user", "somebody"], &["true"]).output()?;
        ensure!(output.code() != 0, "a user by name is taken: {output}");
    }
    Ok(())
}

fn process_file(env: &mut Env) -> Outcome {
    let id = env.detach(&rich(env)?, "d", &[])?;
    let file = env.dir.join("process.json");
    fs::write(
        &file,
        serde_json::to_vec(&json!({
            "args": ["/bin/probe"], "cwd": "/etc", "env": ["PATH=/bin", "ONLY=this"],
            "user": {"uid": 3, "gid": 4, "additionalGids": [9]},
            "capabilities": {
                "bounding": ["CAP_CHOWN"], "permitted": [], "effective": [], "inheritable": [],
            },
            "noNewPrivileges": false,
            "rlimits": [{"type": "RLIMIT_NPROC", "soft": 70, "hard": 71}],
            "oomScoreAdj": 400,
        }))?,
    )?;
    let name = file.to_string_lossy().into_owned();
    for flag in ["--process", "-p"] {
        let output = env.runtime(&["exec", flag, &name, &id]).ok()?;
        let report: Value = serde_json::from_str(&output.stdout)?;
        ensure!(has_env(&report, "ONLY=this") && !has_env(&report, "FROM=config"), "environment");
        ensure_eq!(report["cwd"], "/etc", "cwd");
        ensure_eq!(report["status"]["Uid"], "3 3 3 3", "uid");
        ensure_eq!(report["status"]["Groups"], "9", "groups");
        ensure_eq!(report["status"]["CapBnd"], "0000000000000001", "bounding set");
        ensure_eq!(report["status"]["NoNewPrivs"], "0", "NoNewPrivs");
        ensure_eq!(report["limits"]["Max processes"], json!(["70", "71"]), "processes");
    }
    Ok(())
}

fn process_file_no_user(env: &mut Env) -> Outcome {
    let id = env.detach(&rich(env)?, "d", &[])?;
    let file = env.dir.join("process.json");
    fs::write(&file, r#"{"args": ["/bin/probe"], "cwd": "/"}"#)?;
    let output = env.runtime(&["exec", "--process", &file.to_string_lossy(), &id]).ok()?;
    let report = output.json()?;
    ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid");
    ensure_eq!(report["status"]["Gid"], "0 0 0 0", "gid");
    Ok(())
}

fn process_file_values(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let file = env.dir.join("process.json");
    let name = file.to_string_lossy().into_owned();
    for (key, value, words) in [
        ("user", json!({"uid": 0, "gid": 0, "umask": 4096}), ["process.user.umask", "4096"]),
        ("user", json!({"uid": u32::MAX, "gid": 0}), ["process.user.uid", "4294967295"]),
        ("ioPriority", json!({"priority": 1}), ["process.ioPriority.class", "missing"]),
        ("oomScoreAdj", json!(1001), ["process.oomScoreAdj", "1001"]),
    ] {
        let mut process = json!({"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
        process[key] = value;
        fs::write(&file, process.to_string())?;
        let output = env.runtime(&["exec", "--process", &name, &id]).exits(255)?;
        ensure!(words.iter().all(|word| output.stderr.contains(word)), "{words:?}: {output}");
    }
    Ok(())
}

fn process_file_broken(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let file = env.dir.join("process.json");
    fs::write(&file, "{\n \"args\": }")?;
    let name = file.to_string_lossy().into_owned();
    let output = env.runtime(&["exec", "--process", &name, &id]).exits(255)?;
    ensure!(output.stderr.contains("process.json:2:10"), "{output}");
    let output = env.runtime(&["exec", "--process", "/no/such/file", &id]).exits(255)?;
    ensure!(output.stderr.contains("/no/such/file"), "{output}");
    Ok(())
}

fn detach(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let file = env.dir.join("exec.pid");
    let name = file.to_string_lossy().into_owned();
    env.exec(&id, &["--detach", "--pid-file", &name], &["sleep", "2000"]).ok()?;
    let pid = fs::read_to_string(&file)?;
    ensure!(pid.bytes().all(|b| b.is_ascii_digit()), "pid file {pid:?}");
    wait_until(env.shared.limit, "the command to run", || {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        Ok((line == "sleep\u{0}2000\u{0}").then_some(()))
    })?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.lines().any(|l| l == "PPid:\t1"), "the reaper is not its parent: {status}");
    let output = env.runtime(&["ps", "--format", "json", &id]).ok()?;
    ensure!(output.stdout.contains(&pid), "ps lacks {pid}: {output}");
    Ok(())
}

fn missing(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    for (command, text) in [
        ("nosuch", r#"exec: \"nosuch\": executable file not found in $PATH"#),
        ("/no/such", r#"exec: \"/no/such\": stat /no/such: no such file or directory"#),
        ("/bin/sh/x", r#"exec: \"/bin/sh/x\": stat /bin/sh/x: not a directory"#),
        ("/etc/passwd", r#"exec: \"/etc/passwd\": permission denied"#),
    ] {
        let output = env.exec(&id, &[], &[command]).exits(255)?;
        ensure!(output.stderr.contains(text), "stderr lacks {text:?}: {output}");
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
    }
    ensure_eq!(env.status(&id)?, "running", "status");
    let pids = env.runtime(&["ps", "--format", "json", &id]).ok()?.stdout;
    ensure_eq!(serde_json::from_str::<Vec<i32>>(&pids)?.len(), 1, "processes left: {pids}");
    Ok(())
}

fn cwd(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let output = env.exec(&id, &["--cwd", "/home/user"], &["pwd"]).ok()?;
    ensure_eq!(output.stdout, "/home/user\n", "pwd");
    Ok(())
}

fn cap_flag(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let report = env.exec_probe(&id, &["--cap", "CAP_SYS_ADMIN", "--cap", "CAP_NET_RAW"])?;
    // CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE of the default bundle, and these two.
    ensure_eq!(report["status"]["CapBnd"], "0000000020202420", "bounding set");
    ensure_eq!(report["status"]["CapEff"], "0000000020202420", "effective set");
    Ok(())
}

fn no_new_privs(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/noNewPrivileges", json!(false))?.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    ensure_eq!(env.exec_probe(&id, &[])?["status"]["NoNewPrivs"], "0", "without the flag");
    let report = env.exec_probe(&id, &["--no-new-privs"])?;
    ensure_eq!(report["status"]["NoNewPrivs"], "1", "with the flag");
    Ok(())
}

fn forwards(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let script = "trap 'echo caught; exit 43' USR1; echo ready; while true; do sleep 0.02; done";
    let running = env.exec(&id, &[], &["sh", "-c", script]).spawn()?;
    running.wait_for_stdout("ready")?;
    env.command(&["kill", "-USR1", &running.pid().to_string()]).ok()?;
    let output = running.wait()?;
    output.expect_code(43)?;
    ensure!(output.stdout.contains("caught"), "{output}");
    Ok(())
}

fn user_namespace(env: &mut Env) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = env.bundle()?;
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.namespace("user", None)?;
    bundle.set("/linux/uidMappings", mapping.clone())?.set("/linux/gidMappings", mapping)?;
    fs::set_permissions(&bundle.dir, fs::Permissions::from_mode(0o755))?;
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let report = env.exec_probe(&id, &["--user", "5:6"])?;
    ensure_eq!(report["uid_map"], json!(["0 100000 65536"]), "uid_map");
    ensure_eq!(report["status"]["Uid"], "5 5 5 5", "uid");
    Ok(())
}

fn created(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.create(&bundle, "c", &[])?;
    let output = env.exec(&id, &[], &["echo", "in"]).ok()?;
    ensure_eq!(output.stdout, "in\n", "stdout");
    ensure_eq!(env.status(&id)?, "created", "status");
    Ok(())
}

fn preserve_fds(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let call = env.exec(&id, &["--preserve-fds", "1"], &["/bin/probe"]);
    let call = call.under(&["sh", "-c", "exec 3</dev/zero 4</dev/null; exec \"$@\"", "sh"]);
    let report: Value = serde_json::from_str(&call.ok()?.stdout)?;
    ensure_eq!(report["fds"]["3"], "/dev/zero", "descriptor 3");
    ensure!(report["fds"].get("4").is_none(), "descriptor 4 came too: {}", report["fds"]);
    Ok(())
}

fn listen_fds(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let call = |listener: &str| {
        let call = env.exec(&id, &[], &["/bin/probe"]);
        let call = call.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "zero");
        let open = format!("exec 3</dev/zero 4</dev/null; LISTEN_PID={listener} exec \"$@\"");
        let output = call.under(&["sh", "-c", &open, "sh"]).ok()?;
        Ok::<Value, Failure>(serde_json::from_str(&output.stdout)?)
    };
    let report = call("$$")?;
    for word in ["LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=zero"] {
        ensure!(has_env(&report, word), "{word} is missing: {}", report["env"]);
    }
    ensure_eq!(report["fds"]["3"], "/dev/zero", "descriptor 3");
    ensure!(report["fds"].get("4").is_none(), "descriptor 4 came too: {}", report["fds"]);
    // Meant for another process, as sd_listen_fds(3) has it.
    let report = call("1")?;
    ensure!(!has_env(&report, "LISTEN_FDS=1"), "environment {}", report["env"]);
    ensure!(report["fds"].get("3").is_none(), "descriptors {}", report["fds"]);
    Ok(())
}

fn joined_pid(env: &mut Env) -> Outcome {
    let first = sleeper(env)?;
    let path = format!("/proc/{}/ns/pid", env.pid(&first)?);
    let mut bundle = env.bundle()?;
    bundle.namespace("pid", Some(&path))?.args(&["sleep", "1001"]);
    let id = env.detach(&bundle, "second", &[])?;
    let report = env.exec_probe(&id, &[])?;
    let wanted = fs::read_link(&path)?.to_string_lossy().into_owned();
    ensure_eq!(report["namespaces"]["pid"], wanted, "pid namespace");
    env.exec(&id, &[], &["sh", "-c", "exit 6"]).exits(6)?;
    env.runtime(&["delete", "-f", &id]).ok()?;
    Ok(())
}

fn leaves_running(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let pid = env.pid(&id)?;
    for _ in 0..5 {
        env.exec(&id, &[], &["true"]).ok()?;
    }
    ensure_eq!(env.pid(&id)?, pid, "pid");
    ensure_eq!(env.status(&id)?, "running", "status");
    let pids = env.runtime(&["ps", "--format", "json", &id]).ok()?.stdout;
    ensure_eq!(serde_json::from_str::<Vec<i32>>(&pids)?, [pid], "processes");
    Ok(())
}

fn session(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let report = env.exec_probe(&id, &[])?;
    ensure_eq!(report["pid"].as_i64(), report["sid"].as_i64(), "session of exec");
    let names: Vec<&String> =
        report["fds"].as_object().map(|m| m.keys().collect()).unwrap_or_default();
    ensure_eq!(names, ["0", "1", "2"], "descriptors: {}", report["fds"]);
    Ok(())
}
