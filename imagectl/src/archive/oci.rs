//! OCI layouts, as directories and as archives.

use super::load::{Found, Loading};
use crate::error::{Error, Result};
use crate::image::{
    Bounds, Choice, Descriptor, Document, ImageConfig, Index, Manifest, Platform, Search, from_json,
};
use crate::reference::Reference;
use crate::store::annotation;

/// Puts the blobs of all images into the store.
pub fn images(loading: &Loading<'_>) -> Result<Vec<Found>> {
    let layout =
        String::from_utf8_lossy(&loading.bag.document("oci-layout", loading.store.bounds())?)
            .into_owned();
    if !layout.contains("\"1.0.0\"") {
        return Err(Error::Document {
            what: "oci-layout".into(),
            reason: "not an OCI image layout of version 1.0.0".into(),
        });
    }
    let index: Index =
        from_json("index.json", &loading.bag.document("index.json", loading.store.bounds())?)?;
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

/// Puts what the entry means into the store.
fn image(loading: &Loading<'_>, entry: &Descriptor) -> Result<Descriptor> {
    let choice = &loading.request.choice;
    if *choice == Choice::All {
        return whole(loading, entry, 0);
    }
    let mut descriptor = entry.clone();
    let mut search = Search::new(choice, loading.store.bounds());
    loop {
        let what = format!("manifest {}", descriptor.digest);
        let bytes = loading.bag.described(&descriptor, loading.store.bounds())?;
        match Document::parse(&what, &descriptor.media_type, &bytes)? {
            Document::Index(index) => search.enter(&what, &index),
            Document::Manifest(manifest) => {
                manifest.check_image(&what)?;
                return one(loading, &descriptor, &bytes, &manifest);
            }
        }
        descriptor = search.next(|| format!("index {}", entry.digest))?;
    }
}

/// Puts everything that the entry leads to into the store.
fn whole(loading: &Loading<'_>, entry: &Descriptor, depth: usize) -> Result<Descriptor> {
    let bounds = loading.store.bounds();
    if depth > bounds.depth {
        return Err(too_deep(entry, bounds));
    }
    let bytes = loading.bag.described(entry, bounds)?;
    let what = format!("manifest {}", entry.digest);
    match Document::parse(&what, &entry.media_type, &bytes)? {
        Document::Manifest(manifest) => one(loading, entry, &bytes, &manifest),
        Document::Index(index) => {
            for inner in &index.manifests {
                whole(loading, inner, depth + 1)?;
            }
            loading.store.write_document(&entry.digest, &bytes)?;
            let media_type = index.own_media_type(&entry.media_type);
            Ok(Descriptor::new(media_type, entry.digest, entry.size))
        }
    }
}

/// Puts a manifest and its blobs into the store.
fn one(
    loading: &Loading<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
    manifest: &Manifest,
) -> Result<Descriptor> {
    let (store, bag) = (loading.store, &loading.bag);
    let mut platform = None;
    if manifest.check_image("manifest").is_ok() {
        let config = bag.described(&manifest.config, store.bounds())?;
        let what = format!("config {}", manifest.config.digest);
        platform = Some(Platform::of(&ImageConfig::parse(&what, &config, manifest.layers.len())?));
    }
    for part in manifest.layers.iter().chain([&manifest.config]) {
        bag.put_described(store, loading.session, part)?;
    }
    store.write_document(&descriptor.digest, bytes)?;
    let media_type = manifest.own_media_type(&descriptor.media_type);
    Ok(Descriptor { platform, ..Descriptor::new(media_type, descriptor.digest, descriptor.size) })
}

fn too_deep(entry: &Descriptor, bounds: Bounds) -> Error {
    Error::Document { what: format!("index {}", entry.digest), reason: bounds.too_deep() }
}
