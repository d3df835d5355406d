//! One command with a hard time limit: its output goes to files, because a container that outlives
//! the command would hold a pipe open.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::case::Failure;
use crate::leaks;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The children whose exit status a [`Running`] will collect.
static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Is this process one of the runner's own, not yet collected?
pub fn is_child(pid: u32) -> bool {
    children().contains(&pid)
}

fn children() -> MutexGuard<'static, BTreeSet<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a wait looks again.
pub const TICK: Duration = Duration::from_millis(2);

/// How often a wait collects orphans.
const TICKS_PER_REAP: u32 = 10;

/// A command to be run.
pub struct Call {
    command: Command,
    words: Vec<OsString>,
    scratch: PathBuf,
    limit: Duration,
    terminal: bool,
}

/// What a command left.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub words: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All of stdout, lossily decoded.
    pub stdout: String,
    /// All of stderr, lossily decoded.
    pub stderr: String,
}

/// A command that runs in the background.
pub struct Running {
    /// The process; ended by its id when dropped.
    pub child: Child,
    words: String,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
}

impl Call {
    /// A call of `words` whose output files go to `scratch`.
    pub fn new<W: AsRef<OsStr>>(words: &[W], scratch: &Path, limit: Duration) -> Self {
        let words: Vec<OsString> = words.iter().map(|w| w.as_ref().to_owned()).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).current_dir(scratch);
        Self { command, words, scratch: scratch.to_owned(), limit, terminal: false }
    }

    /// Run it under another command, such as `prlimit --nofile=64:64`; variables and folder stay.
    pub fn under(self, wrapper: &[&str]) -> Self {
        let mut words: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        words.extend(self.words);
        let mut call = Self::new(&words, &self.scratch, self.limit);
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => call.command.env(name, value),
                None => call.command.env_remove(name),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            call.command.current_dir(dir);
        }
        call
    }

    /// Set a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Drop every inherited variable.
    pub fn clear_env(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Start in `dir`.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Another time limit.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Read stdin from `file`.
    pub fn stdin(mut self, file: impl Into<Stdio>) -> Self {
        self.command.stdin(file);
        self
    }

    /// Use a terminal's slave side as stdin, stdout and stderr, and as controlling terminal.
    pub fn on_terminal(self, slave: &OwnedFd) -> Result<Self, Failure> {
        let mut call = self.under(&["setsid", "--ctty"]);
        call.command.stdin(slave.try_clone()?);
        call.command.stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        call.terminal = true;
        Ok(call)
    }

    /// Start it.
    pub fn spawn(mut self) -> Result<Running, Failure> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (out, err) =
            (self.scratch.join(format!("out{number}")), self.scratch.join(format!("err{number}")));
        let (out_file, err_file) = (File::create(&out)?, File::create(&err)?);
        if !self.terminal {
            self.command.stdout(out_file).stderr(err_file);
        }
        let words = self.words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
        // Held while it starts, so that it is never taken for an orphan.
        let mut children = children();
        let child =
            self.command.spawn().map_err(|error| Failure(format!("spawn {words}: {error}")))?;
        children.insert(child.id());
        Ok(Running { child, words, out, err, limit: self.limit })
    }

    /// Run it to its end.
    pub fn output(self) -> Result<Output, Failure> {
        self.spawn()?.wait()
    }

    /// Run it; it must exit 0.
    pub fn ok(self) -> Result<Output, Failure> {
        self.exits(0)
    }

    /// Run it; it must exit with `code`.
    pub fn exits(self, code: i32) -> Result<Output, Failure> {
        let output = self.output()?;
        output.expect_code(code)?;
        Ok(output)
    }
}

impl Output {
    /// What it printed, as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.stdout).map_err(|e| Failure(format!("no JSON ({e}): {self}")))
    }

    /// The exit code, or 128 and the signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Fail unless the exit code is `code`.
    pub fn expect_code(&self, code: i32) -> Result<(), Failure> {
        if self.code() == code {
            return Ok(());
        }
        Err(Failure(format!("exit code {} not {code}: {self}", self.code())))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ({})", self.words, self.status)?;
        write!(f, "; stdout: {:?}; stderr: {:?}", tail(&self.stdout), tail(&self.stderr))
    }
}

fn tail(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(1500);
    text.chars().skip(skip).collect()
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Wait for its end, within its limit.
    pub fn wait(mut self) -> Result<Output, Failure> {
        let start = Instant::now();
        let mut ticks = 0;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Output {
                    words: self.words.clone(),
                    status,
                    stdout: read(&self.out)?,
                    stderr: read(&self.err)?,
                });
            }
            ticks += 1;
            if ticks % TICKS_PER_REAP == 0 {
                leaks::reap();
            }
            if start.elapsed() > self.limit {
                self.child.kill()?;
                self.child.wait()?;
                return Err(Failure(format!(
                    "`{}` still ran after {:?}; stdout: {:?}; stderr: {:?}",
                    self.words,
                    self.limit,
                    tail(&read(&self.out)?),
                    tail(&read(&self.err)?)
                )));
            }
            std::thread::sleep(TICK);
        }
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> Result<String, Failure> {
        read(&self.out)
    }

    /// The end of what it wrote to stderr so far.
    pub fn stderr_tail(&self) -> Result<String, Failure> {
        Ok(tail(&read(&self.err)?))
    }

    /// Wait until stdout contains `text`.
    pub fn wait_for_stdout(&self, text: &str) -> Result<(), Failure> {
        wait_until(self.limit, &format!("`{}` to print {text:?}", self.words), || {
            Ok(self.stdout()?.contains(text).then_some(()))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Failing means that it ended by itself just now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        children().remove(&self.child.id());
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// Poll `look` until it gives a value; fail when `limit` is over.
pub fn wait_until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            return Err(Failure(format!("waited {limit:?} in vain for {what}")));
        }
        std::thread::sleep(TICK);
    }
}
