//! `run`: creates a container, starts it, and unless detached stays with it to its end.

use std::path::Path;
use std::thread::JoinHandle;

use clap::{Arg, ArgMatches};
use container::foreground::{self, Foreground};
use container::readiness::Readiness;
use container::{Prepared, guard};

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
    let notify = launch.notify.clone();
    let prepared = container::prepare(&context.store()?, launch.options(id, console_socket))?;
    let (prepared, readiness) = listen(prepared, notify.as_deref())?;
    let running = prepared.start()?;
    if let Some(Err(error)) = readiness.map(|readiness| readiness.pass_on()) {
        running.container.delete(true)?;
        return Err(error.into());
    }
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
    let notify = launch.notify.clone();
    let options = launch.options(id, foreground.take_console_socket());
    let prepared = container::prepare(&context.store()?, options)?;
    if let Err(error) = console::attach(&mut foreground) {
        prepared.container.delete(true)?;
        return Err(error);
    }
    let (prepared, readiness) = listen(prepared, notify.as_deref())?;
    let running = prepared.start()?;
    let word = readiness.map(pass_on);
    log::debug!("{id} runs as process {}", running.process.pid);
    let status = foreground.wait(&running.process);
    if let Some(word) = word {
        // It ends with the container, and a panic of its own is not ours.
        drop(word.join());
    }
    if !arguments.get_flag("keep") {
        running.container.delete(true)?;
    }
    Ok(status?)
}

/// Listens for the word of a container that `host` waits for.
fn listen(prepared: Prepared, host: Option<&Path>) -> Result<(Prepared, Option<Readiness>), Error> {
    let Some(host) = host else { return Ok((prepared, None)) };
    match prepared.container.readiness(host) {
        Ok(readiness) => Ok((prepared, readiness)),
        Err(error) => {
            prepared.container.delete(true)?;
            Err(error.into())
        }
    }
}

/// Passes the word on while this process waits for the container's end.
fn pass_on(readiness: Readiness) -> JoinHandle<()> {
    std::thread::spawn(move || {
        if let Err(error) = readiness.pass_on() {
            log::warn!("{}", crate::chain::text(&error));
        }
    })
}
