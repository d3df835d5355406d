//! `exec --cgroup`: a process in a cgroup below the container's.

use std::fs;
use std::path::PathBuf;

use super::{cgroups_v1, cgroups_v2};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "takes one path only, in its own words")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("exec-cgroup/v2", v2).needs(&[Need::V2]).not_on(CRUN),
    Case::new("exec-cgroup/v1-of-every-controller", v1_all).needs(&[Need::V1]),
    Case::new("exec-cgroup/v1-by-controller", v1_each).needs(&[Need::V1]),
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
