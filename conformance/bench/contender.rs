//! The runtimes that are measured: those that are here, with what each needs to run here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options::Options;
use crate::view::View;
use crate::{Failure, timing};

/// The name of the kernel's floor among the contenders' samples.
pub const FLOOR: &str = "floor";
/// The runtime that all is about.
pub const OURS: &str = "ghost-runc";
/// The same file behind a mount that can't be written to, where CVE-2019-5736 needs no guard.
pub const READ_ONLY: &str = "ghost-runc, read-only";

/// The directory of all contenders' state.
pub const STATE: &str = "state";

/// A runtime.
pub struct Contender {
    /// Its name in the results.
    pub name: String,
    /// Variables of its environment.
    variables: Vec<(String, String)>,
    /// Program and first arguments.
    words: Vec<String>,
    /// Where it keeps its state.
    root: PathBuf,
}

impl Contender {
    /// A command of it.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = self.plain();
        command.arg("--root").arg(&self.root).args(words);
        command
    }

    /// The program alone.
    pub fn plain(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).envs(self.variables.iter().map(|(k, v)| (k, v)));
        command
    }

    /// The state directory of a container.
    pub fn state(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// Its program, where it takes no arguments and variables: an engine can call it then.
    pub fn program(&self) -> Option<&str> {
        let bare = self.words.len() == 1 && self.variables.is_empty();
        bare.then(|| self.words[0].as_str())
    }

    /// The first line of `--version`.
    pub fn version(&self) -> Result<String, Failure> {
        let text = timing::output(self.plain().arg("--version"))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// Names of runtimes that are left out, and why.
pub type Absent = Vec<(String, String)>;

/// Find the runtimes for `view`; those that can't work there are left out, with the reason.
pub fn find(
    options: &Options,
    view: View,
    scratch: &Path,
) -> Result<(Vec<Contender>, Absent), Failure> {
    let (mut found, mut absent) = (Vec::new(), Vec::new());
    for name in [OURS, "crun", "runc", "youki"] {
        let given = options.with.iter().find(|(other, _)| other == name);
        let command = match (given, name) {
            (Some((_, command)), _) => Ok(command.clone()),
            (None, OURS) => Ok("target/dist/ghost-runc".to_owned()),
            (None, "crun") if view == View::Host => Err("refuses the hybrid view"),
            (None, name) if !is_installed(name) => Err("not installed"),
            (None, "crun") => Ok(with_preload(scratch)?),
            (None, name) => Ok(name.to_owned()),
        };
        match command {
            Ok(command) => found.push(new(name, &command, scratch)?),
            Err(why) => absent.push((name.to_owned(), why.to_owned())),
        }
    }
    for (name, command) in &options.with {
        if !found.iter().any(|contender| &contender.name == name) {
            found.push(new(name, command, scratch)?);
        }
    }
    Ok((found, absent))
}

/// From `[VARIABLE=VALUE…] PROGRAM [ARGUMENT…]`.
pub fn new(name: &str, command: &str, scratch: &Path) -> Result<Contender, Failure> {
    let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let first = words.iter().position(|word| !word.contains('='));
    let first = first.ok_or_else(|| format!("{name}: no program in {command}"))?;
    let variables = words.drain(..first).filter_map(|word| {
        word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
    });
    let variables = variables.collect();
    if words[0].contains('/') {
        let real = Path::new(&words[0]).canonicalize();
        let real = real.map_err(|e| format!("{name}: {}: {e}", words[0]))?;
        words[0] = real.to_string_lossy().into_owned();
    }
    Ok(Contender { name: name.to_owned(), variables, words, root: scratch.join(STATE).join(name) })
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Debian's crun raises RLIMIT_MEMLOCK, which a sandbox's root may not.
fn with_preload(scratch: &Path) -> Result<String, Failure> {
    let (source, library) = (scratch.join("memlock.c"), scratch.join("memlock.so"));
    std::fs::write(&source, include_str!("../src/memlock.c"))?;
    let mut gcc = Command::new("gcc");
    timing::output(gcc.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl"))?;
    Ok(format!("LD_PRELOAD={} crun", library.display()))
}
