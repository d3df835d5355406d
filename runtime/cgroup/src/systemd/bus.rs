//! One connection to systemd, over a bus or directly: a call at a time, each with a deadline.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, send, setsockopt,
    socket,
    sockopt::{PeerCredentials, SendTimeout},
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Manager;
use super::address::{self, Address};
use super::message::{self, FIXED, Kind, Message, Method, NO_REPLY};
use super::value::Value;

/// How long connecting may take, and each call: what waits for no other process.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a job may take, such as starting a scope.
const JOB_PATIENCE: Duration = Duration::from_secs(30);
/// The longest line that a server writes while we introduce ourselves.
const LINE: usize = 512;

/// Why systemd did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The environment names no socket.
    #[error("no address of a bus that can be used in {variable}")]
    NoAddress {
        /// The variable.
        variable: &'static str,
    },
    /// The socket can't be connected to.
    #[error("connect to {address}")]
    Connect {
        /// The socket.
        address: String,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Processes have other numbers there.
    #[error("{address}: systemd is in another pid namespace than this process")]
    Elsewhere {
        /// The socket.
        address: String,
    },
    /// The other side does not know us, or can't be understood.
    #[error("{address}: {reason}")]
    Protocol {
        /// The socket.
        address: String,
        /// What it said or did.
        reason: String,
    },
    /// A read or write on the connection.
    #[error("talk to {address}")]
    Talk {
        /// The socket.
        address: String,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Nothing came back in time.
    #[error("{address}: no answer within {seconds} s")]
    Silent {
        /// The socket.
        address: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// systemd, or the bus, answered with an error.
    #[error("{name}: {message}")]
    Refused {
        /// The error's name, such as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// Its text.
        message: String,
    },
    /// A job that did not end well.
    #[error("the job ended as {result:?}")]
    Job {
        /// systemd's word, such as "failed" or "timeout".
        result: String,
    },
}

type Result<T> = std::result::Result<T, BusError>;

/// The name, and the one object, of systemd.
const SYSTEMD: Method<'_> = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
};
/// The bus itself.
const BUS: Method<'_> = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
};

/// A connection.
pub(crate) struct Bus {
    stream: UnixStream,
    address: String,
    serial: u32,
    signals: VecDeque<Message>,
    deadline: Instant,
    patience: Duration,
}

