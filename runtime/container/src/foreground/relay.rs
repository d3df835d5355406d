//! Copying between our standard streams and a terminal's master.

use std::io::{self, Stdin, Stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

use crate::error::{Context, Error};

/// A pipe that poll(2) calls writable takes so much without blocking (PIPE_BUF).
const CHUNK: usize = 4096;

/// Bytes on their way from one descriptor to another.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// So many have been written.
    done: usize,
    /// Nothing more is to be read.
    ended: bool,
    /// Nothing more can be written: what comes is dropped.
    broken: bool,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.done == self.bytes.len()
    }

    fn wants_input(&self) -> bool {
        self.is_empty() && !self.ended
    }

    /// Reads once. False when there was nothing.
    fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        self.bytes.resize(CHUNK, 0);
        self.done = 0;
        let count = match read(from, &mut self.bytes) {
            Ok(count) => {
                self.ended = count == 0;
                count
            }
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            // EIO: all other ends of a terminal are closed, or it is another job's.
            Err(_) => {
                self.ended = true;
                0
            }
        };
        self.bytes.truncate(if self.broken { 0 } else { count });
        count > 0
    }

    /// Writes once.
    fn drain(&mut self, to: BorrowedFd<'_>) {
        match write(to, &self.bytes[self.done..]) {
            Ok(count) => self.done += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.broken = true;
                self.done = self.bytes.len();
            }
        }
    }
}

/// The two directions.
#[derive(Debug)]
pub(super) struct Relay {
    master: OwnedFd,
    stdin: Stdin,
    stdout: Stdout,
    input: Buffer,
    output: Buffer,
}

impl Relay {
    pub fn new(master: OwnedFd) -> Result<Relay, Error> {
        let failed = || "make the container's terminal non-blocking";
        let flags = fcntl(&master, FcntlArg::F_GETFL).context(failed)?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(&master, FcntlArg::F_SETFL(flags)).context(failed)?;
        Ok(Relay {
            master,
            stdin: io::stdin(),
            stdout: io::stdout(),
            input: Buffer::default(),
            output: Buffer::default(),
        })
    }

    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// What to wait for before the next `copy`. A descriptor of which nothing is wanted is left
    /// out, since poll(2) reports a hang-up even then.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        let mut wanted = Vec::new();
        if self.input.wants_input() {
            wanted.push(PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN));
        }
        let mut of_master = PollFlags::empty();
        of_master.set(PollFlags::POLLIN, self.output.wants_input());
        of_master.set(PollFlags::POLLOUT, !self.input.is_empty());
        if !of_master.is_empty() {
            wanted.push(PollFd::new(self.master.as_fd(), of_master));
        }
        if !self.output.is_empty() {
            wanted.push(PollFd::new(self.stdout.as_fd(), PollFlags::POLLOUT));
        }
        wanted
    }

    /// Copies what can be copied without blocking.
    pub fn copy(&mut self) {
        if self.input.wants_input() && is_ready(self.stdin.as_fd(), PollFlags::POLLIN) {
            self.input.fill(self.stdin.as_fd());
        }
        if !self.input.is_empty() {
            self.input.drain(self.master.as_fd());
        }
        if self.output.wants_input() {
            self.output.fill(self.master.as_fd());
        }
        if !self.output.is_empty() && is_ready(self.stdout.as_fd(), PollFlags::POLLOUT) {
            self.output.drain(self.stdout.as_fd());
        }
    }

    /// Writes out what the process left behind when it ended; waits for a slow reader.
    pub fn finish(&mut self) {
        loop {
            while !self.output.is_empty() {
                let mut wanted = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut wanted, PollTimeout::NONE).is_err_and(|errno| errno != Errno::EINTR) {
                    return;
                }
                self.output.drain(self.stdout.as_fd());
            }
            if self.output.ended || !self.output.fill(self.master.as_fd()) {
                return;
            }
        }
    }
}

fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    poll(&mut [PollFd::new(fd, events)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
