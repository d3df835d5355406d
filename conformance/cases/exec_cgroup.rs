//! `exec --cgroup`: a process in a cgroup below the container's.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{cgroups_v1, cgroups_v2};
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "takes one path only, in its own words")];

const FOR_EVER: &[(Peer, &str)] =
    &[(Peer::Runc, "runc waits for ever"), (Peer::Crun, "crun waits for ever")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("exec-cgroup/v2", v2).needs(&[Need::V2]).not_on(CRUN),
    Case::new("exec-cgroup/v1-of-every-controller", v1_all).needs(&[Need::V1]),
    Case::new("exec-cgroup/v1-by-controller", v1_each).needs(&[Need::V1]),
    Case::new("exec-cgroup/v2-that-the-container-froze", v2_frozen)
        .needs(&[Need::V2])
        .not_on(FOR_EVER),
    Case::new("exec-cgroup/v1-that-is-frozen", v1_frozen).needs(&[Need::V1]).not_on(FOR_EVER),
    Case::new("exec-cgroup/bad-values", bad).not_on(&[
        (Peer::Runc, "runc 1.1 takes a controller twice"),
        (Peer::Crun, "takes one path only, in its own words"),
    ]),
];

fn sleeper(env: &Env) -> Result<String, Failure> {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    env.detach(&bundle, "d", &[])
}

/// The lines of /proc/PID/cgroup of an exec'ed process, seen from the host.
fn places(env: &Env, id: &str, name: &str, flags: &[&str]) -> Result<String, Failure> {
    let file = env.dir.join(name);
    let pid_file = file.to_string_lossy().into_owned();
    let flags = [&["--detach", "--pid-file", &pid_file], flags].concat();
    env.exec(id, &flags, &["sleep", "1000"]).ok()?;
    let pid = fs::read_to_string(&file)?;
    Ok(fs::read_to_string(format!("/proc/{pid}/cgroup"))?)
}

fn make(path: PathBuf) -> Outcome {
    fs::create_dir(&path).map_err(|e| Failure(format!("mkdir {}: {e}", path.display())))
}

fn v2(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let group = cgroups_v2::group_of(env.pid(&id)?)?;
    make(group.join("sub"))?;
    let own = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (name, path, wanted) in
        [("a", "sub", format!("{own}/sub")), ("b", "/sub", format!("{own}/sub")), ("c", "/", own)]
    {
        let places = places(env, &id, name, &["--cgroup", path])?;
        ensure!(places.trim_end().ends_with(&wanted), "{path}: {places}");
    }
    Ok(())
}

fn v1_all(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    for controller in ["memory", "cpu", "pids", "devices", "freezer", "blkio", "cpuset"] {
        let own = cgroups_v1::group(env, &id, controller)?;
        make(own.join("sub"))?;
        if controller == "cpuset" {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(own.join("sub").join(file), fs::read(own.join(file))?)?;
            }
        }
    }
    // Hierarchies that the list above leaves out have no such group: each controller by itself.
    let flag = "memory,cpu,pids,devices,freezer,blkio,cpuset:sub";
    let places = places(env, &id, "p", &["--cgroup", flag])?;
    for line in places.lines() {
        let Some((_, rest)) = line.split_once(':') else { continue };
        let (controller, path) = rest.split_once(':').unwrap_or_default();
        if ["memory", "cpu", "pids", "devices", "freezer", "blkio", "cpuset"].contains(&controller)
        {
            ensure!(path.ends_with("/sub"), "{controller}: {path}");
        }
    }
    Ok(())
}

fn v1_each(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    make(cgroups_v1::group(env, &id, "memory")?.join("m"))?;
    make(cgroups_v1::group(env, &id, "pids")?.join("p"))?;
    let places = places(env, &id, "e", &["--cgroup", "memory:m", "--cgroup", "pids:p"])?;
    for (controller, end) in [("memory", "/m"), ("pids", "/p"), ("cpu", &*id)] {
        let line = places.lines().find(|line| line.contains(&format!(":{controller}:")));
        ensure!(line.is_some_and(|line| line.ends_with(end)), "{controller}: {line:?}");
    }
    Ok(())
}

