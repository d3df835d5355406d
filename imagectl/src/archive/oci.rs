//! OCI layouts, as directories and as archives.

use super::load::{Found, Loading};
use crate::error::{Error, Result};
use crate::image::{Descriptor, Document, ImageConfig, Index, Platform, from_json};
use crate::pull::choose;
use crate::reference::Reference;
use crate::store::annotation;

/// How deep indexes may lie in indexes.
const INDEX_DEPTH: usize = 4;

/// Puts the blobs of all images into the store.
pub fn images(loading: &Loading<'_>) -> Result<Vec<Found>> {
    let layout = String::from_utf8_lossy(&loading.bag.document("oci-layout")?).into_owned();
    if !layout.contains("\"1.0.0\"") {
        return Err(Error::Document {
            what: "oci-layout".into(),
            reason: "not an OCI image layout of version 1.0.0".into(),
        });
    }
    let index: Index = from_json("index.json", &loading.bag.document("index.json")?)?;
    index
        .manifests
        .iter()
        .map(|entry| {
            let descriptor = image(loading, entry)?;
            Ok(Found { name: name(entry, &descriptor)?, descriptor })
        })
        .collect()
}

/// The name in full, where a tool wrote it; a bare tag is no name that could be pulled by.
fn name(entry: &Descriptor, image: &Descriptor) -> Result<String> {
    let get = |key| entry.annotations.get(key).map(String::as_str).filter(|text| !text.is_empty());
    match get(annotation::FULL_NAME).or_else(|| get(annotation::REF_NAME)) {
        Some(full) if full.contains(['/', ':', '@']) => Ok(Reference::parse(full)?.to_string()),
        Some(tag) => Ok(Reference::parse(&format!("localhost/loaded:{tag}"))?.to_string()),
        None => Ok(format!("localhost/loaded@{}", image.digest)),
    }
}

fn image(loading: &Loading<'_>, entry: &Descriptor) -> Result<Descriptor> {
    let (store, bag) = (loading.store, &loading.bag);
    let mut descriptor = entry.clone();
    for _ in 0..=INDEX_DEPTH {
        let what = format!("manifest {}", descriptor.digest);
        let bytes = bag.described(&descriptor)?;
        match Document::parse(&what, &descriptor.media_type, &bytes)? {
            Document::Index(index) => {
                descriptor = choose(&what, &index, &loading.request.platform)?.clone();
            }
            Document::Manifest(manifest) => {
                let config = bag.described(&manifest.config)?;
                let what = format!("config {}", manifest.config.digest);
                let parsed = ImageConfig::parse(&what, &config, manifest.layers.len())?;
                for layer in &manifest.layers {
                    bag.put_described(store, loading.session, layer)?;
                }
                store.write_document(&manifest.config.digest, &config)?;
                store.write_document(&descriptor.digest, &bytes)?;
                let media_type = manifest.own_media_type(&descriptor.media_type);
                return Ok(Descriptor {
                    platform: Some(Platform::of(&parsed)),
                    ..Descriptor::new(media_type, descriptor.digest, descriptor.size)
                });
            }
        }
    }
    Err(Error::Document {
        what: format!("index {}", entry.digest),
        reason: format!("holds indexes more than {INDEX_DEPTH} deep"),
    })
}
