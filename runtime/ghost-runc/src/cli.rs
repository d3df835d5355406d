//! The command line: global flags, the table of commands, and what a call comes to.
//!
//! runc's parser is Go's flag package: one dash does for any flag, the last of repeated flags
//! wins. [`argv`] brings arguments of that kind into the form that clap reads; only the global
//! flags and the one command that is called are ever built.

pub mod argv;
pub mod flag;
pub mod outline;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches};

use crate::commands;
use crate::context::Context;
use crate::error::Error;

/// The newest runtime-spec this runtime knows.
pub use container::OCI_VERSION as SPEC_VERSION;

/// The name of the positional arguments.
const ARGUMENTS: &str = "arguments";

/// The flags before the command.
#[derive(Debug, Default)]
pub struct Globals {
    /// `--root`: where container state lives; `None` for the default.
    pub root: Option<PathBuf>,
    /// `--log`: `None` for standard error.
    pub log: Option<PathBuf>,
    /// `--log-format`, unchecked.
    pub log_format: String,
    /// `--debug`
    pub debug: bool,
    /// `--systemd-cgroup`
    pub systemd_cgroup: bool,
}

/// What the command line asks for.
pub enum Invocation {
    /// To print this: help or the version.
    Print(String),
    /// To run a command with arguments of its own.
    Command {
        /// The flags before it.
        globals: Globals,
        /// The command.
        entry: &'static Entry,
        /// What comes after it, as it was given.
        arguments: Vec<OsString>,
    },
}

/// A command's arguments, parsed.
pub enum Arguments {
    /// Its help was asked for.
    Print(String),
    /// The flags and positional arguments.
    Parsed(ArgMatches),
}

/// A command as the table lists it.
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// What follows the flags in its usage line.
    pub operands: &'static str,
    /// Bounds on the number of positional arguments.
    pub count: (usize, Option<usize>),
    /// Whether everything after the first positional argument is left alone.
    pub stops_at_first: bool,
    /// Its flags.
    pub flags: fn() -> Vec<Arg>,
    /// Does it; returns the exit code.
    pub run: fn(&Context, &ArgMatches) -> Result<u8, Error>,
}

/// Parses the flags before the command and finds the command. `arguments` is without the name of
/// the program.
pub fn parse(arguments: Vec<OsString>) -> Result<Invocation, Error> {
    let mut root = root_command();
    let (flags, rest) = argv::normalise(arguments, &root, true);
    let matches = match root.try_get_matches_from_mut(flags) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Invocation::Print(help(&mut root)));
        }
        Err(error) => return Err(usage_error(error)),
    };
    if matches.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let mut rest = rest.into_iter();
    let Some(name) = rest.next() else { return Ok(Invocation::Print(help(&mut root))) };
    let arguments: Vec<OsString> = rest.collect();
    let name = name.to_string_lossy();
    if matches!(&*name, "help" | "h") {
        let is_flag = |topic: &&OsString| topic.as_encoded_bytes().starts_with(b"-");
        return Ok(Invocation::Print(match arguments.first().filter(|topic| !is_flag(topic)) {
            Some(topic) => find(&topic.to_string_lossy())?.help(),
            None => help(&mut root),
        }));
    }
    let globals = Globals {
        root: flag::path(&matches, "root"),
        log: flag::path(&matches, "log").filter(|path| !path.as_os_str().is_empty()),
        log_format: matches.get_one::<String>("log-format").cloned().unwrap_or_default(),
        debug: matches.get_flag("debug"),
        systemd_cgroup: matches.get_flag("systemd-cgroup"),
    };
    Ok(Invocation::Command { globals, entry: find(&name)?, arguments })
}

fn find(name: &str) -> Result<&'static Entry, Error> {
    if let Some(entry) = commands::TABLE.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    Err(Error::UnknownCommand { name: name.to_owned() })
}

