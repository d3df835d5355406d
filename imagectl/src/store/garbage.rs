//! Garbage: what no image and no bundle needs.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use super::{Lock, Store, occupied};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, Document};

/// What is garbage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collection {
    /// What transfers left longer ago than this.
    pub partials: Duration,
    /// The layers of bundles of which nobody can tell whether they were moved or removed.
    pub missing_bundles: bool,
    /// Only count.
    pub dry_run: bool,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub layers: usize,
    /// Beginnings of blobs.
    pub partials: usize,
    /// What the blobs and layers took up, in bytes.
    pub bytes: u64,
}

/// What images and bundles need.
#[derive(Default)]
pub(super) struct Needed {
    pub blobs: HashSet<Digest>,
    pub layers: HashSet<Digest>,
}

impl Store {
    /// What may not go.
    pub(super) fn needed(&self, how: Collection) -> Result<Needed> {
        let layers = self.layers_in_use(how)?.into_iter().collect();
        let mut needed = Needed { blobs: HashSet::new(), layers };
        for image in self.images()? {
            self.mark(&image.descriptor, &mut needed)?;
        }
        Ok(needed)
    }

    /// Removes blobs and layers that no image, and layers that no bundle, needs, and what broken
    /// transfers left. Does nothing while another command holds them: `None`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], or those of the documents: with one unreadable, nothing is
    /// removed.
    pub fn collect_garbage(&self, how: Collection) -> Result<Option<Collected>> {
        let Some(_lock) = Lock::try_exclusive(&self.root.join("lock"))? else { return Ok(None) };
        let Needed { blobs, layers } = self.needed(how)?;
        let session = self.begin()?;
        let mut collected = Collected::default();
        let mut sweep = |directory: &str, wanted: &HashSet<Digest>| -> Result<usize> {
            let path = self.root.join(directory);
            let mut removed = 0;
            for entry in fs::read_dir(&path).map_err(Error::io("read", &path))? {
                let entry = entry.map_err(Error::io("read", &path))?;
                let name = format!("sha256:{}", entry.file_name().to_string_lossy());
                if !Digest::parse(&name).is_ok_and(|digest| wanted.contains(&digest)) {
                    collected.bytes += occupied(&entry.path());
                    if !how.dry_run {
                        session.take(&entry.path())?;
                    }
                    removed += 1;
                }
            }
            Ok(removed)
        };
        let (blobs, layers) = (sweep("blobs/sha256", &blobs)?, sweep("layers", &layers)?);
        let partials = self.remove_partials(how)?;
        Ok(Some(Collected { blobs, layers, partials, ..collected }))
    }

    /// Marks what an image needs.
    fn mark(&self, image: &Descriptor, Needed { blobs, layers }: &mut Needed) -> Result<()> {
        self.walk(image, &mut |descriptor, document| {
            blobs.insert(descriptor.digest);
            // What is not there can't be kept, and need not be.
            if !self.has_blob(descriptor) {
                return Ok(());
            }
            let Document::Manifest(manifest) = document? else { return Ok(()) };
            blobs.insert(manifest.config.digest);
            blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
            if manifest.check_image("manifest").is_ok() && self.has_blob(&manifest.config) {
                layers.extend(self.config(&manifest)?.rootfs.diff_ids);
            }
            Ok(())
        })
    }
}
