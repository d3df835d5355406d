//! One command: its time, its output, and an end for it when it hangs.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Failure;

/// The longest that one command may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Run `command` to its end; its time in ms. Output goes nowhere, errors to a file: a container keeps
/// both, so a pipe would not end.
pub fn time(command: &mut Command, scratch: &Path) -> Result<f64, Failure> {
    let mut errors = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(scratch.join("stderr"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.try_clone()?);
    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&handle.as_fd(), PollFlags::IN)], Some(&limit))?;
    if ended == 0 {
        child.kill()?;
    }
    let status = child.wait()?;
    let elapsed = start.elapsed().as_secs_f64() * 1000.0;
    if ended == 0 {
        return Err(format!("{command:?} hangs").into());
    }
    if !status.success() {
        let mut text = String::new();
        errors.rewind()?;
        errors.read_to_string(&mut text)?;
        return Err(format!("{command:?}: {status}: {}", text.trim()).into());
    }
    Ok(elapsed)
}

/// What `command` writes.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{command:?}: {}: {text}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
