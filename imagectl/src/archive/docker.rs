//! What `docker save` writes: `manifest.json` lists images by config, names and layers' files. The
//! layers are plain archives, so the image gets an OCI manifest of our own, always the same one.

use serde::Deserialize;

use super::compose::{layer_type, put_manifest};
use super::load::{Found, Loading};
use crate::error::{Error, Result};
use crate::image::{Descriptor, ImageConfig, from_json, media_type, null_is_default};
use crate::reference::Reference;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default, deserialize_with = "null_is_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    layers: Vec<String>,
}

/// Puts the blobs of all images into the store.
pub fn images(loading: &Loading<'_>) -> Result<Vec<Found>> {
    let items: Vec<Item> = from_json(
        "manifest.json",
        &loading.bag.document("manifest.json", loading.store.bounds())?,
    )?;
    let mut found = Vec::new();
    for item in items {
        let names: Vec<Reference> =
            item.repo_tags.iter().map(|tag| Reference::parse(tag)).collect::<Result<_>>()?;
        let descriptor = image(loading, &item)?;
        if names.is_empty() {
            let name = format!("localhost/loaded@{}", descriptor.digest);
            found.push(Found { name, descriptor: descriptor.clone() });
        }
        found.extend(
            names
                .into_iter()
                .map(|name| Found { name: name.to_string(), descriptor: descriptor.clone() }),
        );
    }
    Ok(found)
}

fn image(loading: &Loading<'_>, item: &Item) -> Result<Descriptor> {
    let (store, bag) = (loading.store, &loading.bag);
    let bytes = bag.document(&item.config, store.bounds())?;
    let what = format!("config {}", item.config.escape_debug());
    let config = ImageConfig::parse(&what, &bytes, item.layers.len())?;
    let (digest, size) = bag.put(store, &item.config)?;
    let config_descriptor = Descriptor::new(media_type::OCI_CONFIG, digest, size);
    let mut layers = Vec::new();
    for (name, diff_id) in item.layers.iter().zip(&config.rootfs.diff_ids) {
        let (digest, size) = bag.put(store, name)?;
        let media_type = layer_type(store, &digest)?;
        if media_type == media_type::OCI_LAYER && digest != *diff_id {
            let what = format!("layer {}", name.escape_debug());
            return Err(Error::WrongDigest { what, expected: *diff_id, found: digest });
        }
        layers.push(Descriptor::new(media_type, digest, size));
    }
    put_manifest(store, config_descriptor, layers, &config)
}
