//! The same call put to runc and to the runtime under test, on containers in the same status: exit
//! codes, what is printed, the words that engines look for, and the status afterwards must be alike.

mod exec;
mod lifecycle;
mod other;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::bundle::Bundle;
use crate::call::{Call, Output, TICK, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::ensure;
use crate::env::Env;

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun words and prints in its own way")];

const OLDER: &[(Peer, &str)] = &[CRUN[0], (Peer::Runc, "Debian's runc is an older one")];

macro_rules! cases {
    ($($name:literal $scenes:expr,)+) => {
        /// The cases of this area: one a command.
        pub const CASES: &[Case] = &[
            Case::new("differential/flags-of-runc-1.5", newer_flags).not_on(OLDER),
            $(Case::new(concat!("differential/", $name), |env| compare(env, $scenes))
                .needs(&[Need::Native])
                .not_on(CRUN),)+
        ];
    };
}

cases! {
    "global" other::GLOBAL,
    "create" lifecycle::CREATE,
    "start" lifecycle::START,
    "state" lifecycle::STATE,
    "kill" lifecycle::KILL,
    "delete" lifecycle::DELETE,
    "run" lifecycle::RUN,
    "exec" exec::EXEC,
    "list" other::LIST,
    "ps" other::PS,
    "pause" other::PAUSE,
    "resume" other::RESUME,
    "update" other::UPDATE,
    "events" other::EVENTS,
    "spec" other::SPEC,
    "features" other::FEATURES,
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

/// What of a call's output is compared.
#[derive(Clone, Copy)]
enum Printed {
    /// All but ids, pids and times.
    All,
    /// Cells of a table, but for these columns.
    Table(&'static [&'static str]),
    /// All but numbers.
    Shape,
    /// Every flag of runc's help is one of ours.
    Flags,
    /// Nothing: runc prints its help where a call is wrong.
    Nothing,
}

/// A call: `@` is the container, `@new` one that is not there yet, `@nope` one that never is, `%` the
/// bundle, `$` a directory of the caller's, `~` a space, `''` an empty word.
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

/// One of the two runtimes, with its container.
struct Side<'a> {
    env: &'a Env<'a>,
    is_golden: bool,
    bundle: &'a Bundle,
    id: String,
}

impl<'a> Side<'a> {
    fn new(env: &'a Env<'a>, bundle: &'a Bundle, is_golden: bool) -> Result<Self, Failure> {
        // Of one length, for the tables.
        let id = env.id(if is_golden { "r" } else { "g" });
        let side = Self { env, is_golden, bundle, id };
        fs::create_dir_all(side.dir())?;
        Ok(side)
    }

    /// Where this runtime keeps its containers.
    fn root(&self) -> PathBuf {
        if self.is_golden { self.env.dir.join("golden-state") } else { self.env.root() }
    }

    /// Whether the runtime has a container of that id, or the rest of one.
    fn has(&self, id: &str) -> bool {
        self.root().join(&self.fill(id)[0]).exists()
    }

    fn dir(&self) -> String {
        let name = if self.is_golden { "golden" } else { "own" };
        self.env.dir.join(name).to_string_lossy().into_owned()
    }

    /// Everything after the state root.
    fn call(&self, words: &[String]) -> Call {
        let call = if self.is_golden {
            let root = self.root().to_string_lossy().into_owned();
            self.env.command(&[&["runc".to_owned(), "--root".to_owned(), root], words].concat())
        } else {
            self.env.runtime(words)
        };
        call.cwd(self.dir())
    }

    fn verb(&self, words: &str) -> Call {
        self.call(&self.fill(words))
    }

    fn fill(&self, words: &str) -> Vec<String> {
        let bundle = self.bundle.dir.to_string_lossy();
        let word = |word: &str| match word {
            "''" => String::new(),
            word => word
                .replace("@new", &format!("{}-new", self.id))
                .replace("@nope", "nope")
                .replace('@', &self.id)
                .replace('%', &bundle)
                .replace('$', &self.dir())
                .replace('~', " "),
        };
        words.split(' ').filter(|word| !word.is_empty()).map(word).collect()
    }

