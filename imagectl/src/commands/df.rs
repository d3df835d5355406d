//! `imagectl df`.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::list::human;
use super::list_format::ListFormat;
use super::{say, say_json};
use crate::error::{Error, Result};
use crate::store::{Collection, Store, occupied};

#[derive(Debug, Args)]
pub struct Df {
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Df {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let mut rows = Vec::new();
        for (name, directory) in
            [("blobs", "blobs/sha256"), ("layers", "layers"), ("partial blobs", "partial")]
        {
            let path = store.root().join(directory);
            let count = std::fs::read_dir(&path).map_err(Error::io("read", &path))?.count();
            rows.push((name, count, occupied(&path)));
        }
        let images = store.images()?.len();
        let bundles = store.bundle_records()?.len();
        let how = Collection { dry_run: true, ..Collection::default() };
        let garbage = store.collect_garbage(how)?.map(|collected| collected.bytes);
        match self.format {
            ListFormat::Table => {
                say(out, format_args!("{:14}  {:>7}  {:>9}", "WHAT", "COUNT", "SIZE"))?;
                for (name, count, bytes) in rows {
                    say(out, format_args!("{name:14}  {count:>7}  {:>9}", human(bytes)))?;
                }
                say(out, format_args!("{:14}  {images:>7}", "images"))?;
                say(out, format_args!("{:14}  {bundles:>7}", "bundles"))?;
                match garbage {
                    Some(bytes) => {
                        say(out, format_args!("{:14}  {:>7}  {:>9}", "garbage", "", human(bytes)))
                    }
                    None => Ok(()),
                }
            }
            ListFormat::Json => {
                let mut value = json!({ "images": images, "bundles": bundles, "garbage": garbage });
                for (name, count, bytes) in rows {
                    value[name.replace(" b", "B")] = json!({ "count": count, "bytes": bytes });
                }
                say_json(out, &value)
            }
        }
    }
}
