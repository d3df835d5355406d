//! `completion`: prints a shell's completion script, made from the table of commands.

mod bash;
mod fish;
mod zsh;

use clap::ArgMatches;

use super::TABLE;
use crate::cli::{self, Entry, outline};
use crate::context::Context;
use crate::error::Error;
use crate::output;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "completion",
    about: "print a shell's completion script",
    operands: "bash|zsh|fish",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

fn run(_context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let script = match cli::operands(arguments).next().unwrap_or_default() {
        "bash" => bash::script(),
        "zsh" => zsh::script(),
        "fish" => fish::script(),
        shell => return Err(Error::Shell { shell: shell.to_owned() }),
    };
    output::print(&script)?;
    Ok(0)
}

/// What the first argument of a command is.
enum Operand {
    /// There is none, or nobody can know it.
    Unknown,
    /// The id of a container that is there.
    Id,
    /// One of these words.
    Choice(String),
    /// A path.
    File,
}

impl Operand {
    fn of(entry: &Entry) -> Self {
        match entry.operands {
            // Of a container that is not there yet.
            _ if matches!(entry.name, "create" | "run") => Self::Unknown,
            operands if operands.starts_with("<container-id>") => Self::Id,
            operands if operands.starts_with("<directory>") => Self::File,
            operands => outline::choices(operands).map_or(Self::Unknown, Self::Choice),
        }
    }
}

/// The names of all commands, with spaces between them.
fn commands() -> String {
    TABLE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(" ")
}
