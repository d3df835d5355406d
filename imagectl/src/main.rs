//! imagectl: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use imagectl::commands::{Arguments, run};

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    match run(Arguments::parse(), &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to hear that standard error is gone.
            let _ = writeln!(std::io::stderr(), "imagectl: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}
