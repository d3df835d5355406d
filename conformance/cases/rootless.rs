//! The runtime called by a user without privileges: one id or many, no cgroup, no device nodes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::{Call, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::console::{ConsoleSocket, Terminal};
use crate::env::Env;
use crate::host::find_command;
use crate::user::{SUBORDINATE, SUBORDINATES, UID, map_subordinates};
use crate::{ensure, ensure_eq};

/// What many ids need.
pub const TOOLS: &[Need] = &[Need::Command("newuidmap"), Need::Command("newgidmap")];
/// The cases are not crun's.
pub const CRUN: (Peer, &str) = (Peer::Crun, "checked against runc alone");
/// Every case that holds for runc.
pub const RUNC_ALONE: &[(Peer, &str)] = &[CRUN];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("rootless/spec-runs-as-it-is", spec).not_on(RUNC_ALONE),
    Case::new("rootless/without-a-runtime-directory", no_runtime_dir)
        .not_on(&[(Peer::Runc, "runc says that /run/runc is forbidden"), CRUN]),
    Case::new("rootless/life-of-a-container", life).not_on(RUNC_ALONE),
    Case::new("rootless/list-state-and-owner", list).not_on(RUNC_ALONE),
    Case::new("rootless/one-id", one_id).not_on(RUNC_ALONE),
    Case::new("rootless/many-ids", many_ids).needs(TOOLS).not_on(RUNC_ALONE),
    Case::new("rootless/additional-groups-of-many-ids", many_groups)
        .needs(TOOLS)
        .not_on(&[(Peer::Runc, "runc refuses groups to every unprivileged caller"), CRUN]),
    Case::new("rootless/mapping-tools-without-a-path", tools_without_path)
        .needs(TOOLS)
        .not_on(&[(Peer::Runc, "runc looks in PATH alone"), CRUN]),
    Case::new("rootless/ids-that-are-not-granted", not_granted)
        .needs(TOOLS)
        .not_on(&[(Peer::Runc, "runc writes the tool's message to its debug log"), CRUN]),
    Case::new("rootless/no-mapping-tools", no_tools)
        .not_on(&[(Peer::Runc, "runc does not name the mapping"), CRUN]),
    Case::new("rootless/additional-groups-of-one-id", one_group).not_on(RUNC_ALONE),
    Case::new("rootless/users-that-are-not-mapped", unmapped)
        .not_on(&[(Peer::Runc, "runc does not name the field"), CRUN]),
    Case::new("rootless/without-a-user-namespace", no_user_namespace).not_on(RUNC_ALONE),
    Case::new("rootless/devices", devices).not_on(RUNC_ALONE),
    Case::new("rootless/device-that-is-another-on-the-host", other_device)
        .not_on(&[(Peer::Runc, "runc takes the host's node, whatever it is"), CRUN]),
    Case::new("rootless/kernel-file-systems", kernel_file_systems).not_on(RUNC_ALONE),
    Case::new("rootless/a-network-of-its-own", own_network).not_on(RUNC_ALONE),
    Case::new("rootless/sysfs-of-the-hosts-network", host_sysfs)
        .not_on(&[(Peer::Runc, "runc 1.1 has no fall-back"), CRUN]),
    Case::new("rootless/proc-of-the-hosts-pid-namespace", host_proc)
        .not_on(&[(Peer::Runc, "runc 1.1 has no fall-back"), CRUN]),
    Case::new("rootless/masked-and-read-only-paths", masks).not_on(RUNC_ALONE),
    Case::new("rootless/oom-score", oom_score).not_on(RUNC_ALONE),
    Case::new("rootless/rlimit-above-the-hard-limit", rlimit).not_on(RUNC_ALONE),
    Case::new("rootless/exec", exec).needs(TOOLS).not_on(RUNC_ALONE),
    Case::new("rootless/kill-all-without-a-cgroup", kill_all)
        .not_on(&[(Peer::Runc, "runc needs a cgroup for it"), CRUN]),
    Case::new("rootless/exec-before-the-start", exec_created).not_on(RUNC_ALONE),
    Case::new("rootless/terminals", terminals).not_on(RUNC_ALONE),
    Case::new("rootless/joined-namespaces", joined).not_on(RUNC_ALONE),
    Case::new("rootless/time", time)
        .needs(&[Need::TimeNamespace])
        .not_on(&[(Peer::Runc, "runc has time namespaces since 1.2"), CRUN]),
    Case::new("rootless/hooks-and-seccomp", hooks_and_seccomp).not_on(RUNC_ALONE),
    Case::new("rootless/cve-2019-5736-entrypoint-is-a-binary-of-the-users", own_binary_entrypoint)
        .not_on(RUNC_ALONE),
    Case::new("rootless/cve-2019-5736-overwrite-a-binary-of-the-users", own_binary_exec)
        .not_on(RUNC_ALONE),
    Case::new("rootless/root-of-a-user-namespace", userns_root).needs(TOOLS).not_on(RUNC_ALONE),
    Case::new("rootless/nested-user-namespace", nested).needs(TOOLS).not_on(RUNC_ALONE),
];

