//! `resume`: lets the processes of a paused container go on.

use clap::ArgMatches;

use crate::cli::{self, Entry};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "resume",
    about: "resume all processes of a paused container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    context.store()?.load(cli::id(arguments)?)?.resume()?;
    Ok(0)
}
