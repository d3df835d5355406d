//! podman's flags whose limits only root's engine, or a machine with AppArmor, can set.

use super::asked::Client;
use super::podman::Podman;
use crate::case::{Case, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const PODMAN: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const APPARMOR: &[Need] = &[
    Need::AppArmor,
    Need::Controllers,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("apparmor_parser"),
];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    case("podman/devices", devices),
    Case::new("podman/apparmor-profiles", apparmor).needs(APPARMOR).not_on(CRUN),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome) -> Case {
    Case::new(name, run).needs(PODMAN).not_on(CRUN)
}

fn devices(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let flags = ["--rm", "--device", "/dev/fuse:/dev/x:r"];
    let script = "true </dev/x && echo read; true >/dev/x || echo refused";
    let output = podman.run(&flags, &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "read\nrefused\n", "a device to be read only");
    // A device node of the container's own is of no use without a rule.
    let script = "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg";
    let output = podman.run(&["--rm", "--cap-add", "mknod"], &["sh", "-c", script]).output()?;
    ensure!(output.stderr.contains("Operation not permitted"), "{output}");
    podman.end()
}

fn apparmor(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.run(&["-d", "--name", "one"], &["sleep", "1000"]).ok()?;
    let output = podman.call(&["exec", "one", "cat", "/proc/1/attr/current"]).ok()?;
    let confined = |text: &str| text.starts_with("containers-default-");
    ensure!(confined(&output.stdout) && output.stdout.contains("(enforce)"), "{output}");
    let output = podman.call(&["exec", "one", "cat", "/proc/self/attr/current"]).ok()?;
    ensure!(confined(&output.stdout), "{output}");
    let flags = ["--rm", "--security-opt", "apparmor=unconfined"];
    let output = podman.run(&flags, &["cat", "/proc/self/attr/current"]).ok()?;
    ensure_eq!(output.stdout.trim_end_matches(['\n', '\0']), "unconfined", "the profile");
    podman.end()
}