/// `run` of the bundle fails with all of these words, and leaves nothing.
pub fn refused(env: &Env, bundle: &Bundle, words: &[&str]) -> Outcome {
    let output = env.run(bundle)?.exits(1)?;
    for word in words {
        ensure!(output.stderr.to_lowercase().contains(word), "{word:?} is missing: {output}");
    }
    env.nothing_left()
}

fn status<'a>(report: &'a Value, field: &str) -> &'a str {
    report["status"][field].as_str().unwrap_or_default()
}

fn spec(env: &mut Env) -> Outcome {
    let user = env.become_user()?.clone();
    let bundle = env.bundle()?;
    bundle.save()?;
    fs::remove_file(bundle.dir.join("config.json"))?;
    env.bare_runtime(&["spec", "--rootless"]).cwd(&bundle.dir).ok()?;
    // Only what a test without a terminal can't have as it is.
    let file = bundle.dir.join("config.json");
    let text = fs::read_to_string(&file)?;
    fs::write(
        &file,
        text.replace("\"terminal\": true", "\"terminal\": false").replace(
            "\t\t\t\"sh\"\n",
            "\t\t\t\"sh\", \"-c\", \"id -u; cat /proc/self/uid_map; echo x > /dev/null\"\n",
        ),
    )?;
    let id = env.id("s");
    let output = env.bare_runtime(&["run", &id]).cwd(&bundle.dir).ok()?;
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    ensure_eq!(words, ["0", "0", &UID.to_string(), "1"], "output");
    // Its state was kept in a directory that nobody tidies up.
    let name = if env.is(Peer::Ghost) { "ghost-runc" } else { "runc" };
    let root = fs::metadata(user.runtime_dir.join(name))?;
    ensure_eq!((root.permissions().mode() & 0o7777, root.uid()), (0o1700, UID), "state root");
    Ok(())
}

fn no_runtime_dir(env: &mut Env) -> Outcome {
    env.become_user()?;
    let bundle = env.bundle_with(&["/bin/true"])?;
    let run = |words: &[&str]| env.bare_runtime(words).env("XDG_RUNTIME_DIR", "").cwd(&bundle.dir);
    for words in [&["run", "x"][..], &["list"], &["state", "x"]] {
        let output = run(words).exits(1)?;
        ensure!(output.stderr.contains("XDG_RUNTIME_DIR is not set"), "{output}");
    }
    // What needs no state does not need the directory.
    run(&["features"]).ok()?;
    run(&["--version"]).ok()?;
    Ok(())
}

