//! Containers in scopes of systemd: where they are, what later commands find, what fails and how.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cgroups_v2::group_of;
use crate::bundle::Bundle;
use crate::call::{Call, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const SYSTEMD: &[Need] = &[Need::Systemd];
const OWN_WORDS: &[(Peer, &str)] = &[(Peer::Runc, "its words are others, or it waits longer")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("systemd/scope", scope).needs(SYSTEMD),
    Case::new("systemd/later-commands-need-no-flag", later_commands).needs(SYSTEMD),
    Case::new("systemd/kill-all-and-delete", kill_all).needs(SYSTEMD),
    Case::new("systemd/slices", slices).needs(SYSTEMD),
    Case::new("systemd/malformed-path", malformed_path).needs(SYSTEMD).not_on(OWN_WORDS),
    Case::new("systemd/annotations", annotations).needs(SYSTEMD),
    Case::new("systemd/bad-annotations", bad_annotations).needs(SYSTEMD).not_on(OWN_WORDS),
    Case::new("systemd/host-cgroup-namespace", host_namespace).needs(SYSTEMD),
    Case::new("systemd/user-namespace", user_namespace).needs(SYSTEMD),
    Case::new("systemd/name-that-is-taken", taken)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 takes it too, with a warning")]),
    Case::new("systemd/failed-create-leaves-no-unit", failed_create).needs(SYSTEMD),
    Case::new("systemd/failed-unit-is-forgotten", failed_unit)
        .needs(SYSTEMD)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves the failed unit behind")]),
    Case::new("systemd/systemd-refuses", refuses).needs(SYSTEMD).not_on(OWN_WORDS),
    Case::new("systemd/bus-that-does-not-answer", silent_bus).needs(SYSTEMD).not_on(OWN_WORDS),
    Case::new("systemd/no-bus", no_bus).needs(SYSTEMD).not_on(OWN_WORDS),
    Case::new("systemd/without-a-bus-by-systemds-own-socket", private_socket).needs(SYSTEMD),
];

/// The name of the case's scope, as `cgroupsPath` below has it.
pub fn unit(env: &Env) -> String {
    format!("cf-{}.scope", env.mark)
}

/// A bundle for the case's scope that sleeps.
pub fn bundle(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    bundle.set("/linux/cgroupsPath", json!(format!("system.slice:cf:{}", env.mark)))?;
    Ok(bundle)
}

/// A call of `create` or `run --detach` with the flag.
pub fn call(env: &Env, bundle: &Bundle, name: &str) -> Result<Call, Failure> {
    bundle.save()?;
    let id = env.id(name);
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    Ok(env.runtime(&["--systemd-cgroup", "run", "--detach", "--bundle", &dir, &id]))
}

/// Run a container with the flag.
pub fn start(env: &Env, bundle: &Bundle, name: &str) -> Result<String, Failure> {
    call(env, bundle, name)?.ok()?;
    Ok(env.id(name))
}

/// A call that has to fail, with one line, and leave nothing.
pub fn fails(env: &Env, call: Call, words: &[&str]) -> Outcome {
    names(env, call, words)?;
    env.nothing_left()
}

/// A call that has to fail, with one line that has these words.
fn names(env: &Env, call: Call, words: &[&str]) -> Outcome {
    let output = call.exits(1)?;
    for word in words {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    if env.is(Peer::Ghost) {
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
    }
    Ok(())
}

/// A property, as systemctl shows it.
pub fn property(env: &Env, unit: &str, name: &str) -> Result<String, Failure> {
    let output = env.command(&["systemctl", "show", "--value", "-p", name, unit]).ok()?;
    Ok(output.stdout.trim().to_owned())
}

fn scope(env: &mut Env) -> Outcome {
    let id = start(env, &bundle(env)?, "c")?;
    let unit = unit(env);
    let pid = env.pid(&id)?;
    let wanted = Path::new("/sys/fs/cgroup/system.slice").join(&unit);
    ensure_eq!(group_of(pid)?, wanted, "group");
    let shown = env.command(&["systemctl", "show", &unit]).ok()?.stdout;
    for (name, value) in [
        ("ActiveState", "active"),
        ("Transient", "yes"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("CPUAccounting", "yes"),
        ("IOAccounting", "yes"),
        ("TasksAccounting", "yes"),
    ] {
        let line = format!("{name}={value}");
        ensure!(shown.lines().any(|one| one == line), "no {line:?} in {shown:?}");
    }
    let description = shown.lines().find_map(|line| line.strip_prefix("Description="));
    ensure!(
        description.is_some_and(|text| text.contains(&env.mark)),
        "Description {description:?}"
    );
    // The container's root of the control groups is its own.
    let output = env.exec(&id, &[], &["cat", "/proc/self/cgroup"]).ok()?;
    ensure_eq!(output.stdout, "0::/\n", "its own view");
    env.runtime(&["delete", "--force", &id]).ok()?;
    ensure!(!wanted.exists(), "{} is left", wanted.display());
    env.nothing_left()
}

fn later_commands(env: &mut Env) -> Outcome {
    let id = start(env, &bundle(env)?, "c")?;
    let group = group_of(env.pid(&id)?)?;
    let running = env.exec(&id, &["--detach"], &["sleep", "1000"]);
    running.ok()?;
    let pids: Vec<i32> =
        serde_json::from_str(&env.runtime(&["ps", "--format", "json", &id]).ok()?.stdout)?;
    ensure_eq!(pids.len(), 2, "processes");
    for pid in &pids {
        ensure_eq!(group_of(*pid)?, group, "group of process {pid}");
    }
    env.verb("pause", &id).ok()?;
    ensure_eq!(env.status(&id)?, "paused", "status");
    ensure_eq!(fs::read_to_string(group.join("cgroup.freeze"))?.trim(), "1", "cgroup.freeze");
    env.verb("resume", &id).ok()?;
    ensure_eq!(env.status(&id)?, "running", "status");
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn kill_all(env: &mut Env) -> Outcome {
    // Without a pid namespace, the processes do not end with the first.
    let mut bundle = bundle(env)?;
    bundle.drop_namespace("pid")?.shell("sleep 1000 & sleep 1001 & exec sleep 1002");
    let id = start(env, &bundle, "c")?;
    let group = group_of(env.pid(&id)?)?;
    wait_until(env.shared.limit, "three processes", || {
        let pids = fs::read_to_string(group.join("cgroup.procs"))?;
        Ok((pids.lines().count() == 3).then_some(()))
    })?;
    env.runtime(&["delete", "--force", &id]).ok()?;
    env.nothing_left()
}

fn slices(env: &mut Env) -> Outcome {
    let outer = env.mark.clone();
    let prefix = if env.is(Peer::Ghost) { "ghost-runc" } else { "runc" };
    for (number, (path, slice, group)) in [
        (Value::Null, "system.slice".to_owned(), format!("system.slice/{prefix}-ID.scope")),
        (json!(format!(":cf:{}", env.mark)), "system.slice".into(), "system.slice/UNIT".into()),
        (
            json!(format!("{outer}-in.slice:cf:{}", env.mark)),
            format!("{outer}-in.slice"),
            format!("{outer}.slice/{outer}-in.slice/UNIT"),
        ),
        (json!(format!("-.slice:cf:{}", env.mark)), "-.slice".into(), "UNIT".into()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bundle = env.bundle()?;
        bundle.args(&["sleep", "1000"]);
        if !path.is_null() {
            bundle.set("/linux/cgroupsPath", path.clone())?;
        }
        let id = start(env, &bundle, &format!("c{number}"))?;
        let group = group.replace("UNIT", &unit(env)).replace("ID", &id);
        let found = group_of(env.pid(&id)?)?;
        ensure_eq!(found, Path::new("/sys/fs/cgroup").join(&group), "group with {path}");
        let scope = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure_eq!(property(env, &scope, "Slice")?, slice, "slice with {path}");
        env.runtime(&["delete", "--force", &id]).ok()?;
    }
    // The slices that came about are systemd's: without a unit in them it stops them at some time.
    env.command(&["systemctl", "stop", &format!("{outer}.slice")]).ok()?;
    env.nothing_left()
}

fn malformed_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["true"]);
    for path in [
        "/system.slice/x",
        "system.slice:x",
        "system.slice:a:b:c",
        "system.slice:a:",
        "system:a:b",
        "a--b.slice:a:b",
        "../x.slice:a:b",
        "system.slice:a:b/c",
    ] {
        bundle.set("/linux/cgroupsPath", json!(path))?;
        names(env, call(env, &bundle, "c")?, &["linux.cgroupsPath", path])?;
    }
    env.nothing_left()
}

fn annotations(env: &mut Env) -> Outcome {
    let mut bundle = bundle(env)?;
    bundle.config["annotations"] = json!({
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.Documentation": "['man:one(1)', 'man:two(2)']",
        "org.systemd.property.RuntimeMaxUSec": "uint64 7200000000",
        "org.systemd.unrelated": "text",
    });
    start(env, &bundle, "c")?;
    let unit = unit(env);
    for (name, value) in [
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive-or-failed"),
        ("Documentation", "man:one(1) man:two(2)"),
        ("RuntimeMaxUSec", "2h"),
    ] {
        // Newer versions quote each of several words.
        ensure_eq!(property(env, &unit, name)?.replace('"', ""), value, "{name}");
    }
    Ok(())
}

fn bad_annotations(env: &mut Env) -> Outcome {
    let mut bundle = bundle(env)?;
    for (name, value) in [
        ("TimeoutStopUSec", "uint64 much"),
        ("TimeoutStopSec", "'text'"),
        ("Documentation", "[]"),
        ("Not Letters", "5"),
        ("CollectMode", "'open"),
    ] {
        let key = format!("org.systemd.property.{name}");
        bundle.config["annotations"] = json!({ &key: value });
        names(env, call(env, &bundle, "c")?, &[&key])?;
    }
    // These are values, only not such as systemd takes.
    for (name, value) in [("MemoryHigh", "'much'"), ("NoSuchProp", "'x'"), ("Description", "5")] {
        let key = format!("org.systemd.property.{name}");
        bundle.config["annotations"] = json!({ &key: value });
        let field = format!("annotations[{key}]: ");
        names(env, call(env, &bundle, "c")?, &[&field, value, "systemd: start unit"])?;
    }
    env.nothing_left()
}

fn host_namespace(env: &mut Env) -> Outcome {
    let mut bundle = bundle(env)?;
    bundle.drop_namespace("cgroup")?;
    let id = start(env, &bundle, "c")?;
    let output = env.exec(&id, &[], &["cat", "/proc/self/cgroup"]).ok()?;
    ensure!(output.stdout.contains(&unit(env)), "{output}");
    let output = env.exec(&id, &[], &["ls", "/sys/fs/cgroup"]).ok()?;
    ensure!(output.stdout.contains("cgroup.controllers"), "{output}");
    Ok(())
}

fn user_namespace(env: &mut Env) -> Outcome {
    // The container's own control groups are its root's: it may divide them.
    let mut bundle = bundle(env)?;
    bundle.namespace("user", None)?.namespace("cgroup", None)?;
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone())?.set("/linux/gidMappings", map)?;
    env.command(&["chown", "-R", "100000:100000", &bundle.dir.to_string_lossy()]).ok()?;
    let mut dir: Option<&Path> = Some(&env.dir);
    while let Some(one) = dir.filter(|dir| dir.starts_with(std::env::temp_dir())) {
        env.command(&["chmod", "a+x", &one.to_string_lossy()]).ok()?;
        dir = one.parent();
    }
    super::cgroups_v2::writable_cgroups(&mut bundle);
    let id = start(env, &bundle, "c")?;
    let script = "mkdir /sys/fs/cgroup/a && echo $$ > /sys/fs/cgroup/a/cgroup.procs && echo in";
    let output = env.exec(&id, &[], &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "in\n", "stdout");
    env.runtime(&["delete", "--force", &id]).ok()?;
    env.nothing_left()
}

fn taken(env: &mut Env) -> Outcome {
    let first = start(env, &bundle(env)?, "first")?;
    let output = call(env, &bundle(env)?, "second")?.exits(1)?;
    ensure!(output.stderr.contains(&unit(env)), "the line does not name the unit: {output}");
    // The first one's processes are not the second's to kill.
    ensure_eq!(env.status(&first)?, "running", "status of the first");
    ensure_eq!(property(env, &unit(env), "ActiveState")?, "active", "ActiveState");
    ensure!(!env.root().join(env.id("second")).exists(), "a state directory is left");
    Ok(())
}

fn failed_create(env: &mut Env) -> Outcome {
    // What fails comes after the scope: a hook, init itself, a value that only the kernel refuses.
    let mut hook = bundle(env)?;
    hook.config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]});
    fails(env, call(env, &hook, "hook")?, &["hook #0"])?;
    let mut program = bundle(env)?;
    program.args(&["/no/such/program"]);
    fails(env, call(env, &program, "program")?, &["/no/such/program"])?;
    let mut limit = bundle(env)?;
    limit.set("/linux/resources/unified", json!({"memory.oom.group": "7"}))?;
    fails(env, call(env, &limit, "limit")?, &["memory.oom.group"])?;
    Ok(())
}

