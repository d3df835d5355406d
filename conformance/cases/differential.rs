//! The same call put to runc and to the runtime under test, on containers in the same status: exit
//! codes, what is printed, the words that engines look for, and the status afterwards must be alike.

mod coverage;
mod criu;
mod exec;
mod lifecycle;
mod other;
mod printed;
mod side;

use std::collections::BTreeSet;
use std::time::Instant;

use self::coverage::Coverage;
use self::printed::Printed;
use self::side::{Bundles, Side};
use crate::call::{Output, TICK};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::ensure;
use crate::env::Env;

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun words and prints in its own way")];

const OLDER: &[(Peer, &str)] = &[CRUN[0], (Peer::Runc, "Debian's runc is an older one")];

macro_rules! cases {
    ($($name:literal $scenes:path $(, $need:path)?;)+) => {
        /// The cases of this area: one a command.
        pub const CASES: &[Case] = &[
            Case::new("differential/flags-of-runc-1.5", newer_flags).not_on(OLDER),
            $(Case::new(concat!("differential/", $name), |env| compare(env, $name, $scenes))
                .needs(&[Need::Native $(, $need)?])
                .not_on(CRUN),)+
        ];
    };
}

cases! {
    "global" other::GLOBAL;
    "create" lifecycle::CREATE;
    "start" lifecycle::START;
    "state" lifecycle::STATE;
    "kill" lifecycle::KILL;
    "delete" lifecycle::DELETE;
    "run" lifecycle::RUN;
    "exec" exec::EXEC;
    "list" other::LIST;
    "ps" other::PS;
    "pause" other::PAUSE;
    "resume" other::RESUME;
    "update" other::UPDATE, Need::Controllers;
    "events" other::EVENTS;
    "spec" other::SPEC;
    "features" other::FEATURES;
    "checkpoint" criu::CHECKPOINT;
    "restore" criu::RESTORE;
}

/// What engines look for in an error, and what tells one error of runc's from another.
const WORDS: &[&str] = &[
    "does not exist",
    "container not running",
    "container not paused",
    "container with given ID already exists",
    "cannot start a container that has stopped",
    "cannot start an already running container",
    "that is not stopped",
    "cannot exec in a stopped container",
    "cannot exec in a paused container",
    "process already finished",
    "no such process",
    "permission denied",
    "is a directory",
    "not a directory",
    "executable file not found",
    "no such file or directory",
    "flag needs an argument",
    "flag provided but not defined",
    "requires exactly",
    "requires a minimum of",
    "requires a maximum of",
    "unknown signal",
    "unknown capability",
    "invalid format option",
    "invalid log-format",
    "invalid ID",
    "process args cannot be empty",
    "cannot allocate tty",
    "cannot use console socket",
    "couldn't find PID field",
    "is not running",
    "interval must be greater than 0",
    "should not be set to /",
    "cannot be checkpointed",
];

/// A container's status before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is no container.
    None,
    /// Created.
    Created,
    /// Running.
    Running,
    /// Paused.
    Paused,
    /// Stopped.
    Stopped,
}

