//! `imagectl mount` and `imagectl unmount`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::limits::LimitArguments;
use super::list_format::ListFormat;
use super::{say, say_json, stored};
use crate::bundle;
use crate::error::Result;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct MountCommand {
    /// The image; without one, what is mounted is listed
    #[arg(value_name = "REF")]
    reference: Option<String>,
    /// The directory, new or empty [default: one in the store, which is printed]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Let it be written to; what is written goes when it is unmounted
    #[arg(long, short)]
    writable: bool,
    /// How to print the list
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Debug, Args)]
pub struct Unmount {
    /// The directories
    #[arg(value_name = "DIR", required_unless_present = "all")]
    directories: Vec<PathBuf>,
    /// All that is mounted from the store
    #[arg(long)]
    all: bool,
}

impl MountCommand {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let Some(reference) = &self.reference else { return self.list(store, out) };
        let image = stored(store, Some(reference))?;
        let limits = self.limits.limits()?;
        let directory = self.directory.as_deref();
        let mounted = bundle::mount(store, &image, directory, self.writable, limits)?;
        say(out, format_args!("{}", mounted.path.display()))
    }

    fn list(&self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let mounts = bundle::mounts(store)?;
        match self.format {
            ListFormat::Table => mounts.iter().try_for_each(|mounted| {
                let state = match (mounted.mounted, mounted.writable) {
                    (false, _) => "gone",
                    (true, true) => "writable",
                    (true, false) => "read-only",
                };
                // Another tool may have put any name there.
                let (path, image) = (mounted.path.display(), mounted.image.escape_debug());
                say(out, format_args!("{path}  {image}  {state}"))
            }),
            ListFormat::Json => {
                let list: Value = mounts
                    .iter()
                    .map(|mounted| {
                        json!({
                            "path": mounted.path.to_string_lossy(),
                            "image": mounted.image,
                            "digest": mounted.digest,
                            "writable": mounted.writable,
                            "mounted": mounted.mounted,
                        })
                    })
                    .collect();
                say_json(out, &list)
            }
        }
    }
}

impl Unmount {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let mut directories = self.directories;
        if self.all {
            directories = bundle::mounts(store)?.into_iter().map(|mounted| mounted.path).collect();
        }
        for directory in &directories {
            bundle::unmount(store, directory)?;
            say(out, format_args!("unmounted {}", directory.display()))?;
        }
        Ok(())
    }
}
