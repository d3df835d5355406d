//! sd_notify(3) through the runtime: a container that says it is ready says so to a socket of ours,
//! and who waits on the host is told by us, with the pid that is init's there.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Mount, MountBuilder, Spec};

use crate::container::Container;
use crate::error::{Context, Error};
use crate::socket::send_fd;
use crate::store::Store;

/// The directory that a container gets, in its state directory and in the container.
pub(crate) const DIRECTORY: &str = "notify";
const IN_CONTAINER: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// How long the one who waits may take to handle what came before the barrier.
const BARRIER: Duration = Duration::from_secs(30);

/// How long a full queue may take to have room.
const PATIENCE: Duration = Duration::from_secs(5);

/// As many messages as a socket keeps, and more.
const BACKLOG: usize = 1000;

/// Gives the container a place where it can say that it is ready: a mount and NOTIFY_SOCKET.
pub fn add_to(spec: &mut Spec, store: &Store, id: &str) -> Result<(), Error> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    let mount: Mount = MountBuilder::default()
        .destination(IN_CONTAINER)
        .typ("bind")
        .source(store.root().join(id).join(DIRECTORY))
        .options(options)
        .build()
        .map_err(|error| Error::invalid("mounts", error.to_string()))?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        env.push(format!("NOTIFY_SOCKET={IN_CONTAINER}/{SOCKET}"));
        process.set_env(Some(env));
    }
    Ok(())
}

/// Every user of the container may reach what is in it, whatever our umask.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// The socket that a container tells, before it has been started.
#[derive(Debug)]
pub struct Readiness {
    socket: UnixDatagram,
    host: UnixDatagram,
    init: OwnedFd,
    pid: i32,
}

impl Container {
    /// Listens for the container's word, for `host`: the value of NOTIFY_SOCKET that the runtime was
    /// started with, a path, or a name after `@`. None for a container that was made without a place
    /// to say it.
    pub fn readiness(&self, host: &Path) -> Result<Option<Readiness>, Error> {
        let host = connect_to(host).context(|| format!("connect to {}", host.display()))?;
        let path = self.entry.file(DIRECTORY).join(SOCKET);
        let step = || format!("listen on {DIRECTORY}/{SOCKET} of the container's state");
        // Of a start that was refused.
        drop(fs::remove_file(&path));
        // For every user that the container may run as, from the start: a link may stand there later.
        let umask = nix::sys::stat::umask(Mode::from_bits_truncate(0o111));
        let socket = UnixDatagram::bind(&path);
        nix::sys::stat::umask(umask);
        let socket = match socket {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            socket => socket.context(step)?,
        };
        Ok(self.init()?.map(|init| Readiness { socket, host, init, pid: self.state.pid }))
    }
}

impl Readiness {
    /// Waits for the container's word or its end, and passes the word on.
    pub fn pass_on(&self) -> Result<(), Error> {
        let Some(ready) = self.wait()? else { return Ok(()) };
        match self.tell(&ready) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                log::warn!("nobody has read from NOTIFY_SOCKET for {} s", PATIENCE.as_secs());
                Ok(())
            }
            result => result.context(|| "tell NOTIFY_SOCKET that the container is ready"),
        }
    }

    fn tell(&self, ready: &[u8]) -> io::Result<()> {
        self.host.send(&[ready, b"\n"].concat())?;
        self.host.send(format!("MAINPID={}\n", self.pid).as_bytes())?;
        Ok(barrier(&self.host)?)
    }

    /// The line that begins with READY=; none when the container has ended without it.
    fn wait(&self) -> Result<Option<Vec<u8>>, Error> {
        let step = || "wait for the container to be ready";
        let mut packet = [0; 4096];
        self.socket.set_nonblocking(true).context(step)?;
        loop {
            let socket = PollFd::new(self.socket.as_fd(), PollFlags::POLLIN);
            let init = PollFd::new(self.init.as_fd(), PollFlags::POLLIN);
            let mut fds = [socket, init];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.context(step)?,
            };
            let ended = fds[1].any().unwrap_or(true);
            // No more than were there: others may go on to send for ever.
            for _ in 0..BACKLOG {
                let Ok(length) = self.socket.recv(&mut packet) else { break };
                let mut lines = packet[..length].split(|&byte| byte == b'\n');
                if let Some(line) = lines.find(|line| line.starts_with(b"READY=")) {
                    return Ok(Some(line.to_vec()));
                }
            }
            if ended {
                return Ok(None);
            }
        }
    }
}

fn connect_to(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match path.as_os_str().as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    };
    socket.connect_addr(&address?)?;
    // Whoever is to hear of it may have stopped to listen.
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// sd_notify_barrier(3): the other side closes the pipe once it has read what came before.
fn barrier(client: &UnixDatagram) -> Result<(), Errno> {
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    send_fd(client.as_fd(), b"BARRIER=1", theirs.as_fd())?;
    drop(theirs);
    let timeout = PollTimeout::try_from(BARRIER).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(ours.as_fd(), PollFlags::POLLIN)], timeout)? {
        0 => {
            log::warn!("nobody has answered the barrier of sd_notify");
            Ok(())
        }
        _ => Ok(()),
    }
}
