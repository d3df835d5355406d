//! Containers in whose cgroup another one is frozen for reasons of its own.

use std::fs;
use std::path::Path;

use super::{cgroups_v1, cgroups_v2};
use crate::call::wait_until;
use crate::case::{Case, Need, Outcome};
use crate::ensure_eq;
use crate::env::Env;

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("frozen-children/v1-pause-and-resume", v1).needs(&[Need::V1]),
    Case::new("frozen-children/v2-pause-and-resume", v2).needs(&[Need::V2]),
];

/// How a version of cgroups freezes and what it then shows.
struct Version {
    file: &'static str,
    on: &'static str,
    off: &'static str,
    own: (&'static str, &'static str),
    shown: (&'static str, &'static str),
}

const V1: Version = Version {
    file: "freezer.state",
    on: "FROZEN",
    off: "THAWED",
    own: ("freezer.self_freezing", "1"),
    shown: ("freezer.state", "FROZEN"),
};
const V2: Version = Version {
    file: "cgroup.freeze",
    on: "1",
    off: "0",
    own: ("cgroup.freeze", "1"),
    shown: ("cgroup.events", "frozen 1"),
};

fn v1(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "c", &[])?;
    let group = cgroups_v1::group(env, &id, "freezer")?;
    check(env, &id, &group, &V1)
}

fn v2(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "c", &[])?;
    let group = cgroups_v2::group_of(env.pid(&id)?)?;
    check(env, &id, &group, &V2)
}

fn check(env: &Env, id: &str, group: &Path, version: &Version) -> Outcome {
    let pid_file = env.dir.join("second");
    let flags = ["--detach", "--pid-file", &*pid_file.to_string_lossy()];
    env.exec(id, &flags, &["sleep", "1000"]).ok()?;
    let child = group.join("child");
    fs::create_dir(&child)?;
    fs::write(child.join("cgroup.procs"), fs::read_to_string(&pid_file)?)?;
    fs::write(child.join(version.file), version.on)?;
    let stays_frozen = || {
        let (file, value) = version.own;
        ensure_eq!(fs::read_to_string(child.join(file))?.trim(), value, "{file} of the child");
        let (file, line) = version.shown;
        wait_until(env.shared.limit, "a frozen child", || {
            let text = fs::read_to_string(child.join(file))?;
            Ok(text.lines().any(|one| one == line).then_some(()))
        })
    };
    stays_frozen()?;
    ensure_eq!(env.status(id)?, "running", "status with the child alone frozen");
    for _ in 0..2 {
        env.verb("pause", id).ok()?;
        ensure_eq!(env.status(id)?, "paused", "status");
        stays_frozen()?;
        env.verb("resume", id).ok()?;
        ensure_eq!(env.status(id)?, "running", "status once resumed");
        stays_frozen()?;
    }
    fs::write(child.join(version.file), version.off)?;
    env.exec(id, &[], &["true"]).ok().map(drop)
}
