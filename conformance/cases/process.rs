//! What the container's process is: user, groups, cwd, environment, PATH look-up, limits,
//! capabilities and the rest of config.json's process object.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::call::{Output, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("process/user-and-groups", user),
    Case::new("process/user-left-out-is-root", no_user),
    Case::new("process/umask", umask),
    Case::new("process/default-umask", default_umask),
    Case::new("process/cwd", cwd),
    Case::new("process/cwd-is-made", cwd_made),
    Case::new("process/cwd-of-the-user", cwd_user),
    Case::new("process/env", env_exact),
    Case::new("process/home-from-passwd", home)
        .not_on(&[(Peer::Crun, "crun sets none for an unknown user")]),
    Case::new("process/path-lookup", path_lookup),
    Case::new("process/path-lookup-skips-what-cannot-run", path_skips)
        .not_on(&[(Peer::Crun, "crun stops at the first match")]),
    Case::new("process/relative-command", relative_command),
    Case::new("process/interpreter-script", script_file),
    Case::new("process/rlimits", rlimits),
    Case::new("process/rlimit-above-the-hard-limit", rlimit_above).needs(&[Need::SysResource]),
    Case::new("process/capability-sets", capability_sets),
    Case::new("process/effective-capabilities-allow-the-exec", effective),
    Case::new("process/capabilities-of-a-user", capabilities_user),
    Case::new("process/ambient-capabilities", ambient),
    Case::new("process/no-capabilities", no_capabilities),
    Case::new("process/no-new-privileges", no_new_privileges),
    Case::new("process/oom-score-adj", oom_score),
    Case::new("process/hostname-and-domainname", names)
        .not_on(&[(Peer::Runc, "runc sets the domain name since 1.2")]),
    Case::new("process/hostname", hostname),
    Case::new("process/sysctl", sysctl),
    Case::new("process/sysctl-of-the-host-is-refused", sysctl_host),
    Case::new("process/standard-streams", streams),
    Case::new("process/no-descriptor-leaks-in", descriptors),
    Case::new("process/preserve-fds", preserve_fds),
    Case::new("process/listen-fds", listen_fds)
        .not_on(&[(Peer::Crun, "crun does not pass LISTEN_FDS on")]),
    Case::new("process/session-keyring", keyring),
    Case::new("process/no-new-keyring", no_new_keyring),
    Case::new("process/signals-are-default", signals),
    Case::new("process/ignored-signals-of-the-caller-are-reset", ignored_signals)
        .not_on(&[(Peer::Crun, "crun passes them on")]),
    Case::new("process/session-leader", session),
];

fn user(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle
        .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [2000, 5, 5]}))?;
    let report = env.probe(&mut bundle)?;
    ensure_eq!(report["status"]["Uid"], "1000 1000 1000 1000", "uid");
    ensure_eq!(report["status"]["Gid"], "1001 1001 1001 1001", "gid");
    let mut groups: Vec<&str> =
        report["status"]["Groups"].as_str().unwrap_or_default().split(' ').collect();
    groups.dedup();
    ensure_eq!(groups, ["5", "2000"], "groups");
    let report = env.probe(&mut env.bundle()?)?;
    ensure_eq!(report["status"]["Groups"], "", "the caller's groups are dropped");
    Ok(())
}

fn no_user(env: &mut Env) -> Outcome {
    for value in [None, Some(Value::Null), Some(json!({}))] {
        let mut bundle = env.bundle()?;
        let process = bundle.config["process"].as_object_mut();
        let process = process.ok_or(Failure("config.json has no process".to_owned()))?;
        match value.clone() {
            None => drop(process.remove("user")),
            Some(value) => drop(process.insert("user".to_owned(), value)),
        }
        let report = env.probe(&mut bundle)?;
        ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid of {value:?}");
        ensure_eq!(report["status"]["Gid"], "0 0 0 0", "gid of {value:?}");
    }
    Ok(())
}

fn umask(env: &mut Env) -> Outcome {
    for value in [0o000, 0o027, 0o777] {
        let mut bundle = env.bundle()?;
        bundle.set("/process/user/umask", json!(value))?;
        let report = env.probe(&mut bundle)?;
        ensure_eq!(report["status"]["Umask"], format!("{value:04o}"), "umask");
    }
    Ok(())
}