impl Entry {
    /// Parses what comes after the command.
    pub fn parse(&self, arguments: Vec<OsString>) -> Result<Arguments, Error> {
        let mut command = self.command();
        let (mut flags, rest) = argv::normalise(arguments, &command, self.stops_at_first);
        flags.push("--".into());
        flags.extend(rest);
        match command.try_get_matches_from_mut(flags) {
            Ok(matches) => Ok(Arguments::Parsed(self.checked(matches)?)),
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                Ok(Arguments::Print(command.render_help().to_string()))
            }
            Err(error) => Err(usage_error(error)),
        }
    }

    fn checked(&self, matches: ArgMatches) -> Result<ArgMatches, Error> {
        use crate::error::Count;
        let given = matches.get_many::<String>(ARGUMENTS).map_or(0, |all| all.len());
        let (min, max) = self.count;
        let count = match max {
            Some(max) if max == min && given != min => Count::Exactly(min),
            Some(max) if given > max => Count::Max(max),
            _ if given < min => Count::Min(min),
            _ => return Ok(matches),
        };
        Err(Error::ArgumentCount { command: self.name, count })
    }

    fn help(&self) -> String {
        self.command().render_help().to_string()
    }

    fn command(&self) -> clap::Command {
        base(self.name)
            .about(self.about)
            .override_usage(format!("ghost-runc {} [options] {}", self.name, self.operands))
            .args((self.flags)())
            .arg(Arg::new(ARGUMENTS).num_args(0..).hide(true))
    }
}

/// The positional arguments of a command.
pub fn operands(matches: &ArgMatches) -> impl Iterator<Item = &str> {
    matches.get_many::<String>(ARGUMENTS).into_iter().flatten().map(String::as_str)
}

/// The first positional argument of a command: the container's id.
pub fn id(matches: &ArgMatches) -> Result<&str, Error> {
    operands(matches).next().filter(|id| !id.is_empty()).ok_or(Error::EmptyId)
}

fn base(name: &'static str) -> clap::Command {
    clap::Command::new(name)
        .no_binary_name(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .disable_colored_help(true)
}

/// What the program is, in one line.
pub const ABOUT: &str =
    "An OCI runtime: runs containers from bundles, as container engines ask it to";

/// What follows the program's name.
pub const USAGE: &str = "[global options] command [command options] [arguments...]";

fn root_command() -> clap::Command {
    base("ghost-runc")
        .about(ABOUT)
        .override_usage(format!("ghost-runc {USAGE}"))
        .args(global_flags())
}

/// The flags before the command.
pub fn global_flags() -> Vec<Arg> {
    vec![
        flag::switch("debug", "log debug lines too"),
        flag::file("log", "file to append log lines to, instead of standard error"),
        flag::choice("log-format", "text|json", "format of log lines [default: text]"),
        flag::file("root", "directory of container state [default: /run/ghost-runc]"),
        flag::file("criu", "accepted for runc's sake; criu is found in PATH"),
        flag::switch("systemd-cgroup", "let systemd make the cgroup"),
        flag::choice("rootless", "true|false|auto", "ignore cgroup permission errors")
            .value_parser(flag::true_false_or_auto),
        flag::switch("version", "print the version").short('v'),
    ]
}

fn help(root: &mut clap::Command) -> String {
    let mut text = root.render_help().to_string();
    text.push_str("\nCommands:\n");
    for entry in commands::TABLE {
        text.push_str(&format!("  {:<12}{}\n", entry.name, entry.about));
    }
    text
}

/// Docker takes the last line with "version" in it, go-runc the first: there is one only. Where this
/// program has runc's place, it has its name as well: go-runc reads no other.
fn version() -> String {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("GHOST_RUNC_COMMIT"));
    let called = std::env::args_os().next().map(PathBuf::from);
    let is_runc = called.is_some_and(|path| path.file_name().is_some_and(|name| name == "runc"));
    let name = if is_runc { "runc" } else { "ghost-runc" };
    format!("{name} version {version}\ncommit: {commit}\nspec: {SPEC_VERSION}\n")
}

/// clap's objection in the words of Go's flag package, which podman's probes look for.
fn usage_error(error: clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let flag = context(ContextKind::InvalidArg).split([' ', '=']).next().unwrap_or("").to_owned();
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => Error::UnknownFlag { flag },
        ErrorKind::NoEquals => Error::MissingValue { flag },
        ErrorKind::TooManyValues | ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            Error::InvalidValue { flag, value }
        }
        ErrorKind::InvalidUtf8 => Error::NotText { argument: flag },
        _ => Error::Usage {
            message: error.to_string().lines().next().unwrap_or_default().to_owned(),
        },
    }
}
