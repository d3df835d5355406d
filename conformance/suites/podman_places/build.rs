//! The manual's build, whose steps the runtime runs.

use std::fs;

use crate::case::Outcome;
use crate::suites::asked::Client;
use crate::suites::podman::Podman;
use crate::suites::{engine, manual};
use crate::{ensure, ensure_eq, user};

pub fn build(podman: Podman) -> Outcome {
    let env = podman.env();
    let context = podman.dir.join("context");
    fs::create_dir(&context)?;
    let lines = "FROM box\nRUN echo built >/file && id -u >>/file && chmod 777 /mnt\n\
                 USER 5\nRUN id -u >/mnt/user\nCMD cat /file /mnt/user\n";
    fs::write(context.join("Containerfile"), lines)?;
    if env.user.is_some() {
        user::own_tree(&context)?;
    }
    // The manual's command, of which the call has the first part.
    let more = format!(" --network none --layers=false -t built {}\n", context.display());
    let words = manual::command(env, "podman-build", &[(" .\n", &more)])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = env.shared.runtime.to_string_lossy();
    ensure_eq!(words[..3], ["podman", "--runtime", &runtime], "engines.md: the command");
    podman.call(&words[3..]).ok()?;
    let parent = podman.parent();
    let parent: Vec<&str> = parent.iter().map(String::as_str).collect();
    let run = [&["run", "--rm", "--network", "none"], &parent[..], &["built"]].concat();
    ensure_eq!(podman.call(&run).ok()?.stdout, "built\n0\n5\n", "what was built");
    fs::write(context.join("Containerfile"), "FROM box\nRUN [\"nosuch\"]\n")?;
    let output = podman.call(&words[3..]).output()?;
    let told = format!("from {} creating container", podman.runtime.as_deref().unwrap_or_default());
    ensure!(output.code() != 0 && output.stderr.contains(&told), "{output}");
    let left = engine::groups_of(env, "buildah");
    ensure!(left.is_empty(), "cgroups of steps: {left:?}");
    podman.end()
}
