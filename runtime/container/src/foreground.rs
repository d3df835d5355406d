//! Staying with a process in the foreground: signals are passed on, a terminal is relayed, and
//! its end becomes an exit code.
//!
//! ```text
//! Foreground::new           signals blocked; a socket pair when there is a terminal
//!   take_console_socket     init's end of the pair, for CreateOptions or ExecOptions
//!   take_console            our end, where the master arrives
//!   attach                  its size is set, and our own terminal made raw
//!   wait                    one poll loop: signals, the pidfd, both directions of the terminal
//! ```
//!
//! One thread does it all, so that the process can still be cloned after `new`.

mod relay;
mod terminal;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use sys::process::Exit;
use sys::tty::Size;

use crate::error::{Context, Error};
use crate::process::Process;
use relay::Relay;
use terminal::{Console, Terminal};

/// What the process in the foreground needs.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The process has a terminal, whose other side is ours.
    pub terminal: bool,
    /// Orphans of the container become our children, which are then reaped.
    pub subreaper: bool,
}

/// The runtime's side of a process in the foreground.
///
/// Dropping it gives our own terminal its mode back; signals stay blocked, for the runtime has
/// nothing else to do than to end.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalFd,
    /// Children that are not ours by birth are to be reaped.
    subreaper: bool,
    /// Until the process has its terminal.
    console: Option<Console>,
    terminal: Option<Terminal>,
    relay: Option<Relay>,
}

impl Foreground {
    /// Blocks all signals, so that none is lost between the making of the process and `wait`.
    /// Whoever clones after this must unblock them in the child.
    ///
    /// # Errors
    ///
    /// Descriptors ran out.
    pub fn new(options: Options) -> Result<Foreground, Error> {
        if options.subreaper {
            sys::process::set_child_subreaper(true).context(|| "become the child subreaper")?;
        }
        let all = SigSet::all();
        all.thread_block().context(|| "block signals")?;
        let signals = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context(|| "signalfd")?;
        let console = options.terminal.then(Console::new).transpose()?;
        let terminal = if options.terminal { Terminal::find() } else { None };
        Ok(Foreground { signals, subreaper: options.subreaper, console, terminal, relay: None })
    }

    /// The end of the socket pair through which init sends the master of its terminal.
    pub fn take_console_socket(&mut self) -> Option<OwnedFd> {
        self.console.as_mut().and_then(Console::take_far_end)
    }

    /// The size of our own terminal; none when the process has no terminal or we have none.
    pub fn size(&self) -> Option<Size> {
        self.terminal.as_ref().and_then(Terminal::size)
    }

    /// Our end of the socket pair, where init's message with the master waits once the process
    /// is prepared; none without a terminal.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take().map(Console::into_near_end)
    }

    /// Takes over the terminal that init has made: gives it the size of ours, and makes ours raw.
    ///
    /// # Errors
    ///
    /// `master` is no terminal, or our own can't be changed.
    pub fn attach(&mut self, master: OwnedFd) -> Result<(), Error> {
        if let Some(size) = self.size() {
            sys::tty::set_size(master.as_fd(), size).context(|| "set the terminal's size")?;
        }
        // Line ends are translated in one place. That is the container's terminal, so that its
        // programs can change it, unless the output goes to a file or a pipe.
        let shown = terminal::is_output_shown();
        if !shown {
            terminal::keep_line_ends(master.as_fd())?;
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.make_raw(shown)?;
        }
        self.relay = Some(Relay::new(master)?);
        Ok(())
    }

    /// Waits for the end of the process, passing on signals and the terminal's data meanwhile.
    /// The exit code is the process's own, or 128 and the number of the signal that killed it.
    ///
    /// # Errors
    ///
    /// The process can't be waited for.
    pub fn wait(mut self, process: &Process) -> Result<u8, Error> {
        while !self.turn(process)? {}
        let code = exit_code(process)?;
        if let Some(relay) = &mut self.relay {
            relay.finish();
        }
        Ok(code)
    }

    /// Waits for one thing to happen and sees to it; true when the process has ended.
    fn turn(&mut self, process: &Process) -> Result<bool, Error> {
        let mut wanted = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(relay) = &self.relay {
            wanted.extend(relay.wanted());
        }
        match poll(&mut wanted, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll the process", errno)),
        }
        let [signalled, ended] = [0, 1].map(|at: usize| is_ready(&wanted[at]));
        drop(wanted);
        if signalled {
            self.pass_signals(process)?;
        }
        if let Some(relay) = &mut self.relay {
            relay.copy();
        }
        Ok(ended)
    }

    fn pass_signals(&mut self, process: &Process) -> Result<(), Error> {
        while let Some(info) = self.signals.read_signal().context(|| "read signals")? {
            let number = info.ssi_signo as i32;
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) if self.subreaper => reap_others(process.pid),
                Ok(Signal::SIGWINCH) => self.resize(),
                // About the process itself, of which the pidfd tells; or from our own writes.
                Ok(Signal::SIGCHLD | Signal::SIGPIPE) => {}
                _ => pass(process.pidfd.as_fd(), number)?,
            }
        }
        Ok(())
    }

    fn resize(&self) {
        if let (Some(relay), Some(size)) = (&self.relay, self.size()) {
            // The terminal is gone when all of its processes are.
            let _ = sys::tty::set_size(relay.master(), size);
        }
    }
}

/// Kills a process that could not be taken over, and reaps it.
///
/// # Errors
///
/// It can't be waited for.
pub fn kill(process: &Process) -> Result<(), Error> {
    pass(process.pidfd.as_fd(), Signal::SIGKILL as i32)?;
    process.wait().map(drop).context(|| format!("wait for process {}", process.pid))
}

fn pass(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Error> {
    match sys::process::pidfd_send_signal(pidfd, signal) {
        // It has ended: the next turn sees that.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::system(format!("send signal {signal}"), errno)),
    }
}

fn is_ready(fd: &PollFd<'_>) -> bool {
    fd.revents().is_some_and(|events| !events.is_empty())
}

/// Reaps what has ended but the process itself, whose status is still to be read.
fn reap_others(process: i32) {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let reap = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    while let Ok(status) = waitid(Id::All, peek) {
        match status.pid() {
            Some(pid) if pid.as_raw() != process => {
                if waitid(Id::Pid(pid), reap).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Reaps the process, which has ended.
fn exit_code(process: &Process) -> Result<u8, Error> {
    let exit = process.wait().context(|| format!("wait for process {}", process.pid))?;
    Ok(match exit {
        Exit::Code(code) => code as u8,
        Exit::Signal(number) => 128 + number as u8,
    })
}

#[cfg(test)]
mod tests;
