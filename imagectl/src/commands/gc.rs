//! `imagectl gc` and `imagectl prune`.

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;

use super::list_format::ListFormat;
use super::{result, say, say_json};
use crate::error::{Error, Result};
use crate::store::{Collected, Collection, Store, StoredImage};

#[derive(Debug, Args)]
pub struct Gc {
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// Free the layers of bundles on other file systems that are not where they were made
    #[arg(long)]
    missing_bundles: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Keep images that were pulled or loaded in the last N days
    #[arg(long, value_name = "N", default_value_t = 0)]
    days: u64,
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Gc {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let Self { dry_run, missing_bundles, format } = self;
        let how = Collection { dry_run, missing_bundles, partials: Duration::ZERO };
        let collected = collect(store, how)?;
        match format {
            ListFormat::Table => result::garbage_line(out, &collected, dry_run),
            ListFormat::Json => {
                let mut value = result::garbage(&collected);
                value["dryRun"] = json!(dry_run);
                say_json(out, &value)
            }
        }
    }
}

impl Prune {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let oldest = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| now.as_secs())
            .saturating_sub(self.days.saturating_mul(86400));
        let used = layers_of_bundles(store)?;
        let (dry_run, format) = (self.dry_run, self.format);
        let mut removed = Vec::new();
        for image in store.images()? {
            if image.name().is_empty() || image.pulled() > oldest || is_used(store, &image, &used) {
                continue;
            }
            if !dry_run {
                store.remove_image(image.name())?;
            }
            if format == ListFormat::Table {
                let would = if dry_run { "would remove" } else { "removed" };
                say(out, format_args!("{would} {}", image.name().escape_debug()))?;
            }
            removed.push((image.name().to_owned(), image.descriptor.digest));
        }
        let collected = collect(store, Collection { dry_run, ..Collection::default() })?;
        match format {
            ListFormat::Table => result::garbage_line(out, &collected, dry_run),
            ListFormat::Json => {
                let removed: Vec<_> = removed.into_iter().map(result::described).collect();
                let garbage = result::garbage(&collected);
                let value = json!({ "removed": removed, "garbage": garbage, "dryRun": dry_run });
                say_json(out, &value)
            }
        }
    }
}

fn layers_of_bundles(store: &Store) -> Result<Vec<HashSet<crate::digest::Digest>>> {
    let records = store.bundle_records()?;
    let alive = records.into_iter().filter(|record| record.alive != Some(false));
    Ok(alive.map(|record| record.layers.into_iter().collect()).collect())
}

/// Does a bundle stand on all of the image's layers?
fn is_used(store: &Store, image: &StoredImage, used: &[HashSet<crate::digest::Digest>]) -> bool {
    let config = store.manifest(image).and_then(|manifest| store.config(&manifest));
    config.is_ok_and(|config| {
        let layers = &config.rootfs.diff_ids;
        used.iter().any(|bundle| layers.iter().all(|layer| bundle.contains(layer)))
    })
}

fn collect(store: &Store, how: Collection) -> Result<Collected> {
    store.collect_garbage(how)?.ok_or_else(|| Error::Document {
        what: format!("store {}", store.root().display()),
        reason: "another imagectl is at work in it; try again later".into(),
    })
}
