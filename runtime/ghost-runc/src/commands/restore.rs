//! `restore`: makes a container from what `checkpoint` has saved, and unless detached stays with it.

use std::os::fd::OwnedFd;
use std::path::Path;

use clap::{Arg, ArgMatches};
use container::foreground::{self, Foreground};
use container::{Bundle, CreateOptions, RestoreOptions};

use super::launch::{connect_console, path};
use super::{console, criu};
use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "restore",
    about: "make a container from a saved state",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    let mut flags = criu::flags();
    flags.extend([
        flag::file("bundle", "directory of the bundle [default: the current directory]").short('b'),
        flag::file("console-socket", "unix socket that receives the terminal's master"),
        flag::file("pid-file", "file to write the process ID to"),
        flag::switch("detach", "leave the container running").short('d'),
        flag::switch("no-subreaper", "leave orphans of the container to others"),
        flag::switch("no-pivot", "accepted for runc's sake; criu changes the root its own way"),
        flag::value("lsm-profile", "label or AppArmor profile of the processes")
            .value_name("type:name"),
        flag::value("lsm-mount-context", "SELinux context of the mounts"),
    ]);
    flags
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let detach = arguments.get_flag("detach");
    let dir = flag::path(arguments, "bundle").filter(|dir| !dir.as_os_str().is_empty());
    let bundle = Bundle::load(dir.as_deref().unwrap_or(Path::new(".")), context.systemd_cgroup)?;
    let terminal = bundle.spec.process().as_ref().and_then(|process| process.terminal());
    let terminal = terminal.unwrap_or(false);
    let socket = path(arguments, "console-socket")?;
    let socket = connect_console(socket.as_deref(), terminal, detach)?;
    let pid_file = path(arguments, "pid-file")?;
    let options = |console_socket: Option<OwnedFd>| -> Result<RestoreOptions<'_>, Error> {
        let text = |name| flag::text(arguments, name).map(str::to_owned);
        Ok(RestoreOptions {
            create: CreateOptions {
                id: cli::id(arguments)?,
                bundle: &bundle,
                pid_file: pid_file.as_deref(),
                console_socket,
                pidfd_socket: None,
                readiness: false,
                no_pivot: arguments.get_flag("no-pivot"),
                no_new_keyring: false,
                preserve_fds: 0,
                systemd_cgroup: context.systemd_cgroup,
            },
            criu: criu::options(arguments)?,
            lsm_profile: text("lsm-profile"),
            lsm_mount_context: text("lsm-mount-context"),
        })
    };
    if detach {
        container::restore(&context.store()?, options(socket)?)?;
        return Ok(0);
    }
    let subreaper = !arguments.get_flag("no-subreaper");
    let mut foreground = Foreground::new(foreground::Options { terminal, subreaper })?;
    let options = options(foreground.take_console_socket())?;
    let running = container::restore(&context.store()?, options)?;
    if let Err(error) = console::attach(&mut foreground) {
        running.container.delete(true)?;
        return Err(error);
    }
    let status = foreground.wait(&running.process);
    running.container.delete(true)?;
    Ok(status?)
}
