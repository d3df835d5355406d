//! `kill`: sends a signal to a container's process, or to all of them.

use std::str::FromStr;

use clap::{Arg, ArgMatches};
use nix::sys::signal::Signal;

use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "kill",
    about: "send a signal (default: SIGTERM) to a container's process",
    operands: "<container-id> [signal]",
    count: (1, Some(2)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    vec![flag::switch("all", "send the signal to all processes of the container").short('a')]
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let id = cli::id(arguments)?;
    let name = cli::operands(arguments).nth(1).filter(|name| !name.is_empty());
    // Engines look for "does not exist", whatever else is wrong.
    let container = context.store()?.load(id)?;
    container.kill(number(name.unwrap_or("SIGTERM"))?, arguments.get_flag("all"))?;
    Ok(0)
}

/// The number of the last real-time signal, and of the last signal there is.
const SIGRTMAX: i32 = 64;
/// The first real-time signal that the C library leaves to programs.
const SIGRTMIN: i32 = 34;

/// The signal of a number, or of a name in any case with or without SIG. Number 0 only asks
/// whether the process is there.
fn number(name: &str) -> Result<i32, Error> {
    let unknown = || Error::UnknownSignal { signal: name.to_owned() };
    if let Ok(number) = name.parse::<i32>() {
        return if (0..=SIGRTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let alias = match bare {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        other => other,
    };
    if let Ok(signal) = Signal::from_str(&format!("SIG{alias}")) {
        return Ok(signal as i32);
    }
    real_time(bare).ok_or_else(unknown)
}

/// `RTMIN`, `RTMIN+3`, `RTMAX`, `RTMAX-2`.
fn real_time(name: &str) -> Option<i32> {
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        SIGRTMIN + offset(rest, '+')?
    } else {
        SIGRTMAX - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse().ok().filter(|n| (0..SIGRTMAX).contains(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_number_and_name() {
        for (name, number_of) in [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Hup", 1),
            ("CLD", 17),
            ("IOT", 6),
            ("SIGPOLL", 29),
            ("stkflt", 16),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("rtmax-1", 63),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(number(name).unwrap(), number_of, "{name}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for name in ["FOO", "SIG", "65", "-1", "", "RTMIN+31", "RTMIN-1", "RTMAX+1", "SIGSIGHUP"] {
            assert!(matches!(number(name), Err(Error::UnknownSignal { .. })), "{name}");
        }
    }
}