fn default_umask(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/probe"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let call = env.runtime(&["run", "-b", &dir, &env.id("x")]);
    let output = call.under(&["sh", "-c", "umask 0077; exec \"$@\"", "sh"]).ok()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure_eq!(report["status"]["Umask"], "0022", "umask");
    Ok(())
}

fn cwd(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("/home/user"))?;
    ensure_eq!(env.probe(&mut bundle)?["cwd"], "/home/user", "cwd");
    Ok(())
}

fn cwd_made(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("/new/work/dir"))?;
    ensure_eq!(env.probe(&mut bundle)?["cwd"], "/new/work/dir", "cwd");
    let mode = fs::metadata(bundle.rootfs().join("new/work"))?.permissions().mode();
    ensure_eq!(mode & 0o7777, 0o755, "mode");
    Ok(())
}

fn cwd_user(env: &mut Env) -> Outcome {
    // A directory that only the process's user may enter.
    let mut bundle = env.bundle()?;
    let home = bundle.rootfs().join("home/user");
    std::os::unix::fs::chown(&home, Some(1000), Some(1000))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    bundle.set("/process/cwd", json!("/home/user"))?;
    ensure_eq!(env.probe(&mut bundle)?["cwd"], "/home/user", "cwd");
    Ok(())
}

fn env_exact(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/env", json!(["PATH=/bin", "A=1=2", "EMPTY=", "HOME=/h", "A_B= x "]))?;
    bundle.args(&["/bin/env"]);
    let output = env.run(&bundle)?.env("LEAK", "1").ok()?;
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    ensure_eq!(lines, ["A=1=2", "A_B= x ", "EMPTY=", "HOME=/h", "PATH=/bin"], "environment");
    Ok(())
}

fn home(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    fs::write(
        bundle.rootfs().join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )?;
    for (uid, wanted) in [(0, "/root"), (1000, "/home/user"), (4321, "/")] {
        bundle.set("/process/user", json!({"uid": uid, "gid": 0}))?;
        let report = env.probe(&mut bundle)?;
        let home = format!("HOME={wanted}");
        let found = report["env"].as_array().is_some_and(|e| e.contains(&json!(home)));
        ensure!(found, "{home} is missing for {uid}: {}", report["env"]);
    }
    Ok(())
}

fn tool(env: &Env, bundle: &crate::bundle::Bundle, path: &str, text: &str) -> Outcome {
    let file = bundle.rootfs().join(path);
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&file, format!("#!/bin/sh\necho {text}\n"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    ensure!(file.starts_with(&env.dir), "{path} is outside the rootfs");
    Ok(())
}

fn path_lookup(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    tool(env, &bundle, "one/tool", "one")?;
    tool(env, &bundle, "two/tool", "two")?;
    tool(env, &bundle, "home/user/tool", "cwd")?;
    bundle.args(&["tool"]);
    for (path, wanted) in [("/two:/one", "two"), ("/nowhere:/one:/two", "one")] {
        bundle.set("/process/env", json!([format!("PATH={path}")]))?;
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, format!("{wanted}\n"), "tool on {path}");
    }
    Ok(())
}

fn path_skips(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    tool(env, &bundle, "one/tool", "one")?;
    fs::create_dir_all(bundle.rootfs().join("dir/tool"))?;
    tool(env, &bundle, "plain/tool", "plain")?;
    fs::set_permissions(bundle.rootfs().join("plain/tool"), fs::Permissions::from_mode(0o644))?;
    bundle.args(&["tool"]).set("/process/env", json!(["PATH=/dir:/plain:/one"]))?;
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "one\n", "tool");
    Ok(())
}

