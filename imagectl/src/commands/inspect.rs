//! `imagectl inspect`.

use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::list::human;
use super::say;
use crate::error::{Error, Result};
use crate::image::Platform;
use crate::reference::Reference;
use crate::store::{Store, StoredImage};

#[derive(Debug, Args)]
pub struct Inspect {
    /// The image [default: the one pulled last]
    #[arg(value_name = "REF")]
    reference: Option<String>,
    /// Print the manifest's bytes as they came
    #[arg(long)]
    raw: bool,
    /// Print the image's config; with --raw, its bytes as they came
    #[arg(long)]
    config: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
    Text,
}

impl Inspect {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let _held = store.hold()?;
        let reference = self.reference.as_deref().map(Reference::parse).transpose()?;
        let image = store.image(reference.as_ref())?;
        if self.raw && !self.config {
            let bytes = store.read_document(&image.descriptor)?;
            return out.write_all(&bytes).map_err(Error::step("write the result"));
        }
        let manifest = store.manifest(&image)?;
        let config = store.read_document(&manifest.config)?;
        if self.raw {
            return out.write_all(&config).map_err(Error::step("write the result"));
        }
        let parse =
            |source| Error::Json { what: format!("config {}", manifest.config.digest), source };
        let config: Value = serde_json::from_slice(&config).map_err(parse)?;
        let value = match self.config {
            true => config,
            false => whole(store, &image, config)?,
        };
        match self.format {
            Format::Json => {
                let text = serde_json::to_string_pretty(&value)
                    .map_err(|source| Error::Json { what: "the result".into(), source })?;
                say(out, format_args!("{text}"))
            }
            Format::Text => text(&value, "", out),
        }
    }
}

fn whole(store: &Store, image: &StoredImage, config: Value) -> Result<Value> {
    let manifest = store.manifest(image)?;
    let parsed = store.config(&manifest)?;
    let layers: Vec<Value> = manifest
        .layers
        .iter()
        .zip(&parsed.rootfs.diff_ids)
        .map(|(layer, diff_id)| {
            json!({
                "digest": layer.digest,
                "mediaType": layer.media_type,
                "size": layer.size,
                "diffId": diff_id,
                "stored": store.has_blob(layer),
                "unpacked": store.has_layer(diff_id),
            })
        })
        .collect();
    let size: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    Ok(json!({
        "name": image.name(),
        "digest": image.descriptor.digest,
        "mediaType": image.descriptor.media_type,
        "platform": image.descriptor.platform.as_ref().map(Platform::to_string),
        "source": image.source(),
        "pulled": image.pulled(),
        "size": size + manifest.config.size + image.descriptor.size,
        "configDigest": manifest.config.digest,
        "layers": layers,
        "config": config,
    }))
}

/// One line a value, named by the way to it.
fn text(value: &Value, way: &str, out: &mut dyn Write) -> Result<()> {
    let below = |key: &str| match way {
        "" => key.escape_debug().to_string(),
        way => format!("{way}.{}", key.escape_debug()),
    };
    match value {
        Value::Object(map) => map.iter().try_for_each(|(key, value)| text(value, &below(key), out)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .try_for_each(|(at, value)| text(value, &below(&at.to_string()), out)),
        Value::String(string) => say(out, format_args!("{way}: {}", string.escape_debug())),
        Value::Number(number) if way == "size" => {
            say(out, format_args!("{way}: {}", human(number.as_u64().unwrap_or(0))))
        }
        other => say(out, format_args!("{way}: {other}")),
    }
}
