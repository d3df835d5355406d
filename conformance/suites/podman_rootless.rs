//! podman as a user without privileges calls it, with the runtime under test: the runtime is then
//! root of podman's user namespace. Storage, state and image are the case's own.

use super::asked::Client;
use super::podman::Podman;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::delegated::Delegated;
use crate::env::Env;
use crate::user::{SUBORDINATE, UID};
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];
const PODMAN: &[Need] =
    &[Need::Command("podman"), Need::Command("conmon"), Need::Command("newuidmap")];
const NATIVE: &[Need] =
    &[Need::Native, Need::Command("podman"), Need::Command("conmon"), Need::Command("newuidmap")];
const V2: &[Need] = &[
    Need::Native,
    Need::V2,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("newuidmap"),
];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    Case::new("podman-user/run", run).needs(PODMAN).not_on(CRUN),
    Case::new("podman-user/errors", errors).needs(NATIVE).not_on(CRUN),
    Case::new("podman-user/joins-a-container", joins).needs(NATIVE).not_on(CRUN),
    Case::new("podman-user/pause-in-a-delegated-cgroup", pause).needs(V2).not_on(CRUN),
];

fn run(env: &mut Env) -> Outcome {
    let podman = Podman::of_user(env, None)?;
    let script = "id -u; cat /proc/self/uid_map; echo gone > /dev/null; exit 7";
    let output = podman.run(&["--rm"], &["sh", "-c", script]).exits(7)?;
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    let (uid, subordinate) = (UID.to_string(), SUBORDINATE.to_string());
    ensure_eq!(words, ["0", "0", &uid, "1", "1", &subordinate, "65536"], "ids");
    let output = podman.run(&["--rm", "--user", "33:44"], &["sh", "-c", "id -u; id -g"]).ok()?;
    ensure_eq!(output.stdout, "33\n44\n", "user");
    podman.end()
}

fn errors(env: &mut Env) -> Outcome {
    let podman = Podman::of_user(env, None)?;
    let output = podman.run(&["--rm"], &["/no/such/program"]).exits(127)?;
    ensure!(output.stderr.contains("no such file or directory"), "{output}");
    podman.run(&["--rm"], &["/etc"]).exits(126)?;
    podman.end()
}

fn joins(env: &mut Env) -> Outcome {
    let podman = Podman::of_user(env, None)?;
    podman.run(&["-d", "--name", "a"], &["sleep", "1000"]).ok()?;
    let own = ["sh", "-c", "readlink /proc/self/ns/ipc /proc/self/ns/net; cat /proc/1/comm"];
    let first = podman.call(&[&["exec", "a"], &own[..]].concat()).ok()?;
    let flags =
        ["--rm", "--network", "container:a", "--ipc", "container:a", "--pid", "container:a"];
    let second = podman.call(&[&["run"], &flags[..], &["box"], &own[..]].concat()).ok()?;
    ensure_eq!(second.stdout, first.stdout, "namespaces");
    podman.end()
}

fn pause(env: &mut Env) -> Outcome {
    let delegated = Delegated::new(&env.mark)?;
    let podman = Podman::of_user(env, Some(delegated))?;
    podman.run(&["-d", "--name", "a"], &["sleep", "1000"]).ok()?;
    let status = || -> Result<String, Failure> {
        let output = podman.call(&["inspect", "--format", "{{.State.Status}}", "a"]).ok()?;
        Ok(output.stdout.trim().to_owned())
    };
    podman.call(&["pause", "a"]).ok()?;
    ensure_eq!(status()?, "paused", "status");
    podman.call(&["unpause", "a"]).ok()?;
    ensure_eq!(status()?, "running", "status");
    podman.end()
}
