//! What the caller's environment has, and what it lacks.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::case::{Case, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun has other defaults, and needs a variable")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("environment/every-command-without-a-path", no_path).not_on(CRUN),
    Case::new("environment/runtime-directory-and-sticky-bit", sticky).not_on(CRUN),
];

/// podman's own calls have XDG_RUNTIME_DIR and nothing else, and CRI-O's may have nothing.
fn no_path(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let spec = env.dir.join("spec");
    fs::create_dir(&spec)?;
    let spec = spec.to_string_lossy().into_owned();
    let mut short = env.bundle()?;
    short.shell("exit 5");
    short.save()?;
    let short = short.dir.to_string_lossy().into_owned();
    let id = env.id("e");
    env.adopt(&id);
    for (code, words) in [
        (0, &["run", "--detach", "--bundle", &dir, &id][..]),
        (0, &["delete", "--force", &id]),
        (0, &["create", "--bundle", &dir, &id]),
        (0, &["start", &id]),
        (0, &["state", &id]),
        (0, &["list"]),
        (0, &["ps", "--format", "json", &id]),
        // The program is looked for in the container's PATH.
        (6, &["exec", &id, "sh", "-c", "exit 6"]),
        (0, &["pause", &id]),
        (0, &["resume", &id]),
        (0, &["update", &id]),
        (0, &["events", "--stats", &id]),
        (0, &["kill", &id, "KILL"]),
        (0, &["delete", "--force", &id]),
        (5, &["run", "--bundle", &short, &id]),
        (0, &["spec", "--bundle", &spec]),
        (0, &["features"]),
        (0, &["--version"]),
        (0, &["--help"]),
    ] {
        let output = env.runtime(words).clear_env().exits(code)?;
        ensure_eq!(output.stderr, "", "stderr of {output}");
    }
    env.nothing_left()
}

fn sticky(env: &mut Env) -> Outcome {
    let name = if env.is(Peer::Ghost) { "ghost-runc" } else { "runc" };
    let xdg = env.dir.join("xdg");
    fs::create_dir(&xdg)?;
    let root = xdg.join(name);
    let list = |user: &str, wrapper: &[&str]| {
        let call = env.bare_runtime(&["list", "-q"]).env("XDG_RUNTIME_DIR", &xdg).env("USER", user);
        if wrapper.is_empty() { call } else { call.under(wrapper) }
    };
    let mapped = ["unshare", "--user", "--map-root-user"];
    // Not for root, and not for one who calls itself so.
    list("someone", &[]).ok()?;
    ensure!(!root.exists(), "root's state is in the runtime directory");
    list("root", &mapped).output()?;
    ensure!(!root.exists(), "state of a root by name is in the runtime directory");
    let mode = || fs::metadata(&root).map(|data| data.permissions().mode() & 0o7777);
    list("someone", &mapped).ok()?;
    ensure_eq!(mode()?, 0o1700, "mode of {}", root.display());
    // Whoever made it before, nobody is to tidy it up.
    fs::set_permissions(&root, Permissions::from_mode(0o750))?;
    list("someone", &mapped).ok()?;
    ensure_eq!(mode()?, 0o1700, "mode of one that was there");
    Ok(())
}
