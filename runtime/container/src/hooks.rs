//! Running hooks: the state on stdin, a deadline, and what they wrote in the error.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::Hook;
use serde_json::{Value, json};

use crate::error::{Error, Os};
use crate::store::State;

/// At most this much of what a hook writes comes into an error.
const OUTPUT: usize = 4096;

/// The state as the runtime-spec defines it, for a hook's stdin.
pub(crate) fn state_json(state: &State, status: &str, pid: i32) -> Vec<u8> {
    state_value(state, status, pid).to_string().into_bytes()
}

/// The state as the runtime-spec defines it.
pub(crate) fn state_value(state: &State, status: &str, pid: i32) -> Value {
    let mut value = json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "status": status,
        "pid": pid,
        "bundle": state.bundle,
    });
    if !state.annotations.is_empty() {
        value["annotations"] = json!(state.annotations);
    }
    value
}

/// Runs the hooks of one kind in order, in `cwd`; the first that fails ends it.
pub(crate) fn run(
    kind: &'static str,
    hooks: &[Hook],
    state: &[u8],
    cwd: Option<&Path>,
) -> Result<(), Error> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_at(kind, index, hook, state, cwd))
}

fn run_at(
    kind: &'static str,
    index: usize,
    hook: &Hook,
    state: &[u8],
    cwd: Option<&Path>,
) -> Result<(), Error> {
    let path = hook.path().clone();
    run_one(hook, state, cwd).map_err(|reason| Error::Hook { kind, index, path, reason })
}

/// The hooks that run once the container is gone. runtime-spec: a failure is a warning, and the others
/// run all the same.
pub(crate) fn run_poststop(state: &State) {
    let json = state_json(state, "stopped", 0);
    let cwd = Some(state.bundle.as_path()).filter(|bundle| bundle.is_dir());
    for (index, hook) in state.poststop.iter().enumerate() {
        if let Err(error) = run_at("poststop", index, hook, &json, cwd) {
            log::warn!("{error}");
        }
    }
}

fn run_one(hook: &Hook, state: &[u8], cwd: Option<&Path>) -> Result<(), String> {
    let mut command = Command::new(hook.path());
    if let Some((name, args)) = hook.args().as_deref().and_then(|args| args.split_first()) {
        command.arg0(name).args(args);
    }
    command.env_clear();
    for variable in hook.env().iter().flatten() {
        // The plan refuses others.
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
    }
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    // What our caller left open is not meant for a hook, which may leave processes behind; nor is what it
    // passed on for the container.
    sys::process::close_on_exec(3).map_err(|errno| Os(errno).to_string())?;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Os::from(error).to_string())?;
    // One that no clock reaches is none.
    let deadline = hook
        .timeout()
        .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds.max(0) as u64)));
    let output = match converse(&mut child, state, deadline) {
        Ok(output) => output,
        Err(stop) => {
            // It may have ended in between, which is as good.
            drop(child.kill());
            drop(child.wait());
            return Err(match stop {
                Stop::TimedOut => {
                    format!("timed out after {} s", hook.timeout().unwrap_or_default())
                }
                Stop::Failed(errno) => Os(errno).to_string(),
            });
        }
    };
    let status = child.wait().map_err(|error| Os::from(error).to_string())?;
    if status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output);
    let output = output.trim();
    Err(if output.is_empty() { status.to_string() } else { format!("{status}, stderr: {output}") })
}

/// Why a hook is not waited for any longer.
enum Stop {
    TimedOut,
    Failed(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Failed(errno)
    }
}

/// Writes `state` to the hook and reads its stderr until it ends. A process that the hook left
/// behind may keep the pipes open: only the hook's own end counts.
fn converse(child: &mut Child, state: &[u8], deadline: Option<Instant>) -> Result<Vec<u8>, Stop> {
    let pidfd = sys::process::pidfd_open(child.id() as i32)?;
    let mut stdin = child.stdin.take().map(OwnedFd::from);
    let mut stderr = child.stderr.take().map(OwnedFd::from);
    for fd in stdin.iter().chain(&stderr) {
        nix::fcntl::fcntl(fd, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    }
    let mut state = state;
    let mut output = Vec::new();
    loop {
        if state.is_empty() {
            stdin = None;
        }
        let (ended, writable, readable) = wait(&pidfd, stdin.as_ref(), stderr.as_ref(), deadline)?;
        if writable && let Some(fd) = &stdin {
            match nix::unistd::write(fd, state) {
                Ok(len) => state = &state[len..],
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // It does not want the state, as most hooks.
                Err(_) => stdin = None,
            }
        }
        if readable && let Some(fd) = &stderr {
            let mut buffer = [0; OUTPUT];
            match nix::unistd::read(fd, &mut buffer) {
                Ok(0) => stderr = None,
                Ok(len) => output.extend_from_slice(&buffer[..len.min(OUTPUT - output.len())]),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => stderr = None,
            }
        }
        if ended && !readable {
            return Ok(output);
        }
    }
}

/// Whether the hook has ended, takes more input, or has written something.
fn wait(
    pidfd: &OwnedFd,
    stdin: Option<&OwnedFd>,
    stderr: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> Result<(bool, bool, bool), Stop> {
    let timeout = match deadline {
        None => PollTimeout::NONE,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stop::TimedOut);
            }
            // Rounded up, so that the last round does not spin.
            let millis = left.as_millis() + 1;
            PollTimeout::try_from(millis.min(i32::MAX as u128) as i32).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    fds.extend(stdin.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
    fds.extend(stderr.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    match poll(&mut fds, timeout) {
        Err(Errno::EINTR) => return Ok((false, false, false)),
        result => result?,
    };
    let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
    let ended = ready.next().unwrap_or(false);
    let writable = stdin.is_some() && ready.next().unwrap_or(false);
    let readable = stderr.is_some() && ready.next().unwrap_or(false);
    Ok((ended, writable, readable))
}
