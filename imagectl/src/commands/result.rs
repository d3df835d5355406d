//! Results that several commands print alike: images by name and digest, and what was removed.

use std::io::Write;

use serde_json::{Value, json};

use super::list::human;
use super::list_format::ListFormat;
use super::{say, say_json};
use crate::digest::Digest;
use crate::error::Result;
use crate::store::Collected;

/// Images that came into the store or got a name: one a line, or `[{name, digest}]`.
pub fn print_images(
    out: &mut dyn Write,
    format: ListFormat,
    images: impl IntoIterator<Item = (String, Digest)>,
) -> Result<()> {
    let mut images = images.into_iter();
    match format {
        ListFormat::Table => images.try_for_each(|(name, digest)| {
            say(out, format_args!("{} {digest}", name.escape_debug()))
        }),
        ListFormat::Json => say_json(out, &Value::Array(images.map(described).collect())),
    }
}

/// An image by its name and digest.
pub fn described((name, digest): (String, Digest)) -> Value {
    json!({ "name": name, "digest": digest })
}

/// What the collection of garbage removed, on one line.
pub fn garbage_line(out: &mut dyn Write, collected: &Collected, dry_run: bool) -> Result<()> {
    let would = if dry_run { "would remove" } else { "removed" };
    let Collected { blobs, layers, partials, bytes } = collected;
    let size = human(*bytes);
    say(
        out,
        format_args!("{would} {blobs} blobs, {layers} layers, {partials} partial blobs: {size}"),
    )
}

/// The same for programs.
pub fn garbage(collected: &Collected) -> Value {
    json!({
        "blobs": collected.blobs,
        "layers": collected.layers,
        "partialBlobs": collected.partials,
        "bytes": collected.bytes,
    })
}
