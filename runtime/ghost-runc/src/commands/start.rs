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
    let readiness = match launch::notify_socket() {
        Some(host) => container.readiness(&host)?,
        None => None,
    };
    container.start()?;
    if let Some(readiness) = readiness {
        readiness.pass_on()?;
    }
    Ok(0)
}