fn life(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.shell("trap 'exit 3' TERM; while :; do sleep 0.1; done");
    let pid_file = env.dir.join("pid");
    let id = env.create(&bundle, "a", &["--pid-file", &pid_file.to_string_lossy()])?;
    ensure_eq!(env.status(&id)?, "created", "status");
    let pid = env.pid(&id)?;
    ensure_eq!(fs::read_to_string(pid_file)?, pid.to_string(), "pid file");
    ensure_eq!(fs::metadata(format!("/proc/{pid}"))?.uid(), UID, "owner of the process");
    env.verb("start", &id).ok()?;
    ensure_eq!(env.status(&id)?, "running", "status");
    env.runtime(&["kill", &id, "TERM"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    let output = env.verb("state", &id).exits(1)?;
    ensure!(output.stderr.contains("does not exist"), "{output}");
    env.nothing_left()
}

fn list(env: &mut Env) -> Outcome {
    env.become_user()?;
    let id = env.detach(&env.bundle_with(&["sleep", "100"])?, "a", &[])?;
    let list: Value =
        serde_json::from_str(&env.runtime(&["list", "--format", "json"]).ok()?.stdout)?;
    ensure_eq!((&list[0]["id"], &list[0]["status"]), (&json!(id), &json!("running")), "list");
    let owner = list[0]["owner"].as_str().unwrap_or_default();
    ensure!(!owner.is_empty() && owner != "root", "owner {owner:?}");
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")
}

fn one_id(env: &mut Env) -> Outcome {
    env.become_user()?;
    let report = env.probe(&mut env.bundle()?)?;
    for map in ["uid_map", "gid_map"] {
        ensure_eq!(report[map], json!([format!("0 {UID} 1")]), "{map}");
    }
    ensure_eq!(report["setgroups"], "deny", "setgroups");
    ensure_eq!(status(&report, "Uid"), "0 0 0 0", "user");
    Ok(())
}

fn many_ids(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    map_subordinates(&mut bundle.config);
    bundle.config["process"]["user"] = json!({"uid": 1000, "gid": 100});
    bundle.args(&["/bin/probe"]);
    let report = env.probe(&mut bundle)?;
    for map in ["uid_map", "gid_map"] {
        let lines = [format!("0 {UID} 1"), format!("1 {SUBORDINATE} {SUBORDINATES}")];
        ensure_eq!(report[map], json!(lines), "{map}");
    }
    ensure_eq!(report["setgroups"], "allow", "setgroups");
    let ids = (status(&report, "Uid"), status(&report, "Gid"));
    ensure_eq!(ids, ("1000 1000 1000 1000", "100 100 100 100"), "user");

    let id = env.detach(bundle.args(&["sleep", "100"]), "a", &[])?;
    let process = fs::metadata(format!("/proc/{}", env.pid(&id)?))?;
    ensure_eq!(process.uid(), SUBORDINATE + 999, "the process's user on the host");
    // Another user's by now, and still its owner's to kill.
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    Ok(())
}

fn many_groups(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    map_subordinates(&mut bundle.config);
    bundle.config["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [3, 20]});
    ensure_eq!(status(&env.probe(&mut bundle)?, "Groups"), "3 20", "groups");
    bundle.config["process"]["user"]["additionalGids"] = json!([3, 65_537]);
    refused(env, &bundle, &["process.user.additionalgids", "65537"])
}

/// A call of `run` by the user, with this environment and no other.
fn run_with_env(env: &Env, bundle: &Bundle, variables: &[(&str, &str)]) -> Result<Call, Failure> {
    let user = env.user.as_ref().ok_or_else(|| Failure("the user is root".to_owned()))?;
    let no = || Failure("no setpriv command".to_owned());
    let (setpriv, uid) = (find_command("setpriv").ok_or_else(no)?, UID.to_string());
    let (setpriv, runtime) = (setpriv.to_string_lossy(), user.runtime.to_string_lossy());
    let (root, dir, id) = (env.root(), bundle.dir.to_string_lossy(), env.id("e"));
    let root = root.to_string_lossy();
    let words = [&*setpriv, "--reuid", &uid, "--regid", &uid, "--clear-groups", "--"];
    let call = env
        .command(&[&words[..], &[&*runtime, "--root", &*root, "run", "-b", &*dir, &id]].concat());
    Ok(variables.iter().fold(call.clear_env(), |call, (name, value)| call.env(name, value)))
}

fn tools_without_path(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    map_subordinates(&mut bundle.config);
    bundle.args(&["/bin/true"]).save()?;
    // As podman calls it.
    run_with_env(env, &bundle, &[])?.ok()?;
    Ok(())
}

fn not_granted(env: &mut Env) -> Outcome {
    env.become_user()?;
    for (map, word) in [("uidMappings", "linux.uidmappings"), ("gidMappings", "linux.gidmappings")]
    {
        let mut bundle = env.bundle()?;
        map_subordinates(&mut bundle.config);
        bundle.config["linux"][map][1]["hostID"] = json!(300_000);
        let tool = if map == "uidMappings" { "newuidmap" } else { "newgidmap" };
        refused(env, bundle.args(&["/bin/true"]), &[word, tool, "1 300000 65536", "not allowed"])?;
    }
    Ok(())
}

fn no_tools(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    map_subordinates(&mut bundle.config);
    bundle.args(&["/bin/true"]).save()?;
    let output = run_with_env(env, &bundle, &[("PATH", "/nowhere:relative")])?.exits(1)?;
    for word in ["linux.gidMappings", "newgidmap is not found", "1 100000 65536"] {
        ensure!(output.stderr.contains(word), "{word} is missing: {output}");
    }
    env.nothing_left()
}

fn one_group(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["process"]["user"]["additionalGids"] = json!([0]);
    refused(env, bundle.args(&["/bin/true"]), &["cannot set", "additional"])
}

fn unmapped(env: &mut Env) -> Outcome {
    env.become_user()?;
    for (user, words) in [
        (json!({"uid": 5, "gid": 0}), ["process.user.uid", "5 is not mapped"]),
        (json!({"uid": 0, "gid": 6}), ["process.user.gid", "6 is not mapped"]),
    ] {
        let mut bundle = env.bundle()?;
        bundle.config["process"]["user"] = user;
        refused(env, bundle.args(&["/bin/true"]), &words)?;
    }
    Ok(())
}

fn no_user_namespace(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("user")?;
    bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
    refused(
        env,
        bundle.args(&["/bin/true"]),
        &["user namespace", "requires"]
            .map(|word| if env.is(Peer::Ghost) && word == "requires" { "required" } else { word }),
    )
}

fn devices(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.shell(
        "echo gone > /dev/null && head -c 3 /dev/zero | wc -c && head -c 1 /dev/urandom | wc -c \
         && ls -l /dev/full /dev/tty /dev/random | awk '{print $5 $6}' && readlink /dev/ptmx",
    );
    let output = env.run(&bundle)?.ok()?;
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    ensure_eq!(words, ["3", "1", "1,7", "1,8", "5,0", "pts/ptmx"], "devices");
    Ok(())
}

fn other_device(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["linux"]["devices"] =
        json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}]);
    refused(env, bundle.args(&["/bin/true"]), &["/dev/zero", "another device"])
}