fn relative_command(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    tool(env, &bundle, "home/user/sub/tool", "relative")?;
    bundle.set("/process/cwd", json!("/home/user"))?;
    bundle.args(&["./sub/tool"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "relative\n", "./sub/tool");
    bundle.args(&["sub/tool"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "relative\n", "sub/tool");
    Ok(())
}

fn script_file(env: &mut Env) -> Outcome {
    // The interpreter opens the script again by its path, which must be one inside the container.
    let mut bundle = env.bundle()?;
    let file = bundle.rootfs().join("bin/script");
    fs::write(&file, "#!/bin/sh\necho \"$0\" \"$1\"\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    bundle.args(&["script", "argument"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "/bin/script argument\n", "stdout");
    Ok(())
}

fn rlimits(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60},
            {"type": "RLIMIT_FSIZE", "soft": 1_048_576, "hard": 18_446_744_073_709_551_615_u64},
        ]),
    )?;
    let report = env.probe(&mut bundle)?;
    for (name, wanted) in [
        ("Max open files", ["100", "200"]),
        ("Max core file size", ["0", "0"]),
        ("Max processes", ["50", "60"]),
        ("Max file size", ["1048576", "unlimited"]),
    ] {
        ensure_eq!(report["limits"][name], json!(wanted), "{name}");
    }
    Ok(())
}

fn rlimit_above(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 300}]))?;
    bundle.args(&["/bin/probe"]);
    let output = env.run(&bundle)?.under(&["prlimit", "--nofile=200:200"]).ok()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure_eq!(report["limits"]["Max open files"], json!(["300", "300"]), "limit");
    Ok(())
}

pub(super) fn bits(numbers: &[u32]) -> String {
    format!("{:016x}", numbers.iter().fold(0_u64, |set, n| set | (1 << n)))
}

pub(super) const CHOWN: u32 = 0;
pub(super) const KILL: u32 = 5;
pub(super) const NET_RAW: u32 = 13;

pub(super) fn sets(report: &Value) -> Vec<String> {
    ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"]
        .iter()
        .map(|key| report["status"][key].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn capability_sets(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "inheritable": ["CAP_KILL"],
            "ambient": [],
        }),
    )?;
    let all = bits(&[CHOWN, KILL, NET_RAW]);
    let wanted = [all.clone(), all.clone(), all, bits(&[KILL]), bits(&[])];
    ensure_eq!(
        sets(&env.probe(&mut bundle)?),
        wanted,
        "bounding, permitted, effective, inheritable, ambient"
    );
    Ok(())
}

/// The exec makes root's anew, but is allowed by those that are effective then.
fn effective(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["/bin/probe"]);
    let program = bundle.rootfs().join("bin/probe");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::chown(&program, Some(1000), Some(1000))?;
    bundle.set("/process/capabilities", json!({}))?;
    bundle.capabilities(&["bounding", "permitted", "effective"], &["CAP_DAC_OVERRIDE"]);
    env.run(&bundle)?.ok()?;
    bundle.capabilities(&["effective"], &[]);
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.to_lowercase().contains("permission denied"), "{output}");
    env.nothing_left()
}

fn capabilities_user(env: &mut Env) -> Outcome {
    // A user other than root keeps nothing across exec but the ambient set.
    let mut bundle = env.bundle()?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN", "CAP_KILL"], "inheritable": [], "ambient": [],
        }),
    )?;
    let wanted = [bits(&[CHOWN, KILL]), bits(&[]), bits(&[]), bits(&[]), bits(&[])];
    ensure_eq!(
        sets(&env.probe(&mut bundle)?),
        wanted,
        "bounding, permitted, effective, inheritable, ambient"
    );
    Ok(())
}

fn ambient(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    let one = json!(["CAP_NET_RAW"]);
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_NET_RAW"], "permitted": one, "effective": one,
            "inheritable": one, "ambient": one,
        }),
    )?;
    let raw = bits(&[NET_RAW]);
    let wanted = [bits(&[CHOWN, NET_RAW]), raw.clone(), raw.clone(), raw.clone(), raw];
    ensure_eq!(
        sets(&env.probe(&mut bundle)?),
        wanted,
        "bounding, permitted, effective, inheritable, ambient"
    );
    Ok(())
}

fn no_capabilities(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/capabilities", json!({}))?;
    let none = bits(&[]);
    ensure_eq!(sets(&env.probe(&mut bundle)?), vec![none; 5], "sets");
    Ok(())
}

