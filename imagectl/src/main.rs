//! imagectl: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use imagectl::commands::{Arguments, run};
use imagectl::user_namespace;

fn main() -> ExitCode {
    if user_namespace::maps().is_some() && !user_namespace::enter() {
        // Whoever asked for it goes on without.
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    if let Some(maps) = arguments.user_namespace() {
        match user_namespace::run(&maps) {
            Ok(Some(status)) if status.success() => return ExitCode::SUCCESS,
            // It has said why.
            Ok(Some(_)) => return ExitCode::FAILURE,
            Ok(None) => {}
            Err(error) => return fail(&error),
        }
    }
    let mut out = std::io::stdout().lock();
    match run(arguments, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &imagectl::Error) -> ExitCode {
    // Nobody is left to hear that standard error is gone.
    let _ = writeln!(std::io::stderr(), "imagectl: {}", error.chain());
    ExitCode::FAILURE
}