fn kernel_file_systems(env: &mut Env) -> Outcome {
    env.become_user()?;
    let report = env.probe(&mut env.bundle()?)?;
    let mounts = report["mounts"].as_array().ok_or(Failure("no mounts".to_owned()))?;
    for (target, kind) in
        [("/proc", "proc"), ("/dev/pts", "devpts"), ("/dev/mqueue", "mqueue"), ("/sys", "sysfs")]
    {
        let found = mounts.iter().find(|mount| mount["target"] == target);
        ensure_eq!(found.map(|mount| &mount["type"]), Some(&json!(kind)), "mount on {target}");
    }
    Ok(())
}

fn own_network(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.namespace("network", None)?;
    new_sysfs(&mut bundle);
    bundle.shell("ip addr show lo | grep -c 127.0.0.1; ls /sys/class/net");
    let output = env.run(&bundle)?.ok()?;
    ensure_eq!(output.stdout, "1\nlo\n", "address, and the interfaces that sysfs shows");
    Ok(())
}

fn new_sysfs(bundle: &mut Bundle) {
    let mounts = bundle.config["mounts"].as_array_mut();
    if let Some(mount) = mounts.into_iter().flatten().find(|m| m["destination"] == "/sys") {
        let options = ["nosuid", "noexec", "nodev", "ro"];
        *mount = json!({
            "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": options,
        });
    }
}

