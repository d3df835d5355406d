//! The commands: one module each, and the table of them.

mod check;
mod checkpoint;
mod completion;
mod console;
mod create;
mod criu;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod launch;
mod list;
mod man;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;

use crate::cli::Entry;

/// Every command, in the order of the help text.
pub const TABLE: &[Entry] = &[
    create::ENTRY,
    start::ENTRY,
    state::ENTRY,
    kill::ENTRY,
    delete::ENTRY,
    run::ENTRY,
    exec::ENTRY,
    list::ENTRY,
    ps::ENTRY,
    pause::ENTRY,
    resume::ENTRY,
    update::ENTRY,
    events::ENTRY,
    checkpoint::ENTRY,
    restore::ENTRY,
    spec::ENTRY,
    check::ENTRY,
    features::ENTRY,
    completion::ENTRY,
    man::ENTRY,
];
