//! `check` on a host that lacks something, and on one that is under attack.

use std::fs;

use serde_json::{Value, json};

use super::kernel::{NEEDED, remark};
use super::security::{by_copy, copied_runtime, hash, persistent};
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::shim::without;
use crate::{ensure, ensure_eq};

const GHOST: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc has no such command"),
    (Peer::Crun, "ghost only: crun has no such command"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("check/kernel-that-is-too-old", old_kernel).not_on(GHOST),
    Case::new("check/namespace-that-is-turned-off", no_namespace).not_on(GHOST),
    Case::new("check/mounts-of-others", foreign_mounts).not_on(GHOST),
    Case::new("check/cve-2019-5736-overwrite-during-the-trial", overwrite).not_on(GHOST),
];

/// Every call that `create` can't do without is told by name, and fails.
fn old_kernel(env: &mut Env) -> Outcome {
    let bundle = env.bundle()?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for (name, number, since) in NEEDED {
        let call = env.runtime(&["check", "-f", "json", "-b", &dir]);
        let output = without(env, call, &format!("{number}=38")).exits(1)?;
        // What the guard of the runtime's own binary lacks is an error of any command.
        let told = format!("{}{}", output.stdout, output.stderr);
        ensure!(told.contains(&remark(name, since)), "{name}: {output}");
        if output.stderr.is_empty() {
            let findings: Vec<Value> = serde_json::from_str(&output.stdout)?;
            ensure!(findings.iter().all(|one| one["kind"] == "host"), "{name}: {findings:?}");
        }
        env.nothing_left()?;
    }
    Ok(())
}

/// As user.max_net_namespaces and its kin do it.
fn no_namespace(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    // One id is mapped: the group of terminals is not.
    for mount in bundle.config["mounts"].as_array_mut().into_iter().flatten() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    bundle.args(&["/bin/true"]).save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let limited = |words: &[&str], sysctl: &str, limit: u32, code: i32| {
        let script = format!("echo {limit} > /proc/sys/user/{sysctl} && exec \"$@\"");
        let wrapper =
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
        env.runtime(words).under(&wrapper).exits(code)
    };
    let check = ["check", "-f", "json", "-b", &dir];
    for kind in ["net", "pid", "ipc", "uts"] {
        let sysctl = format!("max_{kind}_namespaces");
        limited(&check, &sysctl, 100, 0)?;
        let output = limited(&check, &sysctl, 0, 1)?;
        let findings: Vec<Value> = serde_json::from_str(&output.stdout)?;
        let finding = findings.iter().find(|finding| finding["path"] == "linux.namespaces");
        let finding = finding.ok_or_else(|| Failure(format!("{sysctl}: {findings:?}")))?;
        ensure_eq!(finding["kind"], json!("host"), "kind");
        let why = format!("no space left on device (user.{sysctl} is 0)");
        let message = finding["message"].as_str().unwrap_or_default();
        ensure!(message.contains(&why), "no {why:?} in {finding}");
        let output = limited(&["create", "-b", &dir, &env.id("c")], &sysctl, 0, 1)?;
        ensure!(output.stderr.contains(&why), "no {why:?} in {output}");
    }
    env.nothing_left()
}

/// Root of a user namespace that is in the host's mount namespace may not copy the rootfs.
fn foreign_mounts(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/true"])?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for words in [&["check", "-b", &dir][..], &["create", "-b", &dir, &env.id("c")]] {
        let call = env.runtime(words).under(&["unshare", "--user", "--map-root-user"]);
        let output = call.exits(1)?;
        let told = format!("{}{}", output.stdout, output.stderr);
        ensure!(told.contains("root.path: ") && told.contains("operation not permitted"), "{told}");
    }
    env.nothing_left()
}

/// The trial's init, in the process table of a container that overwrites every binary it sees.
fn overwrite(env: &mut Env) -> Outcome {
    let copy = copied_runtime(env)?;
    let before = hash(&copy)?;
    let mut attacker = env.bundle()?;
    attacker.writable();
    attacker.capabilities(
        &["bounding", "effective", "permitted"],
        &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"],
    );
    attacker.args(&["/bin/probe", "overwrite"]);
    let id = env.detach(&attacker, "attacker", &[])?;
    env.wait_file(&attacker.rootfs().join("ready"))?;
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("pid")?;
    bundle.namespace("pid", Some(&format!("/proc/{}/ns/pid", env.pid(&id)?)))?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for _ in 0..40 {
        persistent(|| by_copy(env, &copy, &["check", "-b", &dir]).ok())?;
    }
    let seen = fs::read_to_string(attacker.rootfs().join("seen"))?;
    ensure!(seen.contains("saw"), "the attack has seen nothing");
    ensure!(!seen.contains("wrote"), "a binary outside could be written: {seen}");
    ensure!(hash(&copy)? == before, "the runtime's binary was overwritten: {seen}");
    Ok(())
}
