//! What can go wrong in the life of a container, in the words engines look for.

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::bundle::Bundle;

/// An error number in Go's words ("no such file or directory"), which engines search messages for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Os(pub Errno);

impl std::error::Error for Os {}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Errno::EIO => f.write_str("input/output error"),
            Errno::UnknownErrno => f.write_str("unknown error"),
            errno => {
                let text = errno.desc();
                // "RFS specific error" and the like keep their capitals.
                let lower = text.chars().nth(1).is_none_or(|c| !c.is_uppercase());
                let mut chars = text.chars();
                match chars.next() {
                    Some(first) if lower => write!(f, "{}{}", first.to_lowercase(), chars.as_str()),
                    _ => f.write_str(text),
                }
            }
        }
    }
}

impl From<std::io::Error> for Os {
    fn from(error: std::io::Error) -> Os {
        Os(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// What init or an exec'ed process could not do, as it reported it before it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitFailure {
    /// What was done to which object ("mount proc to /proc").
    pub step: String,
    /// Why it failed; none when `step` says all.
    pub errno: Option<Errno>,
}

impl fmt::Display for InitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        match self.errno {
            Some(errno) => write!(f, ": {}", Os(errno)),
            None => Ok(()),
        }
    }
}

impl From<(String, Errno)> for InitFailure {
    fn from((step, errno): (String, Errno)) -> InitFailure {
        InitFailure { step, errno: Some(errno) }
    }
}

impl From<(String, Errno)> for Error {
    fn from((step, errno): (String, Errno)) -> Error {
        Error::system(step, errno)
    }
}

/// A failed operation of the lifecycle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id has no state directory.
    #[error("container does not exist")]
    NotFound,
    /// The id has a state directory already.
    #[error("container with given ID already exists")]
    AlreadyExists,
    /// The container has no process, or not one in the needed state.
    #[error("container not running")]
    NotRunning,
    /// Another command changes the container, and does not come to its end.
    #[error("container {id} is busy: waited {seconds} s for its lock, which {holder} has")]
    Busy {
        /// The container.
        id: String,
        /// Who has it locked.
        holder: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Only a paused container can be resumed.
    #[error("container not paused")]
    NotPaused,
    /// The container's process has ended.
    #[error("cannot start a container that has stopped")]
    StartStopped,
    /// The container's process runs already.
    #[error("cannot start an already running container")]
    StartRunning,
    /// The container's process is frozen.
    #[error("cannot start a container in the paused state")]
    StartPaused,
    /// A bundle's directory has no config.json.
    #[error("JSON specification file {} not found", path.display())]
    NoConfig {
        /// Where it would be.
        path: PathBuf,
    },
    /// Only a stopped container can be deleted without force.
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// The container.
        id: String,
        /// Its status.
        status: &'static str,
    },
    /// No process can be started in a container without one.
    #[error("cannot exec in a stopped container")]
    ExecStopped,
    /// A process started in a paused container would not run.
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    ExecPaused,
    /// A process was started, but the cgroup that it is in is frozen.
    #[error(
        "exec: the process has not begun within {seconds} s: cgroup {} is frozen (use --ignore-paused to wait)",
        cgroup.display()
    )]
    ExecFrozen {
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The same, and the wait was ended by a signal to this process.
    #[error("exec: {signal} while the process had not begun: cgroup {} is frozen", cgroup.display())]
    ExecEnded {
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// Its name.
        signal: &'static str,
    },
    /// The same, where no cgroup is frozen: the process waits for something else.
    #[error(
        "exec: {signal} while the process had not begun: it was still waiting {seconds} s later, not for a frozen cgroup, and was killed"
    )]
    ExecStuck {
        /// Its name.
        signal: &'static str,
        /// How long it had after the signal.
        seconds: u64,
    },
    /// Without a cgroup, the container's processes are those of its pid namespace.
    #[error(
        "the container has neither a cgroup nor a pid namespace of its own to find its processes by"
    )]
    Uncounted,
    /// The id can't be one.
    #[error("invalid container ID format: {id:?}")]
    InvalidId {
        /// What was given.
        id: String,
    },
    /// config.json (or a process file) is not what the runtime-spec describes.
    #[error("{}:{line}:{column}: {field}{}{message}", path.display(), if field.is_empty() { "" } else { ": " })]
    Parse {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// Where in the document, such as `process.args[2]`; empty at the top.
        field: String,
        /// What is wrong there.
        message: String,
    },
    /// A value of config.json that can't take effect.
    #[error("{field}: {reason}")]
    Invalid {
        /// Its place in config.json, such as `process.cwd`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a value of config.json asks of the host, and the host does not have or does not grant.
    #[error("{field}: {step}")]
    Host {
        /// Its place in config.json.
        field: String,
        /// What was done to which object.
        step: String,
        /// Why it failed.
        #[source]
        source: Os,
    },
    /// Several of these at once.
    #[error("{}", list(.0))]
    Many(Vec<Violation>),
    /// A system call of the parent.
    #[error("{step}")]
    System {
        /// What was done to which object.
        step: String,
        /// Why it failed.
        #[source]
        source: Os,
    },
    /// The child reported a failure.
    #[error("unable to start container process: {0}")]
    Init(InitFailure),
    /// The child of `exec` reported a failure.
    #[error("{0}")]
    Exec(InitFailure),
    /// The child ended without a word: killed by the memory limit, usually, or by somebody.
    #[error("unable to start container process: container init ended during {step} ({how})")]
    InitEnded {
        /// The last thing the parent knows about.
        step: &'static str,
        /// Exit status or signal.
        how: String,
    },
    /// A hook failed.
    #[error("{kind} hook #{index} ({}): {reason}", path.display())]
    Hook {
        /// Which of the six kinds.
        kind: &'static str,
        /// Its place in the list.
        index: usize,
        /// The program.
        path: PathBuf,
        /// How it failed, with what it wrote to its stderr.
        reason: String,
    },
    /// A state file that can't be read.
    #[error("state of container {id}: {reason}")]
    State {
        /// The container.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Only what runs can be saved.
    #[error("Container cannot be checkpointed in {status} state")]
    NoCheckpoint {
        /// The status it has.
        status: &'static str,
    },
    /// criu is not installed.
    #[error(
        "exec: \"criu\": executable file not found in $PATH: checkpoint and restore are its work"
    )]
    NoCriu,
    /// criu is too old for what was asked for.
    #[error("{what} needs criu {needed} or later, and there is {found}")]
    OldCriu {
        /// What was asked for.
        what: &'static str,
        /// The version that has it.
        needed: String,
        /// The version that is there.
        found: String,
    },
    /// criu, or the kernel, lacks what was asked for.
    #[error("{what}: criu is missing features: [{feature}]")]
    CriuLacks {
        /// The flag.
        what: &'static str,
        /// criu's name of it.
        feature: &'static str,
    },
    /// Another mount is where a bind of the host's was made.
    #[error("{name}: what is at {target} in the container is not {} as it was bound there", path.display())]
    ChangedPlaces {
        /// The entry of the configuration.
        name: String,
        /// Where it is in the container.
        target: String,
        /// Its source on the host.
        path: PathBuf,
    },
    /// criu did not do its work.
    #[error("criu failed: {what}{}", log.as_ref().map(|log| format!("; {log}")).unwrap_or_default())]
    Criu {
        /// What it answered, or how it ended.
        what: String,
        /// Where its log is, with the first errors in it.
        log: Option<String>,
    },
    /// A control group.
    #[error("cgroup setup")]
    Cgroup(#[from] cgroup::Error),
    /// The seccomp profile.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
}