fn host_sysfs(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    new_sysfs(&mut bundle);
    bundle.shell("test -d /sys/kernel && ! touch /sys/kernel/x 2>/dev/null && echo there");
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "there\n", "/sys");
    Ok(())
}

fn host_proc(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("pid")?;
    bundle
        .shell("readlink /proc/self; echo $$; wc -c < /proc/keys; echo x > /proc/sys/kernel/panic");
    let output = env.run(&bundle)?.exits(1)?;
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    ensure!(words.len() == 3 && words[0] != "1" && words[2] == "0", "{output}");
    // A process that the container leaves is not found without a cgroup: runc's neither.
    let id = env.detach(bundle.args(&["sleep", "100"]), "a", &[])?;
    let output = env.verb("ps", &id).exits(1)?;
    ensure!(output.stderr.contains("neither a cgroup nor a pid namespace"), "{output}");
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")
}

fn masks(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/keys", "/etc"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/tmp"]);
    bundle.writable();
    bundle.shell(
        "wc -c < /proc/keys; ls /etc | wc -l; touch /tmp/x 2>&1 | grep -c Read-only; \
         touch /mnt/x && echo written",
    );
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "0\n0\n1\nwritten\n", "paths");
    Ok(())
}

fn oom_score(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["process"]["oomScoreAdj"] = json!(500);
    let report = env.probe(&mut bundle)?;
    ensure_eq!(report["oom_score_adj"], "500", "score of init");
    let id = env.detach(bundle.args(&["sleep", "100"]), "a", &[])?;
    ensure_eq!(env.exec_probe(&id, &[])?["oom_score_adj"], "500", "score of an exec'ed process");
    bundle.config["process"]["oomScoreAdj"] = json!(-999);
    bundle.args(&["/bin/true"]);
    let output = env.run(&bundle)?.exits(1)?;
    for word in ["oom_score_adj", "ermission denied"] {
        ensure!(output.stderr.contains(word), "{word} is missing: {output}");
    }
    Ok(())
}

fn rlimit(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    let limit = |value: u64| json!([{"type": "RLIMIT_NOFILE", "soft": value, "hard": value}]);
    bundle.config["process"]["rlimits"] = limit(100);
    ensure_eq!(env.probe(&mut bundle)?["limits"]["Max open files"], json!(["100", "100"]), "limit");
    bundle.config["process"]["rlimits"] = limit(1 << 30);
    refused(env, bundle.args(&["/bin/true"]), &["rlimit", "operation not permitted"])
}

fn kill_all(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    // More than are signalled at a time.
    bundle.shell("i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; wait");
    let id = env.detach(&bundle, "a", &[])?;
    let pids = || -> Result<Vec<i32>, Failure> {
        Ok(serde_json::from_str(&env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout)?)
    };
    wait_until(env.shared.limit, "300 processes", || Ok((pids()?.len() == 301).then_some(())))?;
    env.runtime(&["kill", "--all", &id, "HUP"]).ok()?;
    // The first process of a pid namespace does not have it, and ends when it has no child any more.
    env.wait_status(&id, "stopped")
}