    /// Brings the container to `status`, from nothing.
    fn set_up(&self, status: Status) -> Outcome {
        self.tear_down()?;
        if status == Status::None {
            return Ok(());
        }
        self.verb("create -b % @").ok()?;
        if status == Status::Created {
            return Ok(());
        }
        self.verb("start @").ok()?;
        match status {
            Status::Paused => {
                self.verb("pause @").ok()?;
            }
            Status::Stopped => {
                self.verb("kill @ KILL").ok()?;
                wait_until(self.env.shared.limit, "the container to end", || {
                    crate::leaks::reap();
                    Ok((self.status("@")? == Status::Stopped).then_some(()))
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn tear_down(&self) -> Outcome {
        for id in ["@", "@new"].into_iter().filter(|id| self.has(id)) {
            self.verb(&format!("delete -f {id}")).ok()?;
            crate::leaks::reap();
        }
        Ok(())
    }

    fn status(&self, id: &str) -> Result<Status, Failure> {
        if !self.has(id) {
            return Ok(Status::None);
        }
        let output = self.verb(&format!("state {id}")).output()?;
        let state: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        Ok(match state["status"].as_str() {
            Some("created") => Status::Created,
            Some("running") => Status::Running,
            Some("paused") => Status::Paused,
            Some("stopped") => Status::Stopped,
            _ => Status::None,
        })
    }

    /// What differs between any two containers, made alike.
    fn masked(&self, text: &str, printed: Printed) -> String {
        let mut text = text.replace(&self.id, "ID").replace(&self.dir(), "DIR");
        for key in ["ociVersion", "pid", "created"] {
            text = without_value(&text, key);
        }
        match printed {
            Printed::All => text,
            Printed::Shape => {
                let mut shape = String::new();
                for c in text.chars().filter(|c| *c != '-') {
                    match (c.is_ascii_digit(), shape.ends_with('0')) {
                        (true, true) => {}
                        (true, false) => shape.push('0'),
                        (false, _) => shape.push(c),
                    }
                }
                shape
            }
            Printed::Table(columns) => cells(&text, columns),
            Printed::Flags | Printed::Nothing => String::new(),
        }
    }
}

/// `text` without the values of a key of JSON.
fn without_value(text: &str, key: &str) -> String {
    let key = format!("\"{key}\":");
    let mut parts = text.split(&key);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}', '\n']).unwrap_or(part.len());
        out.push_str(&key);
        out.push_str(&part[end..]);
    }
    out
}

/// The cells of a table, but for those below the given titles.
fn cells(text: &str, left_out: &[&str]) -> String {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let Some(titles) = lines.next() else { return String::new() };
    let mut out = titles.join(" ");
    for line in lines {
        out.push('\n');
        for (at, cell) in line.iter().enumerate() {
            let is_left_out = titles.get(at).is_some_and(|title| left_out.contains(title));
            out.push_str(if is_left_out { "*" } else { cell });
            out.push(' ');
        }
    }
    out
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
        let found = flags(&help);
        for flag in wanted {
            ensure!(found.contains(*flag), "{command} has no {flag}: {help}");
        }
    }
    Ok(())
}

/// Runs every row, and tells all that differs.
fn compare(env: &mut Env, scenes: &[Scene]) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let (own, golden) = (Side::new(env, &bundle, false)?, Side::new(env, &bundle, true)?);
    let mut all = Vec::new();
    for (status, rows) in scenes {
        let mut fresh = false;
        for row in *rows {
            if !fresh {
                own.set_up(*status)?;
                golden.set_up(*status)?;
            }
            let mut differences = one(&own, &golden, row)?;
            let after = afterwards(&own, &golden)?;
            differences.extend(after.clone().err());
            // A call that changed nothing leaves both for the next one.
            fresh = after.is_ok_and(|after| after == [*status, Status::None]);
            let tell = |text: String| format!("[{status:?}] `{}`: {text}", row.words);
            all.extend(differences.into_iter().map(tell));
        }
        own.tear_down()?;
        golden.tear_down()?;
    }
    ensure!(all.is_empty(), "\n  {}", all.join("\n  "));
    Ok(())
}

/// One row on both; what differs.
fn one(own: &Side, golden: &Side, row: &Row) -> Result<Vec<String>, Failure> {
    let mut differences = Vec::new();
    let ours = own.verb(row.words).output()?;
    if let (Some((code, error)), false) = (row.instead, own.env.is(Peer::Runc)) {
        if ours.code() != code || !ours.stderr.contains(error) {
            differences.push(format!("exit code not {code} or no {error:?}: {}", end(&ours)));
        }
        return Ok(differences);
    }
    let theirs = golden.verb(row.words).output()?;
    if ours.code() != theirs.code() {
        differences.push(format!("{}, runc's: {}", end(&ours), end(&theirs)));
    }
    match row.printed {
        Printed::Nothing => {}
        Printed::Flags => {
            let (ours, theirs) = (flags(&ours.stdout), flags(&theirs.stdout));
            differences.extend(theirs.difference(&ours).map(|flag| format!("no {flag}")));
        }
        printed => {
            let masked = own.masked(&ours.stdout, printed);
            let wanted = golden.masked(&theirs.stdout, printed);
            if masked != wanted {
                differences.push(format!("stdout: {masked:?}, runc's: {wanted:?}"));
            }
        }
    }
    if ours.code() != 0 {
        let (found, wanted) = (words(&ours), words(&theirs));
        if found != wanted {
            differences.push(format!("words: {}, runc's: {}", end(&ours), end(&theirs)));
        }
    } else if !ours.stderr.is_empty() && theirs.stderr.is_empty() {
        differences.push(format!("something on stderr: {ours}"));
    }
    Ok(differences)
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

/// The flags that a help text has, with their dashes: those at the start of a line.
fn flags(help: &str) -> BTreeSet<String> {
    let is_flag = |word: &&str| word.len() > 1 && word.starts_with('-');
    help.lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .flat_map(|line| line.split([' ', ',', '=']).filter(|word| !word.is_empty()).take(4))
        .filter(is_flag)
        .map(str::to_owned)
        .collect()
}