/// One error of several in a configuration.
#[derive(Debug)]
pub struct Violation {
    /// The line of config.json, counted from 1, where it is known and not in the error's own words.
    pub line: Option<usize>,
    /// What is wrong.
    pub error: Error,
}

impl Violation {
    /// Finds the line.
    pub(crate) fn locate(&mut self, bundle: &Bundle) {
        if self.line.is_none() {
            self.line = self.error.field().and_then(|field| bundle.line(&field));
        }
    }
}

impl From<Error> for Violation {
    fn from(error: Error) -> Violation {
        Violation { line: None, error }
    }
}

/// Each with its causes, as an error alone is told.
pub(crate) fn list(violations: &[Violation]) -> String {
    let one = |violation: &Violation| match violation.line {
        Some(line) => format!("{} (line {line})", violation.error.text()),
        None => violation.error.text(),
    };
    violations.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// With its causes, as an error alone is told.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

    /// One as it is, several as [`Error::Many`].
    pub(crate) fn of(mut found: Vec<Violation>) -> Error {
        match found.len() {
            1 => found.remove(0).error,
            _ => Error::Many(found),
        }
    }

    /// Taken apart, where it is several.
    pub fn violations(self) -> Vec<Violation> {
        match self {
            Error::Many(found) => found,
            Error::Cgroup(cgroup::Error::Many(errors)) => {
                errors.into_iter().map(|error| Error::Cgroup(error).into()).collect()
            }
            Error::Seccomp(seccomp::Error::Many(errors)) => {
                errors.into_iter().map(|error| Error::Seccomp(error).into()).collect()
            }
            error => vec![error.into()],
        }
    }

    /// The place in config.json that it is about.
    pub fn field(&self) -> Option<String> {
        match self {
            Error::Parse { field, .. }
            | Error::Invalid { field, .. }
            | Error::Host { field, .. } => Some(field.clone()),
            Error::Cgroup(error) => error.field(),
            Error::Seccomp(error) => Some(match error.path() {
                Some(path) => format!("linux.seccomp.{path}"),
                None => "linux.seccomp".to_owned(),
            }),
            _ => None,
        }
    }

    /// A failed system call with what it was for.
    pub(crate) fn system(step: impl Into<String>, errno: impl Into<Os>) -> Error {
        Error::System { step: step.into(), source: errno.into() }
    }

    /// A value of config.json that can't take effect.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Invalid { field: field.into(), reason: reason.into() }
    }
}

impl Error {
    /// What a value asks of the host in vain.
    pub(crate) fn host(
        field: impl Into<String>,
        step: impl Into<String>,
        errno: impl Into<Os>,
    ) -> Error {
        Error::Host { field: field.into(), step: step.into(), source: errno.into() }
    }
}

impl From<Errno> for Os {
    fn from(errno: Errno) -> Os {
        Os(errno)
    }
}

/// Adds what was being done to a bare error number.
pub(crate) trait Context<T> {
    /// Words the step only when it failed.
    fn context<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: Into<Os>> Context<T> for Result<T, E> {
    fn context<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|errno| Error::system(step(), errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_read_as_in_go() {
        for (errno, text) in [
            (Errno::ENOENT, "no such file or directory"),
            (Errno::ESRCH, "no such process"),
            (Errno::EACCES, "permission denied"),
            (Errno::EIO, "input/output error"),
        ] {
            assert_eq!(Os(errno).to_string(), text);
        }
    }
}
