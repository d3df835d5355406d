//! Locks a file, and waits.

use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// Exits 1 when the file of that name can't be locked.
pub fn run() -> ExitCode {
    let name = std::env::args_os().nth(2).unwrap_or_default();
    let locked = std::fs::File::create(name).ok().filter(|file| {
        let wanted = FlockOperation::NonBlockingLockExclusive;
        flock(file, wanted).is_ok()
    });
    let Some(_locked) = locked else { return ExitCode::FAILURE };
    std::thread::sleep(Duration::from_secs(1000));
    ExitCode::SUCCESS
}
