//! What can go wrong in the command line itself, and the exit code that goes with it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use container::Os;

/// An error of the command line, or one that a command brings up from the container crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag that the command does not have.
    #[error("flag provided but not defined: {flag}")]
    UnknownFlag { flag: String },
    /// A flag without the value it needs. podman's probe for checkpoint looks for these words.
    #[error("flag needs an argument: {flag}")]
    MissingValue { flag: String },
    /// A value that the flag can't take.
    #[error("invalid value \"{value}\" for flag {flag}")]
    InvalidValue { flag: String, value: String },
    /// An argument that is not text.
    #[error("argument {argument} is not valid UTF-8")]
    NotText { argument: String },
    /// Anything else that clap objects to, in clap's words.
    #[error("{message}")]
    Usage { message: String },
    /// Too many or too few arguments.
    #[error("ghost-runc: \"{command}\" requires {count}")]
    ArgumentCount { command: &'static str, count: Count },
    /// A first argument that names no command.
    #[error("no such command: \"{name}\" (see 'ghost-runc --help')")]
    UnknownCommand { name: String },
    /// A flag of `checkpoint` or `restore` with a value that can't be.
    #[error("--{flag} {value:?} {reason}")]
    FlagValue { flag: &'static str, value: String, reason: &'static str },
    /// `--log-format` with something else than text or json.
    #[error("invalid log-format: {format}")]
    LogFormat { format: String },
    /// `--format` with something else than table or json.
    #[error("invalid format option")]
    OutputFormat,
    /// `completion` for a shell that there is no script for.
    #[error("no completions for the shell \"{shell}\", only for bash, zsh and fish")]
    Shell { shell: String },
    /// `--root` that comes down to /.
    #[error("option --root argument should not be set to /")]
    RootIsSlash,
    /// A user without privileges has nowhere to keep state.
    #[error("XDG_RUNTIME_DIR is not set: without it, a user other than root must give --root")]
    NoRuntimeDir,
    /// `kill` with a signal that does not exist.
    #[error("unknown signal \"{signal}\"")]
    UnknownSignal { signal: String },
    /// An empty container id.
    #[error("container id cannot be empty")]
    EmptyId,
    /// A detached container wants a terminal, and nobody would receive it.
    #[error("cannot allocate tty if ghost-runc will detach without setting console socket")]
    TerminalWithoutSocket,
    /// A console socket was given and would not be used.
    #[error("cannot use console socket if ghost-runc will not detach or allocate tty")]
    SocketWithoutTerminal,
    /// The master of the container's terminal did not arrive.
    #[error("receive the container's terminal")]
    Console { source: Os },
    /// `exec` without a command and without `--process`.
    #[error("process args cannot be empty")]
    EmptyProcessArgs,
    /// A process that breaks the rules of the spec.
    #[error("{problem}")]
    Process { problem: &'static str },
    /// A number in `exec --user` or `--additional-gids` that is none.
    #[error("bad {what} \"{value}\"")]
    BadNumber { what: &'static str, value: String },
    /// A descriptor to preserve was not passed in.
    #[error("preserved-fd {fd} (of {count}) is not open")]
    PreservedFd { fd: u32, count: u32 },
    /// `spec` found a config.json.
    #[error("File config.json exists. Remove it first")]
    SpecExists,
    /// ps(1) failed.
    #[error("ps: {status}: {output}")]
    Ps { status: std::process::ExitStatus, output: String },
    /// ps(1) printed no PID column.
    #[error("couldn't find PID field in ps output")]
    PsWithoutPid,
    /// ps(1) printed a line whose PID is not a number.
    #[error("unable to parse pid: \"{line}\"")]
    PsPid { line: String },
    /// A system call on a file failed.
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: Os },
    /// Standard output could not be written.
    #[error("write to standard output")]
    Output { source: Os },
    /// `update` was given something that is not `linux.resources`.
    #[error("resources of {name}")]
    Resources { name: String, source: serde_json::Error },
    /// `events --interval` that is not a time.
    #[error("duration interval must be greater than 0")]
    Interval,
    /// `events` of a container that has ended.
    #[error("container with id {id} is not running")]
    NotRunning { id: String },
    /// An output could not be made.
    #[error("encode {what}")]
    Encode { what: &'static str, source: serde_json::Error },
    /// The container crate failed; its own words are enough.
    #[error(transparent)]
    Container(#[from] container::Error),
    /// `create` failed.
    #[error("ghost-runc create failed")]
    Create { source: Box<Error> },
    /// `run` failed before the process ran.
    #[error("ghost-runc run failed")]
    Run { source: Box<Error> },
    /// `exec` failed before the process ran.
    #[error("exec failed")]
    Exec { source: Box<Error> },
}

impl Error {
    /// A failed system call on a file.
    pub fn file(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::File { action, path: path.to_owned(), source: source.into() }
    }

    /// The exit code of the runtime: 255 tells a failed exec from a failed process. As runc's all.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Exec { .. } => 255,
            Error::UnknownCommand { .. } => 3,
            _ => 1,
        }
    }
}

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// No more and no less.
    Exactly(usize),
    /// At least so many.
    Min(usize),
    /// At most so many.
    Max(usize),
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Count::Exactly(n) => write!(f, "exactly {n} argument(s)"),
            Count::Min(n) => write!(f, "a minimum of {n} argument(s)"),
            Count::Max(n) => write!(f, "a maximum of {n} argument(s)"),
        }
    }
}
