//! `imagectl rm`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::list_format::ListFormat;
use super::{result, say, say_json, stored};
use crate::error::Result;
use crate::store::{Collection, Store, StoredImage};

#[derive(Debug, Args)]
pub struct Rm {
    /// The images
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Rm {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        // All or none: a wrong name is found before anything is removed.
        let images: Vec<StoredImage> =
            self.references.iter().map(|name| stored(store, Some(name))).collect::<Result<_>>()?;
        let format = self.format;
        for image in &images {
            store.remove_image(image.name())?;
            if format == ListFormat::Table {
                say(out, format_args!("removed {}", image.name().escape_debug()))?;
            }
        }
        // Somebody may still want to go on with a transfer of today.
        let how = Collection { partials: Duration::from_secs(86400), ..Collection::default() };
        let collected = store.collect_garbage(how)?;
        match format {
            ListFormat::Table if collected.is_none() => {
                say(out, format_args!("another imagectl is at work: the next rm frees the space"))
            }
            ListFormat::Table => Ok(()),
            ListFormat::Json => {
                let removed = images.iter().map(|i| (i.name().to_owned(), i.descriptor.digest));
                let removed: Vec<_> = removed.map(result::described).collect();
                let garbage = collected.as_ref().map(result::garbage);
                say_json(out, &json!({ "removed": removed, "garbage": garbage }))
            }
        }
    }
}