/// A call: `@` is the container, `@new` one that is not there yet, `@nope` one that never is, `%` the
/// bundle, `%(script)` a bundle that runs a script, `$` a directory of the caller's, `~` a space, `^` a
/// dollar, `''` an empty word.
#[derive(Clone, Copy)]
pub struct Row {
    words: &'static str,
    printed: Printed,
    /// What to answer instead: exit code, and words of the error.
    instead: Option<(i32, &'static str)>,
}

/// Calls on containers of one status.
pub type Scene = (Status, &'static [Row]);

/// A call whose output is to be runc's.
pub const fn row(words: &'static str) -> Row {
    Row { words, printed: Printed::All, instead: None }
}

/// A call that runc answers with its help beside the error.
pub const fn usage(words: &'static str) -> Row {
    Row { words, printed: Printed::Nothing, instead: None }
}

/// A call for help.
pub const fn help(words: &'static str) -> Row {
    Row { words, printed: Printed::Flags, instead: None }
}

/// A call whose numbers differ.
pub const fn shape(words: &'static str) -> Row {
    Row { words, printed: Printed::Shape, instead: None }
}

/// A call whose process writes to the caller's stdout and stderr.
pub const fn streams(words: &'static str) -> Row {
    Row { words, printed: Printed::Streams, instead: None }
}

/// A call that prints statistics.
pub const fn stats(words: &'static str) -> Row {
    Row { words, printed: Printed::Stats, instead: None }
}

/// A call that tells what the runtime can do.
pub const fn known(words: &'static str) -> Row {
    Row { words, printed: Printed::Known, instead: None }
}

/// A call that prints a table of which these columns differ.
pub const fn table(words: &'static str, columns: &'static [&'static str]) -> Row {
    Row { words, printed: Printed::Table(columns), instead: None }
}

/// A call that runc 1.5 answers otherwise than Debian's.
pub const fn newer(words: &'static str, code: i32, error: &'static str) -> Row {
    Row { words, printed: Printed::Nothing, instead: Some((code, error)) }
}

/// A call that runc answers in a way not worth to be followed, for the reason given.
pub const fn better(words: &'static str, code: i32, error: &'static str, _why: &str) -> Row {
    Row { words, printed: Printed::Nothing, instead: Some((code, error)) }
}

/// What runc got after Debian's version.
fn newer_flags(env: &mut Env) -> Outcome {
    for (command, wanted) in [
        ("create", &["--pidfd-socket"][..]),
        ("run", &["--pidfd-socket", "--keep"]),
        ("exec", &["--pidfd-socket"]),
        ("update", &["--cpu-burst", "--cpu-idle"]),
    ] {
        let help = env.bare_runtime(&[command, "--help"]).ok()?.stdout;
        let found = printed::flags(&help);
        for flag in wanted {
            ensure!(found.contains(*flag), "{command} has no {flag}: {help}");
        }
    }
    Ok(())
}

/// Runs every row, and tells all that differs, and which flags of the command have too few rows.
fn compare(env: &mut Env, name: &str, scenes: &[Scene]) -> Outcome {
    let bundles = Bundles::new(env)?;
    let (own, golden) = (Side::new(&bundles, false)?, Side::new(&bundles, true)?);
    let command = if name == "global" { "" } else { name };
    let mut coverage = Coverage::default();
    let mut all = Vec::new();
    for (status, rows) in scenes {
        let mut fresh = false;
        for row in *rows {
            if !fresh {
                own.set_up(*status)?;
                golden.set_up(*status)?;
            }
            bundles.prepare(row.words)?;
            let (ours, mut differences) = one(&own, &golden, row)?;
            coverage.note(row.words, command, ours.code() != 0);
            let after = afterwards(&own, &golden)?;
            differences.extend(after.clone().err());
            if differences.is_empty() && row.instead.is_none() {
                differences.extend(left(&own, &golden)?);
            }
            // A call that changed nothing leaves both for the next one.
            fresh = after.is_ok_and(|after| after == [*status, Status::None]);
            let tell = |text: String| format!("[{status:?}] `{}`: {text}", row.words);
            all.extend(differences.into_iter().map(tell));
        }
        own.tear_down()?;
        golden.tear_down()?;
    }
    all.extend(coverage.lacks(&golden, command)?);
    ensure!(all.is_empty(), "\n  {}", all.join("\n  "));
    Ok(())
}

/// One row on both: our answer, and what differs.
fn one(own: &Side, golden: &Side, row: &Row) -> Result<(Output, Vec<String>), Failure> {
    let mut differences = Vec::new();
    let ours = own.verb(row.words).output()?;
    if let (Some((code, error)), false) = (row.instead, own.env.is(Peer::Runc)) {
        if ours.code() != code || !ours.stderr.contains(error) {
            differences.push(format!("exit code not {code} or no {error:?}: {}", end(&ours)));
        }
        return Ok((ours, differences));
    }
    let theirs = golden.verb(row.words).output()?;
    if ours.code() != theirs.code() {
        differences.push(format!("{}, runc's: {}", end(&ours), end(&theirs)));
    }
    differences.extend(printed::differences(row.printed, (own, &ours), (golden, &theirs)));
    if ours.code() != 0 {
        let (found, wanted) = (words(&ours), words(&theirs));
        if found != wanted {
            differences.push(format!("words: {}, runc's: {}", end(&ours), end(&theirs)));
        }
    } else if !ours.stderr.is_empty() && theirs.stderr.is_empty() {
        differences.push(format!("something on stderr: {ours}"));
    }
    Ok((ours, differences))
}

/// What differs of the limits that the kernel holds, and of the files that a call wrote.
fn left(own: &Side, golden: &Side) -> Result<Vec<String>, Failure> {
    let pairs =
        [(own.limits()?, golden.limits()?, "limits"), (own.files()?, golden.files()?, "files")];
    let differ = pairs.into_iter().filter(|(ours, theirs, _)| ours != theirs);
    Ok(differ.map(|(ours, theirs, what)| format!("{what}: {ours}, runc's: {theirs}")).collect())
}

/// The statuses of the container and of a new one, which must come to be alike: a killed process takes
/// its time.
fn afterwards(own: &Side, golden: &Side) -> Result<Result<[Status; 2], String>, Failure> {
    let start = Instant::now();
    loop {
        crate::leaks::reap();
        let ours = [own.status("@")?, own.status("@new")?];
        let theirs = [golden.status("@")?, golden.status("@new")?];
        if ours == theirs {
            return Ok(Ok(ours));
        }
        if start.elapsed() > own.env.shared.limit / 10 {
            return Ok(Err(format!("the containers are {ours:?} afterwards, runc's {theirs:?}")));
        }
        std::thread::sleep(TICK);
    }
}

/// The known words of an error.
fn words(output: &Output) -> BTreeSet<&'static str> {
    WORDS.iter().copied().filter(|word| output.stderr.contains(word)).collect()
}

/// A call's end, in short.
fn end(output: &Output) -> String {
    format!("{} {:?}", output.code(), output.stderr)
}
