//! `run`: creates a container, starts it, and unless detached stays with it to its end.

use clap::{Arg, ArgMatches};
use container::foreground::{self, Foreground};
use container::guard;

use super::console;
use super::launch::{self, Launch};
use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "run",
    about: "create a container, run it, and wait for it",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    let mut flags = launch::flags();
    flags.extend([
        flag::switch("detach", "leave the container running").short('d'),
        flag::switch("keep", "do not delete the container when it ends"),
        flag::switch("no-subreaper", "leave orphans of the container to others"),
    ]);
    flags
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let run = if arguments.get_flag("detach") { detached } else { attached };
    run(context, arguments).map_err(|error| Error::Run { source: Box::new(error) })
}

fn detached(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    guard::protect_own_binary()?;
    let mut launch = Launch::load(context, arguments)?;
    let console_socket = launch.connect_console(true)?;
    let id = cli::id(arguments)?;
    container::prepare(&context.store()?, launch.options(id, console_socket))?.start()?;
    Ok(0)
}

fn attached(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    guard::protect_own_binary()?;
    let mut launch = Launch::load(context, arguments)?;
    launch.connect_console(false)?;
    let id = cli::id(arguments)?;
    let mut foreground = Foreground::new(foreground::Options {
        terminal: launch.terminal(),
        subreaper: !arguments.get_flag("no-subreaper"),
    })?;
    let options = launch.options(id, foreground.take_console_socket());
    let prepared = container::prepare(&context.store()?, options)?;
    if let Err(error) = console::attach(&mut foreground) {
        prepared.container.delete(true)?;
        return Err(error);
    }
    let running = prepared.start()?;
    log::debug!("{id} runs as process {}", running.process.pid);
    let status = foreground.wait(&running.process);
    if !arguments.get_flag("keep") {
        running.container.delete(true)?;
    }
    Ok(status?)
}
