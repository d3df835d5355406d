//! imagectl: parse, run, exit code.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use clap::Parser;
use imagectl::commands::{Arguments, run};
use imagectl::user_namespace;

fn main() -> ExitCode {
    if !user_namespace::enter() {
        // Whoever asked for it goes on without.
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    if let Some(maps) = arguments.user_namespace() {
        match user_namespace::run(&maps) {
            // It has said what was wrong.
            Ok(Some(status)) => return exit_code(status),
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

/// As a shell has it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn fail(error: &imagectl::Error) -> ExitCode {
    // Nobody is left to hear that standard error is gone.
    let _ = writeln!(std::io::stderr(), "imagectl: {}", error.chain());
    ExitCode::FAILURE
}
