//! `pause`: stops all processes of a container where they are.

use clap::ArgMatches;

use crate::cli::{self, Entry};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "pause",
    about: "suspend all processes of a container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    context.store()?.load(cli::id(arguments)?)?.pause()?;
    Ok(0)
}
