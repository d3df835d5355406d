//! `imagectl inspect`.

use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::list::{human, platforms};
use super::{say, say_json, stored};
use crate::error::{Error, Result};
use crate::image::{Choice, Descriptor, Manifest, Platform, is_index};
use crate::store::{Store, StoredImage};

#[derive(Debug, Args)]
pub struct Inspect {
    /// The image [default: the one pulled last]
    #[arg(value_name = "REF")]
    reference: Option<String>,
    /// Of an index, tell about the image for this platform: os/arch or os/arch/variant
    /// [default: this machine's]
    #[arg(long, verbatim_doc_comment)]
    platform: Option<String>,
    /// Print the bytes of the manifest, or of the index, as they came
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
        let image = stored(store, self.reference.as_deref())?;
        if self.raw && !self.config && self.platform.is_none() {
            let bytes = store.read_document(&image.descriptor)?;
            return out.write_all(&bytes).map_err(Error::step("write the result"));
        }
        let choice = match &self.platform {
            Some(text) => Choice::One(Platform::parse(text)?),
            None => Choice::Host,
        };
        let (descriptor, manifest) = store.select(&image, &choice)?;
        let config = store.read_document(&manifest.config)?;
        if self.raw {
            let bytes = match self.config {
                true => config,
                false => store.read_document(&descriptor)?,
            };
            return out.write_all(&bytes).map_err(Error::step("write the result"));
        }
        let parse =
            |source| Error::Json { what: format!("config {}", manifest.config.digest), source };
        let config: Value = serde_json::from_slice(&config).map_err(parse)?;
        let value = match self.config {
            true => config,
            false => whole(store, &image, (&descriptor, &manifest), config)?,
        };
        match self.format {
            Format::Json => say_json(out, &value),
            Format::Text => text(&value, "", out),
        }
    }
}

fn whole(
    store: &Store,
    image: &StoredImage,
    (descriptor, manifest): (&Descriptor, &Manifest),
    config: Value,
) -> Result<Value> {
    let parsed = store.config(manifest)?;
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
    let mut value = json!({
        "name": image.name(),
        "digest": descriptor.digest,
        "mediaType": descriptor.media_type,
        "platform": Platform::of(&parsed).to_string(),
        "source": image.source(),
        "pulled": image.pulled(),
        "size": size + manifest.config.size + descriptor.size,
        "configDigest": manifest.config.digest,
        "layers": layers,
        "config": config,
    });
    if is_index(&image.descriptor.media_type) {
        let platforms: Vec<String> =
            platforms(store, image).iter().map(Platform::to_string).collect();
        let index = &image.descriptor;
        value["index"] = json!({
            "digest": index.digest,
            "mediaType": index.media_type,
            "platforms": platforms,
        });
    }
    Ok(value)
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
