//! `start`: lets a created container's process run.

use clap::ArgMatches;

use super::launch;
use crate::cli::{self, Entry};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "start",
    about: "run the process of a created container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let mut container = context.store()?.load(cli::id(arguments)?)?;
    if let Some(readiness) = container.start(launch::notify_socket().as_deref())? {
        readiness.pass_on()?;
    }
    Ok(0)
}