fn no_new_privileges(env: &mut Env) -> Outcome {
    for (value, wanted) in [(true, "1"), (false, "0")] {
        let mut bundle = env.bundle()?;
        bundle.set("/process/noNewPrivileges", json!(value))?;
        ensure_eq!(env.probe(&mut bundle)?["status"]["NoNewPrivs"], wanted, "NoNewPrivs");
    }
    Ok(())
}

fn oom_score(env: &mut Env) -> Outcome {
    for value in [0, 500, 1000] {
        let mut bundle = env.bundle()?;
        bundle.set("/process/oomScoreAdj", json!(value))?;
        ensure_eq!(env.probe(&mut bundle)?["oom_score_adj"], value.to_string(), "oom_score_adj");
    }
    Ok(())
}

fn hostname(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/hostname", json!("box.example"))?;
    ensure_eq!(env.probe(&mut bundle)?["hostname"], "box.example", "host name");
    Ok(())
}

fn names(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/hostname", json!("box"))?.set("/domainname", json!("example.org"))?;
    let report = env.probe(&mut bundle)?;
    ensure_eq!(report["hostname"], "box", "host name");
    ensure_eq!(report["domainname"], "example.org", "domain name");
    Ok(())
}

fn sysctl(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "fs.mqueue.queues_max": "111"}),
    )?;
    bundle.args(&[
        "cat",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/kernel/shm_rmid_forced",
        "/proc/sys/fs/mqueue/queues_max",
    ]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1\n1\n111\n", "values");
    Ok(())
}

fn sysctl_host(env: &mut Env) -> Outcome {
    for (key, drop) in
        [("vm.swappiness", None), ("net.ipv4.ip_forward", Some("network")), ("kernel.panic", None)]
    {
        let mut bundle = env.bundle()?;
        bundle.set("/linux/sysctl", json!({key: "1"}))?.args(&["true"]);
        if let Some(kind) = drop {
            bundle.drop_namespace(kind)?;
        }
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains(key), "stderr lacks {key}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn streams(env: &mut Env) -> Outcome {
    let file = env.dir.join("input");
    fs::write(&file, "from stdin\n")?;
    let mut bundle = env.bundle()?;
    bundle.shell("cat; echo to stderr >&2");
    let output = env.run(&bundle)?.stdin(fs::File::open(&file)?).ok()?;
    ensure_eq!(output.stdout, "from stdin\n", "stdout");
    ensure_eq!(output.stderr, "to stderr\n", "stderr");
    Ok(())
}

fn fd_names(report: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        report["fds"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    names.sort();
    names
}

fn descriptors(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["/bin/probe"]);
    // The caller has more open, on purpose.
    let call = env.run(&bundle)?.under(&["sh", "-c", "exec 5</dev/null 9</; exec \"$@\"", "sh"]);
    let report: Value = serde_json::from_str(&call.ok()?.stdout)?;
    ensure_eq!(fd_names(&report), ["0", "1", "2"], "descriptors: {}", report["fds"]);
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let call = env.exec(&id, &[], &["/bin/probe"]);
    let call = call.under(&["sh", "-c", "exec 5</dev/null 9</; exec \"$@\"", "sh"]);
    let report: Value = serde_json::from_str(&call.ok()?.stdout)?;
    ensure_eq!(fd_names(&report), ["0", "1", "2"], "descriptors of exec: {}", report["fds"]);
    Ok(())
}

fn preserve_fds(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/probe"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let open = "exec 3</dev/zero 4</dev/full 5</dev/null; exec \"$@\"";
    let call = env.runtime(&["run", "--preserve-fds", "2", "-b", &dir, &env.id("x")]);
    let output = call.under(&["sh", "-c", open, "sh"]).ok()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure_eq!(fd_names(&report), ["0", "1", "2", "3", "4"], "descriptors");
    ensure_eq!(report["fds"]["3"], "/dev/zero", "descriptor 3");
    ensure_eq!(report["fds"]["4"], "/dev/full", "descriptor 4");
    Ok(())
}

fn listen_fds(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/probe"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let open = "exec 3</dev/zero 4</dev/null; LISTEN_PID=$$ exec \"$@\"";
    for verb in ["run", "create"] {
        let id = env.id(verb);
        let call = env.runtime(&[verb, "-b", &dir, &id]);
        let call = call.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "zero");
        let running = call.under(&["sh", "-c", open, "sh"]).spawn()?;
        if verb == "create" {
            env.adopt(&id);
            // `create` ends before the process begins, which has its stdout.
            wait_until(env.shared.limit, "the container", || {
                let state = env.verb("state", &id).output()?;
                Ok(state.stdout.contains("\"created\"").then_some(()))
            })?;
            env.verb("start", &id).ok()?;
            running.wait_for_stdout("}\n")?;
        }
        let output = running.wait()?;
        output.expect_code(0)?;
        let report = output.json()?;
        ensure_eq!(fd_names(&report), ["0", "1", "2", "3"], "descriptors of {verb}");
        ensure_eq!(report["fds"]["3"], "/dev/zero", "descriptor 3 of {verb}");
        let has = |word: &str| report["env"].as_array().is_some_and(|e| e.contains(&json!(word)));
        ensure!(has("LISTEN_FDS=1") && has("LISTEN_PID=1"), "{verb}: {}", report["env"]);
        // runc keeps the names from the container.
        ensure_eq!(has("LISTEN_FDNAMES=zero"), !env.is(Peer::Runc), "{verb}: {}", report["env"]);
    }
    Ok(())
}

