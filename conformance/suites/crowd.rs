//! Many containers of one engine at once: started, called into, stopped and removed, several at a time.

use super::asked::Client;
use super::containerd::Containerd;
use super::podman::Podman;
use super::{engine, image};
use crate::call::{Call, Running, wait_until};
use crate::case::{Case, Need, Outcome, Peer};
use crate::ensure_eq;
use crate::env::Env;

const PODMAN: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const CONTAINERD: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("containerd"), Need::Command("ctr")];
const ONCE: &[(Peer, &str)] = &[
    (Peer::Crun, "runc is the check of the engine's cases"),
    (Peer::Runc, "it takes a minute, and the engine's other cases check runc"),
];

/// The cases of this part.
pub const CASES: &[Case] = &[
    Case::new("podman/crowd", podman).needs(PODMAN).not_on(ONCE),
    Case::new("containerd/crowd", containerd).needs(CONTAINERD).not_on(ONCE),
];

const CROWD: usize = 200;
/// Of the calls that run at once.
const AT_ONCE: usize = 8;

fn names() -> Vec<String> {
    (0..CROWD).map(|number| format!("c{number}")).collect()
}

/// Make a call for each name, several at once; all must exit with `code`.
fn each(names: &[String], code: i32, call: impl Fn(&str) -> Call) -> Outcome {
    for some in names.chunks(AT_ONCE) {
        let running = some.iter().map(|name| call(name).spawn()).collect::<Result<Vec<_>, _>>()?;
        for output in running.into_iter().map(Running::wait) {
            output?.expect_code(code)?;
        }
    }
    Ok(())
}

/// How many processes of the containers there are.
fn running() -> usize {
    engine::processes_with(&["sleep 1234"]).len()
}

fn podman(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.replace_image(&image::small_layer(env)?)?;
    let (names, limit) = (names(), env.shared.limit * 6);
    each(&names, 0, |name| podman.run(&["-d", "--name", name], &["sleep", "1234"]))?;
    ensure_eq!(podman.call(&["ps", "-q"]).ok()?.stdout.lines().count(), CROWD, "running ones");
    ensure_eq!(running(), CROWD, "processes");
    each(&names, 7, |name| podman.call(&["exec", name, "sh", "-c", "exit 7"]))?;
    podman.call(&["stop", "-t", "0", "-a"]).limit(limit).ok()?;
    let format = ["ps", "-a", "--format", "{{.Status}}"];
    let output = podman.call(&format).ok()?;
    let stopped = output.stdout.lines().filter(|line| line.starts_with("Exited (137)")).count();
    ensure_eq!((stopped, running()), (CROWD, 0), "stopped ones, and processes");
    podman.call(&["rm", "-a"]).limit(limit).ok()?;
    podman.end()?;
    env.nothing_left()
}

fn containerd(env: &mut Env) -> Outcome {
    let containerd = Containerd::with_layer(env, &image::small_layer(env)?)?;
    let names = names();
    each(&names, 0, |name| containerd.run(&["-d", "--null-io"], name, &["sleep", "1234"]))?;
    ensure_eq!(running(), CROWD, "processes");
    // Not what it prints: ctr, when it ends, may leave that in the pipe.
    each(&names, 7, |name| containerd.exec(&[], name, &["sh", "-c", "exit 7"]))?;
    each(&names, 0, |name| containerd.ctr(&["tasks", "kill", "--signal", "KILL", name]))?;
    wait_until(env.shared.limit, "all to be stopped", || {
        crate::leaks::reap();
        let list = containerd.ctr(&["tasks", "ls"]).ok()?.stdout;
        let stopped = list.lines().filter(|line| line.ends_with("STOPPED")).count();
        Ok((stopped == CROWD && running() == 0).then_some(()))
    })?;
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for part in all.chunks(20) {
        // The exit code is that of a container.
        containerd.ctr(&[&["tasks", "rm"], part].concat()).output()?;
        containerd.ctr(&[&["containers", "rm"], part].concat()).ok()?;
    }
    ensure_eq!(containerd.ctr(&["tasks", "ls", "-q"]).ok()?.stdout, "", "tasks");
    containerd.end()?;
    env.nothing_left()
}
