//! `imagectl diff`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::limits::LimitArguments;
use super::list_format::ListFormat;
use super::{say, say_json};
use crate::changes::{Change, Kind, changes};
use crate::error::Result;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Diff {
    /// The bundle's directory, or where a tree is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How to print the list: A is added, C changed, D deleted
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
    #[command(flatten)]
    limits: LimitArguments,
}

impl Diff {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let changes = changes(store, &self.directory, self.limits.limits()?)?;
        match self.format {
            ListFormat::Table => changes
                .iter()
                .try_for_each(|c| say(out, format_args!("{} {}", c.kind.letter(), path(c)))),
            ListFormat::Json => {
                let of = |kind: Kind| -> Vec<String> {
                    changes.iter().filter(|change| change.kind == kind).map(path).collect()
                };
                let lists = json!({
                    "added": of(Kind::Added),
                    "changed": of(Kind::Changed),
                    "deleted": of(Kind::Deleted),
                });
                say_json(out, &lists)
            }
        }
    }
}

/// A path as text: a name may be any bytes, and a terminal obeys some of them.
fn path(change: &Change) -> String {
    match std::str::from_utf8(&change.path) {
        Ok(text) if !text.chars().any(char::is_control) => format!("/{text}"),
        _ => format!("/{}", change.path.escape_ascii()),
    }
}
