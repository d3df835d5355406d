//! `events`: what a container uses, again and again, and when it ran out of memory.

use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches};
use container::{Event, Stats, Status};
use serde::Serialize;

use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;
use crate::output::{self, json};

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "events",
    about: "show what a container uses, and when it runs out of memory",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags,
    run,
};

/// What a clock can be set to, and nobody waits for.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

fn flags() -> Vec<Arg> {
    vec![
        flag::value("interval", "time between two lines, such as 500ms or 1m30s")
            .default_value("5s"),
        flag::switch("stats", "print one line and end"),
    ]
}

/// One line, in the form of runc's types/events.go.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
struct Data {
    #[serde(flatten)]
    stats: Stats,
    intel_rdt: IntelRdt,
    /// runc fills this for interfaces that it made itself, which no engine asks it to.
    network_interfaces: Option<()>,
}

#[derive(Serialize)]
struct IntelRdt {}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let given = flag::text(arguments, "interval").unwrap_or_default();
    let backwards = given.strip_prefix('-');
    let interval = duration(backwards.unwrap_or(given)).ok_or_else(|| Error::InvalidValue {
        flag: "--interval".to_owned(),
        value: given.to_owned(),
    })?;
    let container = context.store()?.load(cli::id(arguments)?)?;
    if interval.is_zero() || backwards.is_some() {
        return Err(Error::Interval);
    }
    let interval = interval.min(LONGEST);
    let id = container.id();
    if container.status()? == Status::Stopped {
        return Err(Error::NotRunning { id: id.to_owned() });
    }
    if arguments.get_flag("stats") {
        print("stats", id, Some(container.stats()?))?;
        return Ok(0);
    }
    let Some(mut watch) = container.watch()? else { return Ok(0) };
    let mut next = Instant::now() + interval;
    loop {
        match watch.wait(next)? {
            Event::Oom => print("oom", id, None)?,
            Event::Stopped => return Ok(0),
            Event::Nothing => {
                print("stats", id, Some(container.stats()?))?;
                next += interval;
            }
        }
    }
}

fn print(kind: &'static str, id: &str, stats: Option<Stats>) -> Result<(), Error> {
    let data = stats.map(|stats| Data { stats, intel_rdt: IntelRdt {}, network_interfaces: None });
    output::print(&(json::compact("event", &Line { r#type: kind, id, data })? + "\n"))
}

/// A time as Go writes it: numbers with their units, such as "1.5h", "300ms", "1m30s".
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("5s", Some(5000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("300ms", Some(300)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("5x", None),
            ("1..5s", None),
        ] {
            assert_eq!(duration(text).map(|time| time.as_millis()), milliseconds, "{text:?}");
        }
    }
}
