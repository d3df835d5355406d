//! `checkpoint`: saves what a container's processes are at, and unless told otherwise ends them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use clap::{Arg, ArgMatches};
use container::CheckpointOptions;

use super::criu::{self, bad};
use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "checkpoint",
    about: "save the state of a running container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    let mut flags = criu::flags();
    flags.extend([
        flag::file("parent-path", "directory of the images before these, from --image-path"),
        flag::switch("leave-running", "leave the processes running"),
        flag::switch("pre-dump", "save memory only, and leave the processes running"),
        flag::switch("tcp-skip-in-flight", "leave out TCP connections that are being opened"),
        flag::switch("link-remap", "give files without a name one for the time being"),
        flag::value("status-fd", "descriptor that gets a NUL byte once lazy pages can be fetched"),
        flag::value("page-server", "server that takes the memory").value_name("address:port"),
    ]);
    flags
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let mut container = context.store()?.load(cli::id(arguments)?)?;
    let options = options(arguments)?;
    let stays = options.leave_running || options.pre_dump;
    container.checkpoint(options)?;
    if !stays && let Err(error) = container.delete(true) {
        // It is saved all the same.
        log::warn!("{}", error.text());
    }
    Ok(0)
}

fn options(arguments: &ArgMatches) -> Result<CheckpointOptions, Error> {
    let criu = criu::options(arguments)?;
    let parent = flag::path(arguments, "parent-path").filter(|path| !path.as_os_str().is_empty());
    if let Some(parent) = &parent {
        check_parent(&criu.images, parent)?;
    }
    let status = flag::text(arguments, "status-fd").filter(|number| *number != "-1");
    Ok(CheckpointOptions {
        criu,
        parent,
        leave_running: arguments.get_flag("leave-running"),
        pre_dump: arguments.get_flag("pre-dump"),
        tcp_skip_in_flight: arguments.get_flag("tcp-skip-in-flight"),
        link_remap: arguments.get_flag("link-remap"),
        page_server: flag::text(arguments, "page-server").map(page_server).transpose()?,
        status: status.map(status_fd).transpose()?,
    })
}

/// criu takes it from the directory of the images, where it makes a link to it.
fn check_parent(images: &Path, parent: &Path) -> Result<(), Error> {
    let text = parent.to_string_lossy();
    if parent.is_absolute() {
        return Err(bad("parent-path", &text, "must be relative to --image-path"));
    }
    match images.join(parent).is_dir() {
        true => Ok(()),
        false => Err(bad("parent-path", &text, "is not a directory below --image-path")),
    }
}

fn page_server(text: &str) -> Result<(String, u16), Error> {
    let wrong = || bad("page-server", text, "must be ADDRESS:PORT");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    // As net.SplitHostPort of Go has it: an IPv6 address is in brackets.
    let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let address = match inner {
        None if address.contains(':') => return Err(wrong()),
        inner => inner.unwrap_or(address),
    };
    match port.parse() {
        Ok(port) if port != 0 && !address.is_empty() => Ok((address.to_owned(), port)),
        _ => Err(wrong()),
    }
}

/// A descriptor of the caller's that can be written to.
fn status_fd(text: &str) -> Result<OwnedFd, Error> {
    let wrong = |reason| bad("status-fd", text, reason);
    let number = text.parse::<i32>().map_err(|_| wrong("is not a descriptor"))?;
    if !sys::file::is_inherited(number) {
        return Err(wrong("is not open"));
    }
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    let file = fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{number}"));
    // The last two bits are the access mode, of which 0 is reading.
    file.ok().filter(|_| flags & 3 != 0).map(OwnedFd::from).ok_or_else(|| wrong("is not writable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers_have_an_address_and_a_port() {
        assert_eq!(page_server("10.0.0.1:27").unwrap(), ("10.0.0.1".to_owned(), 27));
        assert_eq!(page_server("[::1]:27").unwrap(), ("::1".to_owned(), 27));
        for wrong in
            ["", "host", ":27", "host:", "host:x", "host:0", "host:65536", "::1:27", "[::1]"]
        {
            page_server(wrong).unwrap_err();
        }
    }
}
