//! process.apparmorProfile and process.selinuxLabel.

use std::fs;

use serde_json::{Value, json};

use super::kernel::OURS;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::shim::{was_asked_for, without_file};
use crate::{ensure, ensure_eq};

const APPARMOR: &[Need] = &[Need::AppArmor, Need::Command("apparmor_parser")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("security/apparmor-profile-of-init-and-exec", apparmor).needs(APPARMOR),
    Case::new("security/apparmor-profile-of-exec-alone", apparmor_exec).needs(APPARMOR),
    Case::new("kernel/goes-without-apparmors-own-file", no_own_file)
        .needs(&[Need::AppArmor, Need::Command("apparmor_parser"), Need::Command("strace")])
        .not_on(OURS),
    Case::new("security/apparmor-profile-without-apparmor", no_apparmor)
        .needs(&[Need::NoAppArmor])
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("security/selinux-label-without-selinux", no_selinux)
        .needs(&[Need::NoSelinux])
        .not_on(&[(Peer::Crun, "crun ignores it")]),
    Case::new("security/selinux-label-of-init-and-exec", selinux).needs(&[Need::Selinux]),
];

/// A profile that allows all but the file /tmp/secret, in the kernel while this lives.
struct Profile<'a> {
    env: &'a Env<'a>,
    name: String,
    file: String,
}

impl<'a> Profile<'a> {
    fn load(env: &'a Env<'a>, name: &str) -> Result<Self, Failure> {
        let name = env.id(name);
        let file = env.dir.join(&name);
        fs::write(
            &file,
            format!(
                "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  \
                 mount,\n  umount,\n  signal,\n  ptrace,\n  unix,\n  network,\n  deny /tmp/secret rw,\n}}\n"
            ),
        )?;
        let file = file.to_string_lossy().into_owned();
        env.command(&["apparmor_parser", "--replace", "--skip-cache", &file]).ok()?;
        Ok(Self { env, name, file })
    }

    fn enforced(&self) -> String {
        format!("{} (enforce)", self.name)
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        // The next case has profiles of other names.
        drop(self.env.command(&["apparmor_parser", "--remove", &self.file]).ok());
    }
}

fn apparmor(env: &mut Env) -> Outcome {
    let profile = Profile::load(env, "profile")?;
    for no_new_privileges in [true, false] {
        let mut bundle = env.bundle()?;
        fs::write(bundle.rootfs().join("tmp/secret"), "secret\n")?;
        bundle.set("/process/apparmorProfile", json!(profile.name))?;
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges))?;
        ensure_eq!(env.probe(&mut bundle)?["apparmor"], profile.enforced(), "profile of init");
        bundle.args(&["cat", "/tmp/secret"]);
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("denied"), "it takes no effect: {output}");
        bundle.args(&["sleep", "1000"]);
        let id = env.detach(&bundle, &format!("d{no_new_privileges}"), &[])?;
        ensure_eq!(env.exec_probe(&id, &[])?["apparmor"], profile.enforced(), "profile of exec");
        env.exec(&id, &[], &["cat", "/tmp/secret"]).exits(1)?;
    }
    env.delete_all()
}

fn apparmor_exec(env: &mut Env) -> Outcome {
    let profile = Profile::load(env, "exec")?;
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    ensure_eq!(env.exec_probe(&id, &[])?["apparmor"], "unconfined", "without one");
    let report = env.exec_probe(&id, &["--apparmor", &profile.name])?;
    ensure_eq!(report["apparmor"], profile.enforced(), "with one");
    let output = env.exec(&id, &["--apparmor", "no-such-profile"], &["true"]).exits(255)?;
    ensure!(output.stderr.contains("no-such-profile"), "{output}");
    env.delete_all()
}

/// /proc/self/attr/apparmor, Linux 5.8.
fn no_own_file(env: &mut Env) -> Outcome {
    let profile = Profile::load(env, "older")?;
    let mut bundle = env.bundle()?;
    bundle.args(&["/bin/probe"]).set("/process/apparmorProfile", json!(profile.name))?;
    let output = without_file(env, env.run(&bundle)?, "self/attr/apparmor/exec").ok()?;
    ensure!(was_asked_for(env), "the file was not opened");
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure_eq!(report["apparmor"], profile.enforced(), "profile of init");
    Ok(())
}

fn no_apparmor(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/process/apparmorProfile", json!("some-profile"))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("apparmor"), "{output}");
    if env.is(Peer::Ghost) {
        ensure!(output.stderr.contains("process.apparmorProfile"), "{output}");
        ensure!(output.stderr.contains("some-profile"), "{output}");
    }
    env.nothing_left()?;
    bundle.set("/process/apparmorProfile", json!(""))?;
    env.run(&bundle)?.ok()?;
    Ok(())
}

const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";

fn no_selinux(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/process/selinuxLabel", json!(LABEL))?;
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.contains("selinux"), "{output}");
    if env.is(Peer::Ghost) {
        ensure!(output.stderr.contains("process.selinuxLabel"), "{output}");
        ensure!(output.stderr.contains(LABEL), "{output}");
    }
    env.nothing_left()?;
    // None is asked for: an empty label says so too.
    bundle.set("/process/selinuxLabel", json!(""))?;
    env.run(&bundle)?.ok()?;
    if env.is(Peer::Ghost) {
        let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
        let output = env.exec(&id, &["--process-label", LABEL], &["true"]).exits(255)?;
        ensure!(output.stderr.contains(LABEL), "{output}");
    }
    Ok(())
}

fn selinux(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/selinuxLabel", json!(LABEL))?;
    // /proc/self/attr/current is the label of whatever module is there.
    let label = |report: &Value| report["apparmor"].as_str().unwrap_or_default().to_owned();
    ensure_eq!(label(&env.probe(&mut bundle)?), LABEL, "of init");
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    ensure_eq!(label(&env.exec_probe(&id, &[])?), LABEL, "of exec");
    Ok(())
}
