//! `delete`: removes what a stopped container left, or with `--force` any container.

use clap::{Arg, ArgMatches};

use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "delete",
    about: "remove a container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    vec![flag::switch("force", "kill the container first if it still runs (SIGKILL)").short('f')]
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let store = context.store()?;
    let id = cli::id(arguments)?;
    if arguments.get_flag("force") {
        delete_by_force(&store, id)?;
    } else {
        store.load(id)?.delete(false)?;
    }
    Ok(0)
}

/// Engines clean up with `--force` what may never have been there, or never was whole.
fn delete_by_force(store: &container::Store, id: &str) -> Result<(), Error> {
    loop {
        match store.load(id).and_then(|container| container.delete(true)) {
            Err(error @ (container::Error::NotFound | container::Error::State { .. })) => {
                if store.remove_unreadable(id)? {
                    if matches!(error, container::Error::State { .. }) {
                        log::warn!("{error}: its processes and its cgroup are not known and stay");
                    }
                    return Ok(());
                }
            }
            result => return Ok(result?),
        }
    }
}
