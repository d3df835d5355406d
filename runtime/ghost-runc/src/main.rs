//! ghost-runc: the command line. Parse, run, exit code; the rest is in the modules.

mod chain;
mod cli;
mod commands;
mod context;
mod error;
mod kernel;
mod logger;
mod output;

use std::process::ExitCode;

use cli::Invocation;
use context::Context;
use error::Error;
use logger::Logger;

fn main() -> ExitCode {
    let mut logger = Logger::default();
    let status = run(&mut logger).unwrap_or_else(|error| {
        logger.error(&kernel::explained(chain::text(&error)));
        error.exit_code()
    });
    ExitCode::from(status)
}

/// Does what the arguments ask for. `logger` becomes the one they name as soon as it is known, so
/// that later errors go there.
fn run(logger: &mut Logger) -> Result<u8, Error> {
    match cli::parse(std::env::args_os().skip(1).collect())? {
        Invocation::Print(text) => output::print(&text).map(|()| 0),
        Invocation::Command { globals, entry, arguments } => {
            *logger = Logger::open(&globals)?;
            logger.take_records(globals.debug);
            log::debug!("{} {arguments:?}", entry.name);
            let arguments = match entry.parse(arguments)? {
                cli::Arguments::Print(text) => return output::print(&text).map(|()| 0),
                cli::Arguments::Parsed(arguments) => arguments,
            };
            (entry.run)(&Context::new(&globals)?, &arguments)
        }
    }
}
