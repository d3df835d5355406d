//! A health check by systemd's timer, with nobody who calls for it.

use std::fs;

use crate::call::wait_until;
use crate::case::{Failure, Outcome};
use crate::suites::asked::Client;
use crate::suites::podman::Podman;
use crate::{ensure, user};

/// The manager whose timer it is starts podman without the case's flags, so this tells it where the
/// storage is.
struct Told<'a, 'b> {
    podman: &'a Podman<'b>,
}

const NAMES: [(&str, &str); 2] =
    [("CONTAINERS_CONF", "health.conf"), ("CONTAINERS_STORAGE_CONF", "health-storage.conf")];

impl<'a, 'b> Told<'a, 'b> {
    fn new(podman: &'a Podman<'b>) -> Result<Self, Failure> {
        let path = |name: &str| podman.dir.join(name).to_string_lossy().into_owned();
        let engine = format!(
            "[engine]\ntmp_dir = {:?}\ncgroup_manager = \"systemd\"\nevents_logger = \"file\"\n",
            path("tmp"),
        );
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = {:?}\ngraphroot = {:?}\n\
             rootless_storage_path = {1:?}\n",
            path("run"),
            path("root"),
        );
        for ((_, name), text) in NAMES.iter().zip([engine, storage]) {
            fs::write(path(name), text)?;
            user::own_tree(path(name).as_ref())?;
        }
        let told = Self { podman };
        let words = NAMES.map(|(variable, name)| format!("{variable}={}", path(name)));
        let words = words.each_ref().map(String::as_str);
        told.systemctl(&[&["set-environment"], &words[..]].concat())?;
        Ok(told)
    }

    fn systemctl(&self, words: &[&str]) -> Result<String, Failure> {
        let env = self.podman.env();
        let own: &[&str] =
            if env.user.is_some() { &["systemctl", "--user"] } else { &["systemctl"] };
        let call = env.command(&[own, words].concat());
        let call = env.user.iter().fold(call, |call, user| user.call(call));
        Ok(call.ok()?.stdout)
    }
}

impl Drop for Told<'_, '_> {
    fn drop(&mut self) {
        // The machine is thrown away.
        let _ = self.systemctl(&["unset-environment", NAMES[0].0, NAMES[1].0]);
    }
}

pub fn health(podman: Podman) -> Outcome {
    let told = Told::new(&podman)?;
    let volume = podman.volume("/data")?;
    let flags = ["-d", "--name", "a", "-v", &volume, "--health-cmd", "test -e /data/well"];
    let flags = [&flags[..], &["--health-interval", "1s", "--health-retries", "1"]].concat();
    podman.run(&flags, &["sleep", "1000"]).ok()?;
    let id = podman.inspect("a", "{{.Id}}")?;
    let units = || told.systemctl(&["list-units", "--all", "--no-legend", &format!("{id}*")]);
    ensure!(units()?.contains(".timer"), "no timer of the container: {}", units()?);
    let wait_for = |status: &str| {
        wait_until(podman.env().shared.limit, &format!("the container to be {status}"), || {
            Ok((podman.inspect("a", "{{.State.Health.Status}}")? == status).then_some(()))
        })
    };
    wait_for("unhealthy")?;
    fs::write(podman.env().dir.join("data/well"), "")?;
    wait_for("healthy")?;
    podman.call(&["rm", "-f", "-t", "0", "a"]).ok()?;
    ensure!(!units()?.contains(".timer"), "the timer of a container that is gone: {}", units()?);
    // A check that ran as the container went has failed, and systemd tells of it until asked not to.
    wait_until(podman.env().shared.limit, "the last check to end", || {
        told.systemctl(&["reset-failed"])?;
        Ok(units()?.is_empty().then_some(()))
    })?;
    drop(told);
    podman.end()
}
