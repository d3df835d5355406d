//! Loading: every image of an archive or layout into the store, checked as a pull checks it.

use std::io::BufReader;

use super::bag::Bag;
use super::{Loaded, docker, oci};
use crate::bundle::unpack_missing;
use crate::error::{Error, Result};
use crate::image::{Choice, Document};
use crate::layer::{self, Budget, Expected, Limits};
use crate::reference::Reference;
use crate::store::{Session, Store, StoredImage};

/// Where the images are.
pub enum Source {
    /// A layout directory.
    Directory(std::path::PathBuf),
    /// An archive: a file, or standard input, and what to call it in errors.
    Archive(String, Box<dyn std::io::Read>),
}

/// What to load, and how.
pub struct Request {
    /// What to take of an index.
    pub choice: Choice,
    /// The name to give, if there is but one image.
    pub name: Option<Reference>,
    /// What the archive, and then each image, may become.
    pub limits: Limits,
    /// Unpack the layers too; needs root.
    pub unpack: bool,
}

/// What both formats need.
pub(super) struct Loading<'a> {
    pub store: &'a Store,
    pub session: &'a Session,
    pub bag: Bag,
    pub request: &'a Request,
}

/// An image whose blobs are in the store, but not yet its name.
pub(super) struct Found {
    pub name: String,
    pub descriptor: crate::image::Descriptor,
}

/// Loads all images of the source, or leaves the store as it was.
///
/// # Errors
/// [`Error::Document`] for what is no archive of images, and those of documents, layers and store.
pub fn load(store: &Store, source: Source, request: &Request) -> Result<Vec<Loaded>> {
    store.all_or_nothing(|store| load_into(store, source, request))
}

fn load_into(store: &Store, source: Source, request: &Request) -> Result<Vec<Loaded>> {
    let _held = store.hold()?;
    let session = store.begin()?;
    let archive = match &source {
        Source::Directory(path) => format!("layout {}", path.display()),
        Source::Archive(name, _) => format!("archive {name}"),
    };
    let mut found = take(store, &session, source, request)
        .map_err(|source| Error::Archive { archive, source: Box::new(source) })?;
    if let Some(name) = &request.name {
        let digest = found.first().map(|image| image.descriptor.digest);
        match digest {
            Some(digest) if found.iter().all(|image| image.descriptor.digest == digest) => {
                found.truncate(1);
                found[0].name = name.to_string();
            }
            _ => {
                return Err(Error::Argument {
                    option: "--name",
                    reason: format!("there are {} images to name", found.len()),
                });
            }
        }
    }
    for image in &found {
        settle(store, image, request)?;
    }
    found
        .into_iter()
        .map(|Found { name, descriptor }| {
            let digest = descriptor.digest;
            store.add_image(&name, &digest, descriptor)?;
            Ok(Loaded { name, digest })
        })
        .collect()
}

/// Puts the blobs of all images into the store.
fn take(store: &Store, session: &Session, source: Source, request: &Request) -> Result<Vec<Found>> {
    let bag = match source {
        Source::Directory(path) => Bag::open_directory(&path)?,
        Source::Archive(_, file) => {
            let file = BufReader::with_capacity(128 << 10, file);
            Bag::read(file, session, &Budget::new(request.limits))?
        }
    };
    let loading = Loading { store, session, bag, request };
    // Docker writes both of late; its own list has the names.
    match &loading.bag {
        Bag::Members(_) if loading.bag.has("manifest.json") => docker::images(&loading),
        bag if bag.has("index.json") => oci::images(&loading),
        _ => {
            Err(Error::refused("has neither a manifest.json nor an index.json: it holds no image"))
        }
    }
}

/// Checks the layers' content, and unpacks those of the image that runs here if asked to.
fn settle(store: &Store, image: &Found, request: &Request) -> Result<()> {
    let stored = StoredImage { descriptor: image.descriptor.clone() };
    let chosen = store.select(&stored, &request.choice).ok().map(|(descriptor, _)| descriptor);
    let name = &image.name;
    store.walk(&image.descriptor, &mut |descriptor, document| {
        let Document::Manifest(manifest) = document? else { return Ok(()) };
        if manifest.check_image("manifest").is_err() {
            return Ok(());
        }
        let config = store.config(&manifest)?;
        if request.unpack && chosen.as_ref().is_some_and(|own| own.digest == descriptor.digest) {
            unpack_missing(store, name, &manifest, &config, request.limits)?;
            return store.stack(name, &config.rootfs.diff_ids)?.resolve_implied(None);
        }
        let budget = Budget::new(request.limits);
        for (blob, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let source = BufReader::with_capacity(128 << 10, store.open_blob(&blob.digest)?);
            layer::verify(source, Expected { blob, diff_id, budget: &budget }).map_err(
                |source| Error::Layer {
                    image: name.clone(),
                    layer: blob.digest,
                    source: Box::new(source),
                },
            )?;
        }
        Ok(())
    })
}