fn bad(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    for flags in [
        &["--cgroup", "nope"][..],
        &["--cgroup", "../.."],
        &["--cgroup", ":x"],
        &["--cgroup", "a", "--cgroup", "b"],
        &["--cgroup", "memory:/", "--cgroup", "memory:/"],
        &["--cgroup", "nothing:/"],
    ] {
        let output = env.exec(&id, flags, &["true"]).exits(255)?;
        ensure!(!output.stderr.is_empty(), "{flags:?}: no words");
    }
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

/// An exec'ed process that a frozen cgroup holds back: the call gives up, and says why.
fn gives_up(env: &Env, id: &str, flags: &[&str], group: &str) -> Outcome {
    let output = env.exec(id, flags, &["true"]).limit(Duration::from_secs(40)).exits(255)?;
    let words = [group, "is frozen", "10 s"];
    for word in words {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    Ok(())
}

fn v2_frozen(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    cgroups_v2::writable_cgroups(&mut bundle);
    bundle.namespace("cgroup", None)?.writable();
    bundle.shell(
        "cd /sys/fs/cgroup && mkdir a && (sleep 1001 & echo $! > a/cgroup.procs) && \
         echo 1 > a/cgroup.freeze && until grep -q 'frozen 1' a/cgroup.events; do sleep 0.1; done; \
         echo > /ready; sleep 1000",
    );
    let id = env.detach(&bundle, "d", &[])?;
    let rootfs = bundle.rootfs();
    wait_until(env.shared.limit, "the frozen group", || {
        Ok(rootfs.join("ready").exists().then_some(()))
    })?;
    let processes = || -> Result<Vec<i32>, Failure> {
        Ok(serde_json::from_str(&env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout)?)
    };
    let before = processes()?.len();
    gives_up(env, &id, &["--cgroup", "a"], "/a is frozen")?;
    ensure_eq!(processes()?.len(), before, "processes after the failure");
    ensure_eq!(env.status(&id)?, "running", "status");
    // Who asks for it may wait.
    let group = cgroups_v2::group_of(env.pid(&id)?)?;
    let flags = ["--cgroup", "a", "--ignore-paused"];
    let waiting = env.exec(&id, &flags, &["echo", "thawed"]).limit(Duration::from_secs(40));
    let waiting = waiting.spawn()?;
    std::thread::sleep(Duration::from_secs(12));
    fs::write(group.join("a/cgroup.freeze"), "0")?;
    ensure_eq!(waiting.wait()?.stdout, "thawed\n", "stdout once it is thawed");
    // All of it frozen, whoever did it: that is what a paused container is. Not by the container, which
    // may not where the host's mount says `nsdelegate`.
    fs::write(group.join("cgroup.freeze"), "1")?;
    env.wait_status(&id, "paused")?;
    let output = env.exec(&id, &[], &["true"]).exits(255)?;
    ensure!(output.stderr.contains("cannot exec in a paused container"), "{output}");
    env.verb("resume", &id).ok()?;
    ensure_eq!(env.status(&id)?, "running", "status after resume");
    Ok(())
}

fn v1_frozen(env: &mut Env) -> Outcome {
    let id = sleeper(env)?;
    let sub = cgroups_v1::group(env, &id, "freezer")?.join("sub");
    make(sub.clone())?;
    fs::write(sub.join("freezer.state"), "FROZEN")?;
    gives_up(env, &id, &["--cgroup", "freezer:sub"], "/sub is frozen")?;
    let left: Vec<i32> =
        serde_json::from_str(&env.runtime(&["ps", "-f", "json", &id]).ok()?.stdout)?;
    ensure_eq!(left, [env.pid(&id)?], "processes after the failure");
    Ok(())
}
