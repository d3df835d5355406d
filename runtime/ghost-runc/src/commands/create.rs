//! `create`: makes a container whose process waits for `start`.

use clap::ArgMatches;
use container::{Status, guard};

use super::launch::{self, Launch};
use crate::cli::{self, Entry};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "create",
    about: "create a container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: launch::flags,
    run,
};

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    create(context, arguments).map_err(|error| Error::Create { source: Box::new(error) })?;
    Ok(0)
}

fn create(context: &Context, arguments: &ArgMatches) -> Result<(), Error> {
    guard::protect_own_binary()?;
    let mut launch = Launch::load(context, arguments)?;
    let console_socket = launch.connect_console(true)?;
    let id = cli::id(arguments)?;
    let container = container::create(&context.store()?, launch.options(id, console_socket))?;
    log::debug!("{id} waits for its start as process {}", container.pid(Status::Created));
    Ok(())
}
