//! `state`: prints a container's state as JSON.

use clap::ArgMatches;

use crate::cli::{self, Entry};
use crate::context::Context;
use crate::error::Error;
use crate::output::{self, json, state::State};

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "state",
    about: "print the state of a container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let container = context.store()?.load(cli::id(arguments)?)?;
    // runc leaves the owner empty here; `list` has it.
    let state = State::of(&container, String::new())?;
    output::print(&json::indented("state", &state, "  ")?)?;
    Ok(0)
}
