//! What `create` and `run` share: the flags, the bundle, and the descriptors passed in.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches};
use container::{Bundle, CreateOptions, readiness};

use crate::cli::{self, flag};
use crate::context::{Context, absolute};
use crate::error::Error;

/// The flags of `create`, which are all flags of `run` too.
pub fn flags() -> Vec<Arg> {
    vec![
        flag::file("bundle", "directory of the bundle [default: the current directory]").short('b'),
        flag::file("console-socket", "unix socket that receives the terminal's master"),
        flag::file("pidfd-socket", "unix socket that receives a pidfd of init"),
        flag::file("pid-file", "file to write the process ID to"),
        flag::switch("no-pivot", "change to the rootfs without pivot_root, for ramdisks"),
        flag::switch("no-new-keyring", "keep the caller's session keyring"),
        preserve_fds(),
    ]
}

/// `--preserve-fds`
pub fn preserve_fds() -> Arg {
    flag::count("preserve-fds", "pass N descriptors beyond stdio and $LISTEN_FDS [default: 0]")
}

/// A container about to be made.
pub struct Launch {
    /// What to make it from; the environment may have LISTEN_FDS added.
    pub bundle: Bundle,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<OwnedFd>,
    /// Whom to tell that the container is ready.
    pub notify: Option<PathBuf>,
    no_pivot: bool,
    no_new_keyring: bool,
    preserve_fds: u32,
    systemd_cgroup: bool,
}

impl Launch {
    /// Reads the flags and the bundle they name.
    pub fn load(context: &Context, arguments: &ArgMatches) -> Result<Launch, Error> {
        let dir = flag::path(arguments, "bundle").filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.as_deref().unwrap_or(Path::new("."));
        let mut bundle = Bundle::load(dir, context.systemd_cgroup)?;
        container::check_id(cli::id(arguments)?)?;
        let listen = listen_fds();
        if let Some(process) = bundle.spec.process_mut() {
            let mut env = process.env().clone().unwrap_or_default();
            env.extend(listen_environment(listen));
            process.set_env(Some(env));
        }
        let notify = notify_socket();
        if notify.is_some() {
            readiness::add_to(&mut bundle.spec, &context.store()?, cli::id(arguments)?)?;
        }
        Ok(Launch {
            bundle,
            pid_file: path(arguments, "pid-file")?,
            console_socket: path(arguments, "console-socket")?,
            pidfd_socket: connect_pidfd(arguments)?,
            notify,
            no_pivot: arguments.get_flag("no-pivot"),
            no_new_keyring: arguments.get_flag("no-new-keyring"),
            preserve_fds: preserved(arguments, listen)?,
            systemd_cgroup: context.systemd_cgroup,
        })
    }

    /// Whether the process wants a terminal.
    pub fn terminal(&self) -> bool {
        self.bundle.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false)
    }

    /// Connects to the console socket, which must be given just when it is needed.
    pub fn connect_console(&self, detach: bool) -> Result<Option<OwnedFd>, Error> {
        connect_console(self.console_socket.as_deref(), self.terminal(), detach)
    }

    /// What the container crate needs.
    pub fn options<'a>(
        &'a mut self,
        id: &'a str,
        console_socket: Option<OwnedFd>,
    ) -> CreateOptions<'a> {
        CreateOptions {
            id,
            bundle: &self.bundle,
            pid_file: self.pid_file.as_deref(),
            console_socket,
            pidfd_socket: self.pidfd_socket.take(),
            readiness: self.notify.is_some(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            systemd_cgroup: self.systemd_cgroup,
        }
    }
}

/// The path of a flag from / on; an empty one counts as none.
pub fn path(arguments: &ArgMatches, name: &str) -> Result<Option<PathBuf>, Error> {
    let path = flag::path(arguments, name).filter(|path| !path.as_os_str().is_empty());
    path.map(|path| absolute(&path)).transpose()
}

/// Connects to the console socket, which must be given just when a detached process has a
/// terminal: otherwise nobody would have its master, or two would.
pub fn connect_console(
    socket: Option<&Path>,
    terminal: bool,
    detach: bool,
) -> Result<Option<OwnedFd>, Error> {
    match (socket, terminal && detach) {
        (None, true) => Err(Error::TerminalWithoutSocket),
        (Some(_), false) => Err(Error::SocketWithoutTerminal),
        (None, false) => Ok(None),
        (Some(path), true) => {
            let stream = UnixStream::connect(path)
                .map_err(|source| Error::file("connect to console socket", path, source))?;
            Ok(Some(stream.into()))
        }
    }
}

/// Connects to the socket that `--pidfd-socket` names.
pub fn connect_pidfd(arguments: &ArgMatches) -> Result<Option<OwnedFd>, Error> {
    let Some(path) = path(arguments, "pidfd-socket")? else { return Ok(None) };
    let stream = UnixStream::connect(&path)
        .map_err(|source| Error::file("connect to pidfd socket", &path, source))?;
    Ok(Some(stream.into()))
}

/// Who waits for the container to be ready, by sd_notify(3).
pub fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// How many descriptors from 3 on the caller passed by systemd's protocol.
pub fn listen_fds() -> u32 {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    match number("LISTEN_PID") == Some(std::process::id()) {
        true => number("LISTEN_FDS").unwrap_or(0),
        false => 0,
    }
}

/// The environment that tells the process about descriptors passed by systemd's protocol.
pub fn listen_environment(count: u32) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    let mut env = vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()];
    env.extend(std::env::var("LISTEN_FDNAMES").ok().map(|names| format!("LISTEN_FDNAMES={names}")));
    env
}

/// How many descriptors from 3 on the process gets, all of which the caller must have passed.
pub fn preserved(arguments: &ArgMatches, listen: u32) -> Result<u32, Error> {
    let count = arguments.get_one::<u32>("preserve-fds").copied().unwrap_or(0);
    match (listen..)
        .take(count as usize)
        .map(|at| at + 3)
        .find(|&fd| !sys::file::is_inherited(fd as i32))
    {
        Some(fd) => Err(Error::PreservedFd { fd, count }),
        None => Ok(listen + count),
    }
}