fn exec(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    map_subordinates(&mut bundle.config);
    let id = env.detach(bundle.args(&["sleep", "100"]), "a", &[])?;
    let init = env.exec(&id, &[], &["cat", "/proc/1/comm"]).ok()?;
    ensure_eq!(init.stdout, "sleep\n", "the first process it sees");
    let report = env.exec_probe(&id, &["--user", "1000:100"])?;
    let ids = (status(&report, "Uid"), status(&report, "Gid"));
    ensure_eq!(ids, ("1000 1000 1000 1000", "100 100 100 100"), "user");
    ensure_eq!(report["uid_map"][0], format!("0 {UID} 1"), "uid_map");
    env.exec(&id, &[], &["sh", "-c", "exit 7"]).exits(7)?;
    let output = env.exec(&id, &["--user", "65537"], &["/bin/true"]).exits(255)?;
    ensure!(output.stderr.contains("mapped"), "{output}");
    let pid_file = env.dir.join("pid");
    env.exec(&id, &["-d", "--pid-file", &pid_file.to_string_lossy()], &["sleep", "100"]).ok()?;
    let process = fs::metadata(format!("/proc/{}", fs::read_to_string(pid_file)?))?;
    ensure_eq!(process.uid(), UID, "owner of the process");
    Ok(())
}

fn exec_created(env: &mut Env) -> Outcome {
    env.become_user()?;
    let id = env.create(&env.bundle_with(&["/bin/true"])?, "a", &[])?;
    ensure_eq!(env.exec(&id, &[], &["id", "-u"]).ok()?.stdout, "0\n", "output");
    env.verb("start", &id).ok()?;
    env.wait_status(&id, "stopped")
}

fn terminals(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.config["process"]["terminal"] = json!(true);
    let (path, limit) = (env.dir.join("console"), env.shared.limit);
    let socket = ConsoleSocket::bind(&path)?;
    bundle.shell("tty; test -t 0 && echo up; exec sleep 100");
    let id = env.detach(&bundle, "a", &["--console-socket", &path.to_string_lossy()])?;
    let master = socket.receive(limit)?.fds.pop().ok_or(Failure("no terminal".to_owned()))?;
    Terminal::over(master).expect("up", limit)?;
    let path = env.dir.join("console2");
    let socket = ConsoleSocket::bind(&path)?;
    let flags = ["-t", "-d", "--console-socket", &path.to_string_lossy()];
    env.exec(&id, &flags, &["sh", "-c", "test -t 0 && echo in; exec sleep 100"]).ok()?;
    let master = socket.receive(limit)?.fds.pop().ok_or(Failure("no terminal".to_owned()))?;
    Terminal::over(master).expect("in", limit)?;
    Ok(())
}

fn joined(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut first = env.bundle()?;
    first.namespace("network", None)?;
    let id = env.detach(first.args(&["sleep", "100"]), "a", &[])?;
    let pid = env.pid(&id)?;
    // The mappings are those of the namespace to join; runc 1.1 needs them.
    let mut second = env.bundle()?;
    for (kind, file) in [("user", "user"), ("network", "net"), ("pid", "pid"), ("ipc", "ipc")] {
        second.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")))?;
    }
    second.config["process"]["oomScoreAdj"] = json!(300);
    let report = env.probe(&mut second)?;
    for name in ["user", "net", "pid", "ipc"] {
        let wanted = fs::read_link(format!("/proc/{pid}/ns/{name}"))?;
        ensure_eq!(report["namespaces"][name], json!(wanted), "{name} namespace");
    }
    ensure_eq!(
        (&report["oom_score_adj"], status(&report, "Uid")),
        (&json!("300"), "0 0 0 0"),
        "it"
    );
    let wanted = fs::read_link(format!("/proc/{pid}/ns/mnt"))?;
    ensure!(report["namespaces"]["mnt"] != json!(wanted), "the mount namespace is the same");
    Ok(())
}

fn time(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    bundle.namespace("time", None)?;
    bundle.config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    bundle.shell("awk -F. '{print $1; exit}' /proc/uptime");
    let seconds: u64 = env.run(&bundle)?.ok()?.stdout.trim().parse()?;
    ensure!(seconds > 1_000_000_000, "the machine is up for {seconds} s");
    Ok(())
}

