//! podman as a user without privileges calls it, with the runtime under test: the runtime is then
//! root of podman's user namespace. Storage, state and image are the case's own.

use std::fs;

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
    Case::new("podman-user/keep-id-and-a-volume", keep_id).needs(NATIVE).not_on(CRUN),
    Case::new("podman-user/ids-that-podman-chooses", auto).needs(NATIVE).not_on(CRUN),
    Case::new("podman-user/build", build).needs(NATIVE).not_on(CRUN),
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

fn keep_id(env: &mut Env) -> Outcome {
    let podman = Podman::of_user(env, None)?;
    let volume = podman.dir.join("volume");
    fs::create_dir(&volume)?;
    crate::user::own_tree(&volume)?;
    let flag = format!("{}:/mnt", volume.display());
    // Here the container has a user namespace of its own, inside of podman's.
    let flags = ["--rm", "--userns", "keep-id", "-v", &flag];
    let output = podman.run(&flags, &["sh", "-c", "id -u; echo kept > /mnt/file"]).ok()?;
    ensure_eq!(output.stdout, format!("{UID}\n"), "user");
    ensure_eq!(fs::read_to_string(volume.join("file"))?, "kept\n", "file");
    podman.end()
}

fn auto(env: &mut Env) -> Outcome {
    let podman = Podman::of_user(env, None)?;
    let map = |name: &str| -> Result<Vec<u32>, Failure> {
        let flags = ["-d", "--name", name, "--userns", "auto:size=500"];
        podman.run(&flags, &["sleep", "1000"]).ok()?;
        let output = podman.call(&["exec", name, "cat", "/proc/self/uid_map"]).ok()?;
        Ok(output.stdout.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    };
    let (one, two) = (map("a")?, map("b")?);
    // Two containers have no id in common.
    ensure_eq!((one[0], one[2], two[0], two[2]), (0, 500, 0, 500), "{one:?} {two:?}");
    ensure!(one[1].abs_diff(two[1]) >= 500, "{one:?} {two:?}");
    podman.end()
}

fn build(env: &mut Env) -> Outcome {
    let podman = Podman::of_user(env, None)?;
    let context = podman.dir.join("context");
    fs::create_dir(&context)?;
    let lines = "FROM box\nRUN echo built >/file && id -u >>/file && chmod 777 /mnt\n\
                 USER 5\nRUN id -u >/mnt/user\nCMD cat /file /mnt/user\n";
    fs::write(context.join("Containerfile"), lines)?;
    crate::user::own_tree(&context)?;
    let folder = context.to_string_lossy().into_owned();
    podman.call(&["build", "--network", "none", "-t", "built", &folder]).ok()?;
    let output = podman.call(&["run", "--rm", "--network", "none", "built"]).ok()?;
    ensure_eq!(output.stdout, "built\n0\n5\n", "what was built");
    fs::write(context.join("Containerfile"), "FROM box\nRUN [\"nosuch\"]\n")?;
    let output = podman.call(&["build", "--network", "none", &folder]).output()?;
    let told = format!("from {} creating container", podman.runtime.as_deref().unwrap_or_default());
    ensure!(output.code() != 0 && output.stderr.contains(&told), "{output}");
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