/// The keyrings that the process can see.
fn keyrings(report: &Value) -> Result<Vec<String>, Failure> {
    let keys = report["keys"].as_array().ok_or_else(|| Failure("no /proc/keys".to_owned()))?;
    Ok(keys
        .iter()
        .filter_map(Value::as_str)
        .filter(|line| line.contains(" keyring "))
        .map(str::to_owned)
        .collect())
}

fn keyring(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/maskedPaths", json!([]))?;
    let report = env.probe(&mut bundle)?;
    let wanted = format!("{}{}", if env.is(Peer::Crun) { "" } else { "_ses." }, env.id("run"));
    ensure!(
        keyrings(&report)?.iter().any(|line| line.contains(&wanted)),
        "no keyring {wanted}: {}",
        report["keys"]
    );
    Ok(())
}

fn no_new_keyring(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/maskedPaths", json!([]))?.args(&["/bin/probe"]);
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("nokey");
    let output = env.runtime(&["run", "--no-new-keyring", "-b", &dir, &id]).ok()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(
        !keyrings(&report)?.iter().any(|line| line.contains(&id)),
        "a keyring was made: {}",
        report["keys"]
    );
    Ok(())
}

fn signals(env: &mut Env) -> Outcome {
    let report = env.probe(&mut env.bundle()?)?;
    let none = "0000000000000000";
    ensure_eq!(report["status"]["SigBlk"], none, "blocked signals");
    // The Rust start-up of the probe itself ignores SIGPIPE, and 32 up are the C library's.
    let ignored = u64::from_str_radix(report["status"]["SigIgn"].as_str().unwrap_or("x"), 16)?;
    let shown = ignored & 0x7fff_ffff & !(1 << 12);
    ensure_eq!(shown, 0, "ignored signals");
    Ok(())
}

fn ignored_signals(env: &mut Env) -> Outcome {
    // nohup and shells' background jobs ignore some; a container's process must not.
    let caller = ["env", "--ignore-signal=HUP,INT,QUIT,USR1"];
    let ignored = |output: &Output| -> Result<u64, Failure> {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
        // 32 and up are the C library's.
        Ok(u64::from_str_radix(line.unwrap_or_default(), 16)? & 0x7fff_ffff)
    };
    let bundle = env.bundle_with(&["cat", "/proc/self/status"])?;
    ensure_eq!(ignored(&env.run(&bundle)?.under(&caller).ok()?)?, 0, "ignored under run");
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let call = env.exec(&id, &[], &["cat", "/proc/self/status"]).under(&caller);
    ensure_eq!(ignored(&call.ok()?)?, 0, "ignored under exec");
    Ok(())
}

fn session(env: &mut Env) -> Outcome {
    let report = env.probe(&mut env.bundle()?)?;
    ensure_eq!((&report["sid"], &report["pgid"]), (&json!(1), &json!(1)), "session and group");
    Ok(())
}