fn hooks_and_seccomp(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    let file = env.dir.join("hooks");
    let hook = |word: &str| {
        let script = format!("cat > /dev/null; echo {word} $(id -u) >> {}", file.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    bundle.config["hooks"] = json!({"createRuntime": hook("runtime"), "createContainer": hook("container"),
               "poststop": hook("stop")});
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    });
    bundle.writable();
    bundle.shell("mkdir /tmp/x 2>&1 | grep -c 'No space'; touch /tmp/y && echo written");
    for no_new_privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1\nwritten\n", "output");
        let text = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        // In the container's user namespace, the same user is root.
        let wanted = format!("runtime {UID}\ncontainer 0\nstop {UID}\n");
        ensure_eq!(text, wanted, "what the hooks wrote");
    }
    Ok(())
}

/// A call as podman makes it: by root of a user namespace that maps all of the user's ids.
const AS_NAMESPACE_ROOT: &[&str] = &[
    "unshare",
    "--user",
    "--mount",
    "--map-root-user",
    "--map-users=100000,1,65536",
    "--map-groups=100000,1,65536",
    "--",
];

fn userns_root(env: &mut Env) -> Outcome {
    let user = env.become_user()?.clone();
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("user")?;
    bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
    bundle.namespace("network", None)?;
    new_sysfs(&mut bundle);
    bundle.config["process"]["user"] = json!({"uid": 33, "gid": 33, "additionalGids": [5]});
    bundle.config["process"]["oomScoreAdj"] = json!(400);
    bundle.config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    bundle.args(&["/bin/probe"]).save()?;
    let (root, dir) = (env.root(), bundle.dir.clone());
    let call = |words: &[&str]| {
        let mut all = AS_NAMESPACE_ROOT.to_vec();
        let (root, runtime) = (root.to_string_lossy(), user.runtime.to_string_lossy());
        all.extend([&*runtime, "--root", &*root]);
        all.extend(words);
        user.call(env.command(&all))
    };
    let dir = dir.to_string_lossy().into_owned();
    let output = call(&["run", "-b", &dir, &env.id("u")]).ok()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure_eq!(status(&report, "Uid"), "33 33 33 33", "user");
    ensure_eq!(status(&report, "Groups"), "5", "groups");
    ensure_eq!(report["oom_score_adj"], "400", "oom score");
    let null = report["dev"]["null"].as_str().unwrap_or_default();
    ensure!(null.ends_with("1:3"), "/dev/null: {null}");
    Ok(())
}

fn nested(env: &mut Env) -> Outcome {
    let user = env.become_user()?.clone();
    let mut bundle = env.bundle()?;
    for map in ["uidMappings", "gidMappings"] {
        bundle.config["linux"][map] = json!([{"containerID": 0, "hostID": 1000, "size": 500}]);
    }
    bundle.args(&["/bin/probe"]).save()?;
    // The files belong to root of the outer namespace, who is nobody in the inner one.
    let (root, runtime) = (env.root(), user.runtime.to_string_lossy().into_owned());
    let mut all = AS_NAMESPACE_ROOT.to_vec();
    let (root, dir, id) = (root.to_string_lossy(), bundle.dir.to_string_lossy(), env.id("n"));
    all.extend([&*runtime, "--root", &*root, "run", "-b", &*dir, &*id]);
    let report: Value = serde_json::from_str(&user.call(env.command(&all)).ok()?.stdout)?;
    ensure_eq!(report["uid_map"], json!(["0 1000 500"]), "uid_map");
    ensure_eq!(status(&report, "Uid"), "0 0 0 0", "user");
    Ok(())
}

fn own_binary_entrypoint(env: &mut Env) -> Outcome {
    env.become_user()?;
    super::security::self_exe_entrypoint(env)
}

fn own_binary_exec(env: &mut Env) -> Outcome {
    env.become_user()?;
    super::security::self_exe_exec(env)
}
