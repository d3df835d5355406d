//! Tells the compiler which commit it builds, for `--version`, and the linker where the program starts.

// How a build script speaks to cargo.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=GHOST_RUNC_COMMIT");
    println!("cargo::rerun-if-changed=order");
    // A packager without the repository may give it.
    let given = std::env::var("GHOST_RUNC_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=GHOST_RUNC_COMMIT={commit}");
    // runtime/sys/src/entry.rs, which goes on to the C library's start.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=ghost_runc_entry");
    }
}

/// The commit that is checked out, unless the repository is somebody else's around our sources.
fn from_git() -> Option<String> {
    let text = git(&["--show-prefix", "HEAD", "--git-path", "logs/HEAD"])?;
    let [prefix, commit, log] = text.lines().collect::<Vec<_>>().try_into().ok()?;
    if prefix != "runtime/ghost-runc/" {
        return None;
    }
    // It gets a line with every commit and every checkout.
    if Path::new(log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    Some(commit.to_owned())
}

/// What `git rev-parse` says; a checkout may belong to another user than the one who builds.
fn git(questions: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*", "rev-parse"]).args(questions);
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
