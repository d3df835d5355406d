//! `index.json`: which images the store has, under which names.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::{Lock, Store, write_atomically};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Choice, Descriptor, ImageConfig, Manifest, media_type};
use crate::reference::Reference;

/// The notes on an image in `index.json`.
pub mod annotation {
    /// The image's full name, where skopeo and umoci look for it.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full name once more, where containerd looks for it.
    pub const FULL_NAME: &str = "io.containerd.image.name";
    /// Digest of the document that the registry gave for the name: an index, or the manifest.
    pub const SOURCE: &str = "io.github.ghost-runc.imagectl.source";
    /// When it was pulled, in seconds from 1970.
    pub const PULLED: &str = "io.github.ghost-runc.imagectl.pulled";
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexFile {
    schema_version: u32,
    #[serde(default = "oci_index")]
    media_type: String,
    manifests: Vec<Descriptor>,
}

fn oci_index() -> String {
    media_type::OCI_INDEX.to_owned()
}

/// An image of the store.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Its manifest, with platform and annotations.
    pub descriptor: Descriptor,
}

impl StoredImage {
    /// The full name; empty for an entry that another tool made without one.
    #[must_use]
    pub fn name(&self) -> &str {
        let get = |key| self.descriptor.annotations.get(key).map(String::as_str);
        get(annotation::FULL_NAME).or_else(|| get(annotation::REF_NAME)).unwrap_or("")
    }

    /// Digest of what the registry gave for the name.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.descriptor.annotations.get(annotation::SOURCE).map(String::as_str)
    }

    /// When it was pulled, in seconds from 1970; 0 if nobody noted it.
    #[must_use]
    pub fn pulled(&self) -> u64 {
        self.descriptor
            .annotations
            .get(annotation::PULLED)
            .and_then(|t| t.parse().ok())
            .unwrap_or(0)
    }
}

impl Store {
    /// All images, the last pulled at the end.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn images(&self) -> Result<Vec<StoredImage>> {
        let index = self.load_index()?;
        Ok(index.manifests.into_iter().map(|descriptor| StoredImage { descriptor }).collect())
    }

    /// The image of that name, or the last pulled if there is no name.
    ///
    /// # Errors
    /// [`Error::NoImage`], or those of [`Self::images`].
    pub fn image(&self, reference: Option<&Reference>) -> Result<StoredImage> {
        let images = self.images()?;
        let name = reference.map(ToString::to_string);
        let found = images.iter().rev().find(|image| match &name {
            Some(name) => image.name() == name,
            None => !image.name().is_empty(),
        });
        found.cloned().ok_or_else(|| {
            let names: Vec<_> = images.iter().map(StoredImage::name).collect();
            Error::NoImage {
                name: name.unwrap_or_else(|| "(any)".into()),
                store: self.root.clone(),
                present: if names.is_empty() { "none".into() } else { names.join(", ") },
            }
        })
    }

    /// Reads an image's manifest; of an index the one for this machine.
    ///
    /// # Errors
    /// Those of [`Self::select`].
    pub fn manifest(&self, image: &StoredImage) -> Result<Manifest> {
        self.select(image, &Choice::Host).map(|(_, manifest)| manifest)
    }

    /// Reads the config of a manifest.
    ///
    /// # Errors
    /// Those of reading a blob and of [`ImageConfig::parse`].
    pub fn config(&self, manifest: &Manifest) -> Result<ImageConfig> {
        let bytes = self.read_document(&manifest.config)?;
        let what = format!("config {}", manifest.config.digest);
        ImageConfig::parse(&what, &bytes, manifest.layers.len())
    }

    /// Puts an image into the index, in the place of one of the same name.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn add_image(&self, name: &str, source: &Digest, mut descriptor: Descriptor) -> Result<()> {
        let pulled = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        descriptor.annotations = BTreeMap::from([
            (annotation::REF_NAME.to_owned(), name.to_owned()),
            (annotation::FULL_NAME.to_owned(), name.to_owned()),
            (annotation::SOURCE.to_owned(), source.to_string()),
            (annotation::PULLED.to_owned(), pulled.to_string()),
        ]);
        self.change_index(|manifests| {
            manifests.retain(|other| !named(other, name));
            manifests.push(descriptor);
        })
    }

    /// Takes a name out of the index. Says whether it was there.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn remove_image(&self, name: &str) -> Result<bool> {
        let mut removed = false;
        self.change_index(|manifests| {
            let before = manifests.len();
            manifests.retain(|other| !named(other, name));
            removed = manifests.len() != before;
        })?;
        Ok(removed)
    }

    fn load_index(&self) -> Result<IndexFile> {
        let path = self.root.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| Error::Json { what: path.display().to_string(), source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(IndexFile { schema_version: 2, media_type: oci_index(), manifests: Vec::new() })
            }
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    fn change_index(&self, change: impl FnOnce(&mut Vec<Descriptor>)) -> Result<()> {
        let _lock = Lock::exclusive(&self.root.join("index.lock"))?;
        let mut index = self.load_index()?;
        change(&mut index.manifests);
        let path = self.root.join("index.json");
        let bytes = serde_json::to_vec(&index)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        write_atomically(&path, &bytes)
    }
}

fn named(descriptor: &Descriptor, name: &str) -> bool {
    StoredImage { descriptor: descriptor.clone() }.name() == name
}
