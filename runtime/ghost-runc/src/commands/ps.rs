//! `ps`: the processes of a container, as numbers or through the host's ps(1).

use std::process::Command;

use clap::{Arg, ArgMatches};

use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;
use crate::output::{self, json};

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "ps",
    about: "show the processes of a container",
    operands: "<container-id> [ps options]",
    count: (1, None),
    stops_at_first: true,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    vec![
        flag::choice("format", "table|json", "form of the output")
            .short('f')
            .default_value("table"),
    ]
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let pids = context.store()?.load(cli::id(arguments)?)?.pids()?;
    output::print(&match flag::text(arguments, "format") {
        // A stopped container's are null.
        Some("json") => json::compact("pids", &Some(&pids).filter(|all| !all.is_empty()))? + "\n",
        Some("table") => {
            let options: Vec<&str> = cli::operands(arguments).skip(1).collect();
            filter(&host_ps(&options)?, &pids)?
        }
        _ => return Err(Error::OutputFormat),
    })?;
    Ok(0)
}

/// What ps(1) prints on the host; without options, a full listing of every process.
fn host_ps(options: &[&str]) -> Result<String, Error> {
    let options = if options.is_empty() { &["-ef"] } else { options };
    let output = Command::new("ps")
        .args(options)
        .output()
        .map_err(|source| Error::file("run", "ps".as_ref(), source))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let output_text = text + &String::from_utf8_lossy(&output.stderr);
        return Err(Error::Ps { status: output.status, output: output_text });
    }
    Ok(text)
}

/// The titles and the lines of the given processes.
fn filter(listing: &str, pids: &[i32]) -> Result<String, Error> {
    let mut lines = listing.lines();
    let titles = lines.next().unwrap_or_default();
    let column =
        titles.split_whitespace().position(|title| title == "PID").ok_or(Error::PsWithoutPid)?;
    let mut out = format!("{titles}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let pid: i32 = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok())
            .ok_or_else(|| Error::PsPid { line: line.to_owned() })?;
        if pids.contains(&pid) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "UID    PID CMD\nroot     1 init\nroot    12 sleep 1\nann    112 sh\n\n";

    #[test]
    fn lines_are_kept_by_their_pid() {
        assert_eq!(filter(LISTING, &[12]).unwrap(), "UID    PID CMD\nroot    12 sleep 1\n");
        assert_eq!(filter(LISTING, &[]).unwrap(), "UID    PID CMD\n");
    }

    #[test]
    fn a_listing_without_pids_is_an_error() {
        assert!(matches!(filter("UID CMD\n", &[1]), Err(Error::PsWithoutPid)));
        assert!(matches!(filter("PID CMD\nx y\n", &[1]), Err(Error::PsPid { .. })));
    }
}
