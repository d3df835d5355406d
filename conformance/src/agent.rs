//! A seccomp agent beside the runtime, and what it was told.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use crate::call::Running;
use crate::case::Failure;
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// A running agent, ended when dropped.
pub struct Agent {
    /// Where it listens.
    pub path: PathBuf,
    process: Running,
}

impl Agent {
    /// Starts one that gives these answers, `NUMBER=ERRNO` or `NUMBER=:RESULT`, and lets all else pass.
    pub fn start(env: &Env, answers: &[&str]) -> Result<Self, Failure> {
        let path = env.dir.join("agent.sock");
        let program = env.shared.probe.with_file_name("agent");
        let mut words = vec![program.into_os_string(), path.clone().into_os_string()];
        words.extend(answers.iter().map(OsString::from));
        let process = env.command(&words).spawn()?;
        process.wait_for_stdout("ready")?;
        Ok(Self { path, process })
    }

    /// The process states that it got so far, each of which must have come with one descriptor.
    pub fn states(&self) -> Result<Vec<Value>, Failure> {
        let text = self.process.stdout()?;
        let mut states = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("state ")) {
            let (fds, state) = line.split_once(' ').unwrap_or_default();
            ensure_eq!(fds, "1", "descriptors");
            states.push(serde_json::from_str(state)?);
        }
        Ok(states)
    }

    /// How many connections ended. Nothing may have come over them but the states.
    pub fn ended(&self) -> Result<usize, Failure> {
        let text = self.process.stdout()?;
        ensure!(!text.contains("more "), "bytes after the state: {text}");
        Ok(text.lines().filter(|line| *line == "closed").count())
    }

    /// How often it was asked about this system call.
    pub fn asked(&self, number: u32) -> Result<usize, Failure> {
        let line = format!("call {number}");
        Ok(self.process.stdout()?.lines().filter(|found| *found == line).count())
    }
}