fn failed_unit(env: &mut Env) -> Outcome {
    // A scope that ended in a way it should not is kept by systemd as failed, until it is told to
    // forget it. Another container may have the name after that.
    let mut bundle = bundle(env)?;
    bundle.config["annotations"] = json!({
        "org.systemd.property.RuntimeMaxUSec": "uint64 4000000",
        "org.systemd.property.TimeoutStopUSec": "uint64 100000",
    });
    let id = start(env, &bundle, "c")?;
    wait_until(env.shared.limit, "the unit to fail", || {
        Ok((property(env, &unit(env), "ActiveState")? == "failed").then_some(()))
    })?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()?;
    // One whose container nobody deleted is in nobody's way either.
    start(env, &bundle, "lost")?;
    wait_until(env.shared.limit, "the unit to fail", || {
        Ok((property(env, &unit(env), "ActiveState")? == "failed").then_some(()))
    })?;
    bundle.remove("/annotations")?;
    let id = start(env, &bundle, "next")?;
    ensure_eq!(property(env, &unit(env), "ActiveState")?, "active", "ActiveState");
    env.runtime(&["delete", "--force", &id]).ok()?;
    Ok(())
}

fn refuses(env: &mut Env) -> Outcome {
    let mut bundle = bundle(env)?;
    bundle.config["annotations"] = json!({"org.systemd.property.NoSuchThing": "uint64 1"});
    let unit = unit(env);
    fails(env, call(env, &bundle, "c")?, &["systemd: start unit", &unit, "NoSuchThing"])?;
    Ok(())
}

