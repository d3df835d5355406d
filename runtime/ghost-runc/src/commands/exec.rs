//! `exec`: runs another process in a container.

use std::path::Path;

use clap::{Arg, ArgMatches};
use container::foreground::{self, Foreground};
use container::{Container, ExecOptions, Process, guard};
use oci_spec::runtime::BoxBuilder;

use super::{console, launch};
use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

mod process;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "exec",
    about: "run another process in a container",
    operands: "<container-id> <command> [arguments...], or --process FILE <container-id>",
    count: (1, None),
    stops_at_first: true,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    let mut flags = process::flags();
    flags.extend([
        flag::file("console-socket", "unix socket that receives the terminal's master"),
        flag::file("pidfd-socket", "unix socket that receives a pidfd of the process"),
        flag::file("pid-file", "file to write the process ID to"),
        flag::switch("detach", "leave the process running").short('d'),
        flag::list("cgroup", "run in a cgroup below the container's: [controller,...:]path"),
        flag::switch("ignore-paused", "allow it in a paused container"),
        launch::preserve_fds(),
    ]);
    flags
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    exec(context, arguments).map_err(|error| Error::Exec { source: Box::new(error) })
}

fn exec(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    guard::protect_own_binary()?;
    let container = context.store()?.load(cli::id(arguments)?)?;
    let mut process = process::of(&container, arguments)?;
    let listen = launch::listen_fds();
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(launch::listen_environment(listen));
    process.set_env(Some(env));
    let detach = arguments.get_flag("detach");
    let terminal = process.terminal().unwrap_or(false);
    let socket = launch::path(arguments, "console-socket")?;
    let console_socket = launch::connect_console(socket.as_deref(), terminal, detach)?;
    let options = ExecOptions {
        process,
        console_socket,
        preserve_fds: launch::preserved(arguments, listen)?,
        ignore_paused: arguments.get_flag("ignore-paused"),
        cgroups: flag::texts(arguments, "cgroup").map(str::to_owned).collect(),
        pidfd_socket: launch::connect_pidfd(arguments)?,
    };
    let pid_file = launch::path(arguments, "pid-file")?;
    match detach {
        true => detached(&container, options, pid_file.as_deref()),
        false => attached(&container, options, pid_file.as_deref()),
    }
}

fn detached(
    container: &Container,
    options: ExecOptions,
    pid_file: Option<&Path>,
) -> Result<u8, Error> {
    let process = container.exec(options)?;
    or_kill(&process, write_pid(pid_file, process.pid))?;
    Ok(0)
}

fn attached(
    container: &Container,
    mut options: ExecOptions,
    pid_file: Option<&Path>,
) -> Result<u8, Error> {
    let terminal = options.process.terminal().unwrap_or(false);
    let mut foreground = Foreground::new(foreground::Options { terminal, subreaper: false })?;
    options.console_socket = foreground.take_console_socket();
    if let (None, Some(size)) = (options.process.console_size(), foreground.size()) {
        // Here rather than after the process has begun to run, which might look at once.
        let console = BoxBuilder::default().height(size.rows).width(size.columns);
        // Both fields are given, so it can be built.
        options.process.set_console_size(console.build().ok());
    }
    let process = container.exec(options)?;
    let attached = console::attach(&mut foreground);
    or_kill(&process, attached.and_then(|()| write_pid(pid_file, process.pid)))?;
    Ok(foreground.wait(&process)?)
}

/// A process that nobody would know of must not go on.
fn or_kill(process: &Process, result: Result<(), Error>) -> Result<(), Error> {
    if result.is_err() {
        foreground::kill(process)?;
    }
    result
}

fn write_pid(path: Option<&Path>, pid: i32) -> Result<(), Error> {
    Ok(path.map_or(Ok(()), |path| container::write_pid_file(path, pid))?)
}
