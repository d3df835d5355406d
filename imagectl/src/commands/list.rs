//! `imagectl list`.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::list_format::ListFormat;
use super::{say, say_json};
use crate::error::Result;
use crate::image::{Document, Platform, is_index};
use crate::store::{Store, StoredImage};

#[derive(Debug, Args)]
pub struct List {
    /// How to print the list
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// One line of the list.
struct Row {
    image: StoredImage,
    /// The platform of an image, those of an index.
    platforms: Vec<Platform>,
    /// Size of manifests, configs and layers in bytes, as they came.
    size: u64,
}

impl List {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let mut rows = Vec::new();
        for image in store.images()? {
            // Another tool may have put something there that is no image, or not the whole of one.
            let size = match store.contents(&image.descriptor) {
                Ok(contents) => contents.size(),
                Err(_) => image.descriptor.size,
            };
            let platforms = platforms(store, &image);
            rows.push(Row { image, platforms, size });
        }
        // The last pulled first.
        rows.reverse();
        match self.format {
            ListFormat::Table => table(&rows, out),
            ListFormat::Json => json(&rows, out),
        }
    }
}

pub(super) fn platforms(store: &Store, image: &StoredImage) -> Vec<Platform> {
    if !is_index(&image.descriptor.media_type) {
        return image.descriptor.platform.iter().cloned().collect();
    }
    let mut platforms = Vec::new();
    // What can't be read has no platforms to tell.
    let _ = store.walk(&image.descriptor, &mut |_, document| {
        if let Ok(Document::Index(index)) = document {
            let all = index.manifests.into_iter().filter_map(|descriptor| descriptor.platform);
            // Attestations stand there as images for a platform that nobody has.
            platforms.extend(all.filter(|platform| platform.os != "unknown"));
        }
        Ok(())
    });
    platforms
}

/// The one platform, or how many there are.
fn platform(row: &Row) -> String {
    match row.platforms.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        several => format!("{} platforms", several.len()),
    }
}

fn table(rows: &[Row], out: &mut dyn Write) -> Result<()> {
    // Another tool may have put any name there.
    let name = |row: &Row| row.image.name().escape_debug().to_string();
    let width = rows.iter().map(|row| name(row).chars().count()).chain([4]).max().unwrap_or(4);
    say(out, format_args!("{:width$}  {:12}  {:14}  {:>9}", "NAME", "DIGEST", "PLATFORM", "SIZE"))?;
    for row in rows {
        say(
            out,
            format_args!(
                "{:width$}  {:12}  {:14}  {:>9}",
                name(row),
                row.image.descriptor.digest.short(),
                platform(row),
                human(row.size)
            ),
        )?;
    }
    Ok(())
}

fn json(rows: &[Row], out: &mut dyn Write) -> Result<()> {
    let list: Value = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.image.name(),
                "digest": row.image.descriptor.digest,
                "mediaType": row.image.descriptor.media_type,
                "platform": row.image.descriptor.platform,
                "platforms": row.platforms,
                "size": row.size,
                "pulled": row.image.pulled(),
            })
        })
        .collect();
    say_json(out, &list)
}

/// A size in powers of ten with three digits.
pub(super) fn human(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1_000_000 {
        value /= 1000;
        unit += 1;
    }
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    match value {
        0..1000 => format!("{value} {}", units[unit]),
        _ => format!("{}.{} {}", value / 1000, value % 1000 / 100, units[unit + 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (316_200_000, "316.2 MB"),
            (1_029_000_000, "1.0 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