impl Bus {
    /// Connects, and asks to be told of the jobs on `unit`.
    pub fn connect(manager: Manager, unit: &str) -> Result<Bus> {
        let mut last = BusError::NoAddress { variable: manager.variable() };
        for address in address::of(manager, |name| std::env::var(name).ok()) {
            match Bus::connect_to(&address, unit, PATIENCE) {
                // Nobody there: perhaps at the next.
                Err(error @ BusError::Connect { .. }) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    fn connect_to(address: &Address, unit: &str, patience: Duration) -> Result<Bus> {
        let name = address.to_string();
        let failed = |source| BusError::Connect { address: name.clone(), source };
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
        // A socket whose queue is full lets connect wait for as long as a write.
        let longest = TimeVal::milliseconds(patience.as_millis() as i64);
        setsockopt(&fd, SendTimeout, &longest).map_err(failed)?;
        let to = match address {
            Address::Path(path) | Address::Private(path) => UnixAddr::new(path),
            Address::Abstract(name) => UnixAddr::new_abstract(name),
        };
        connect(fd.as_raw_fd(), &to.map_err(failed)?).map_err(failed)?;
        // Who listens there has no number in our pid namespace; a number of ours would be that of
        // some other process there.
        if getsockopt(&fd, PeerCredentials).map_err(failed)?.pid() == 0 {
            return Err(BusError::Elsewhere { address: name });
        }
        let mut bus = Bus {
            stream: fd.into(),
            address: name,
            serial: 0,
            signals: VecDeque::new(),
            deadline: Instant::now() + patience,
            patience,
        };
        bus.introduce(matches!(address, Address::Private(_)), unit)?;
        Ok(bus)
    }

    /// Says who we are, in one go with what the bus wants to hear first.
    ///
    /// The kernel tells the server our user: an identity of our own would have to be the number that
    /// the server's user namespace knows us by.
    fn introduce(&mut self, private: bool, unit: &str) -> Result<()> {
        let mut words = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
        let hello = Method { member: "Hello", ..BUS };
        let mut greeting = None;
        // systemd itself sends its signals to whoever is connected.
        if !private {
            let serial = self.next_serial();
            greeting = Some(serial);
            words.extend(message::call(hello, serial, 0, &[]));
            let rule = format!(
                "type='signal',sender='{}',interface='{}',member='JobRemoved',arg2='{unit}'",
                SYSTEMD.destination, SYSTEMD.interface
            );
            let add = Method { member: "AddMatch", ..BUS };
            words.extend(message::call(add, self.next_serial(), NO_REPLY, &[(&*rule).into()]));
        }
        self.send(&words)?;
        for wanted in ["DATA", "OK"] {
            let line = self.line()?;
            if line.split(' ').next() != Some(wanted) {
                return Err(self.protocol(format!("authentication answered with {line:?}")));
            }
        }
        greeting.map_or(Ok(()), |serial| self.answer(serial).map(drop))
    }

    /// Calls a method of systemd's manager.
    pub fn call(&mut self, member: &str, arguments: &[Value]) -> Result<Message> {
        self.method(Method { member, ..SYSTEMD }, arguments)
    }

    /// A property of systemd's manager.
    pub fn property(&mut self, name: &str) -> Result<String> {
        let method =
            Method { interface: "org.freedesktop.DBus.Properties", member: "Get", ..SYSTEMD };
        let answer = self.method(method, &[SYSTEMD.interface.into(), name.into()])?;
        let text = answer.text(0).map(str::to_owned);
        text.ok_or_else(|| self.protocol(format!("property {name} is not a text")))
    }

    /// Calls a method that makes a job, and waits for the job's end.
    pub fn job(&mut self, member: &str, arguments: &[Value]) -> Result<()> {
        let answer = self.call(member, arguments)?;
        let Some(job) = answer.text(0) else {
            return Err(self.protocol(format!("{member} answered without a job")));
        };
        self.wait_at_most(JOB_PATIENCE);
        loop {
            let signal = match self.signals.pop_front() {
                Some(signal) => signal,
                None => self.receive()?,
            };
            // Anybody on the bus may send us a signal: systemd's has the sender of its answer.
            if signal.kind == Some(Kind::Signal)
                && signal.sender == answer.sender
                && signal.interface == SYSTEMD.interface
                && signal.member == "JobRemoved"
                && signal.text(1) == Some(job)
            {
                return match signal.text(3) {
                    Some("done") => Ok(()),
                    result => Err(BusError::Job { result: result.unwrap_or_default().into() }),
                };
            }
        }
    }

    fn method(&mut self, method: Method<'_>, arguments: &[Value]) -> Result<Message> {
        self.wait_at_most(PATIENCE);
        let serial = self.next_serial();
        self.send(&message::call(method, serial, 0, arguments))?;
        self.answer(serial)
    }

    /// Waits for the answer to a call; keeps the signals that come before it.
    fn answer(&mut self, serial: u32) -> Result<Message> {
        loop {
            let message = self.receive()?;
            match message.kind {
                Some(Kind::Return) if message.reply_to == serial => return Ok(message),
                Some(Kind::Error) if message.reply_to == serial => {
                    let text = message.text(0).unwrap_or_default().to_owned();
                    return Err(BusError::Refused { name: message.error, message: text });
                }
                Some(Kind::Signal) => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn wait_at_most(&mut self, patience: Duration) {
        self.patience = patience;
        self.deadline = Instant::now() + patience;
    }

    fn receive(&mut self) -> Result<Message> {
        let mut fixed = [0; FIXED];
        self.read(&mut fixed)?;
        let length = message::length(&fixed)
            .ok_or_else(|| self.protocol("what came is no message".into()))?;
        let mut bytes = vec![0; length];
        bytes[..FIXED].copy_from_slice(&fixed);
        self.read(&mut bytes[FIXED..])?;
        Message::parse(&bytes).ok_or_else(|| self.protocol("a message can't be read".into()))
    }

    /// One line, byte by byte: what follows the last is a message already.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() == LINE {
                return Err(self.protocol("authentication never ends its line".into()));
            }
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    fn read(&mut self, mut into: &mut [u8]) -> Result<()> {
        while !into.is_empty() {
            let left = self.left()?;
            self.stream.set_read_timeout(Some(left)).map_err(|error| self.talk(&error))?;
            match self.stream.read(into) {
                Ok(0) => return Err(self.protocol("the connection was closed".into())),
                Ok(count) => into = &mut into[count..],
                Err(error) => self.again(&error)?,
            }
        }
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let left = self.left()?;
            self.stream.set_write_timeout(Some(left)).map_err(|error| self.talk(&error))?;
            // A peer that has gone is an error, not a signal.
            match send(self.stream.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => self.again(&error.into())?,
            }
        }
        Ok(())
    }

    /// The time left, which is not zero: that would mean for ever.
    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.silent()) } else { Ok(left) }
    }

    fn again(&self, error: &std::io::Error) -> Result<()> {
        match error.kind() {
            std::io::ErrorKind::Interrupted => Ok(()),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Err(self.silent()),
            _ => Err(self.talk(error)),
        }
    }

    fn silent(&self) -> BusError {
        BusError::Silent { address: self.address.clone(), seconds: self.patience.as_secs() }
    }

    fn protocol(&self, reason: String) -> BusError {
        BusError::Protocol { address: self.address.clone(), reason }
    }

    fn talk(&self, error: &std::io::Error) -> BusError {
        let source = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        BusError::Talk { address: self.address.clone(), source }
    }
}

#[cfg(test)]
mod tests;
