//! `imagectl diff`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::limits::LimitArguments;
use super::say;
use crate::changes::{Change, Kind, changes};
use crate::error::{Error, Result};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Diff {
    /// The bundle's directory, or where a tree is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How to print the list: A is added, C changed, D deleted
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Diff {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let changes = changes(store, &self.directory, self.limits.limits()?)?;
        match self.format {
            Format::Table => changes
                .iter()
                .try_for_each(|c| say(out, format_args!("{} {}", c.kind.letter(), path(c)))),
            Format::Json => {
                let of = |kind: Kind| -> Vec<String> {
                    changes.iter().filter(|change| change.kind == kind).map(path).collect()
                };
                let lists = json!({
                    "added": of(Kind::Added),
                    "changed": of(Kind::Changed),
                    "deleted": of(Kind::Deleted),
                });
                let text = serde_json::to_string_pretty(&lists)
                    .map_err(|source| Error::Json { what: "the list".into(), source })?;
                say(out, format_args!("{text}"))
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