/// A socket of the test's own, as an address.
fn own_bus(env: &Env) -> (PathBuf, String) {
    let path = env.dir.join("bus");
    let address = format!("unix:path={}", path.display());
    (path, address)
}

fn silent_bus(env: &mut Env) -> Outcome {
    let (path, address) = own_bus(env);
    let listener = UnixListener::bind(&path)?;
    let start = Instant::now();
    let call = call(env, &bundle(env)?, "c")?.env("DBUS_SYSTEM_BUS_ADDRESS", &address);
    let unit = unit(env);
    fails(env, call.limit(Duration::from_secs(60)), &[&unit, "no answer within 10 s"])?;
    ensure!(start.elapsed() >= Duration::from_secs(9), "it did not wait");
    drop(listener);
    Ok(())
}

fn no_bus(env: &mut Env) -> Outcome {
    let (_, address) = own_bus(env);
    let call = |bundle: &Bundle| -> Result<Call, Failure> {
        Ok(call(env, bundle, "c")?.env("DBUS_SYSTEM_BUS_ADDRESS", &address))
    };
    let bundle = bundle(env)?;
    fails(env, call(&bundle)?, &[&unit(env), "no such file or directory"])?;
    // To delete it has to work all the same: its processes and its cgroup go, and so does the scope.
    let id = start(env, &bundle, "c")?;
    env.runtime(&["delete", "--force", &id]).env("DBUS_SYSTEM_BUS_ADDRESS", &address).ok()?;
    env.nothing_left()
}

fn private_socket(env: &mut Env) -> Outcome {
    let bundle = bundle(env)?;
    let script = "mount -t tmpfs none /run/dbus && exec \"$@\"";
    let hidden = ["unshare", "--mount", "sh", "-c", script, "sh"];
    call(env, &bundle, "c")?.under(&hidden).ok()?;
    let id = env.id("c");
    ensure_eq!(property(env, &unit(env), "ActiveState")?, "active", "ActiveState");
    env.runtime(&["delete", "--force", &id]).under(&hidden).ok()?;
    env.nothing_left()
}
