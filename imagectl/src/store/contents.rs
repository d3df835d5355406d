//! What an image consists of: the way down from its manifest or index.

use std::collections::HashSet;

use super::{Store, StoredImage};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Choice, Descriptor, Document, Manifest, Search};

/// Everything that an image consists of.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Manifests and indexes. What another names stands before it; the image's own is the last.
    pub documents: Vec<Descriptor>,
    /// Configs and layers, each once.
    pub blobs: Vec<Descriptor>,
}

impl Contents {
    /// The size of all of it, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.documents.iter().chain(&self.blobs).map(|part| part.size).sum()
    }
}

impl Store {
    /// Tells what an image consists of.
    ///
    /// # Errors
    /// Those of reading a manifest or index, all of which must be there.
    pub fn contents(&self, descriptor: &Descriptor) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut seen = HashSet::new();
        self.walk(descriptor, &mut |descriptor, document| {
            if let Document::Manifest(manifest) = document? {
                let parts = manifest.layers.into_iter().chain([manifest.config]);
                contents.blobs.extend(parts.filter(|part| seen.insert(part.digest)));
            }
            contents.documents.push(descriptor.clone());
            Ok(())
        })?;
        Ok(contents)
    }

    /// Reads the manifest of an image, or of the one of an index that is meant; with it its descriptor.
    ///
    /// # Errors
    /// [`Error::Document`] for an index without the platform and for an artifact that is no image, or those
    /// of reading a blob.
    pub fn select(&self, image: &StoredImage, choice: &Choice) -> Result<(Descriptor, Manifest)> {
        let mut descriptor = image.descriptor.clone();
        let mut search = Search::new(choice, self.bounds);
        loop {
            let what = format!("manifest {}", descriptor.digest);
            match self.document(&descriptor)? {
                Document::Manifest(manifest) => {
                    manifest.check_image(&what)?;
                    return Ok((descriptor, manifest));
                }
                Document::Index(index) => search.enter(&what, &index),
            }
            descriptor = search.next(|| format!("index {}", image.descriptor.digest))?;
        }
    }

    /// Visits every manifest and index from this one on down, each once and after those that it names. One
    /// that can't be read is visited too.
    ///
    /// # Errors
    /// The first that `visit` gives.
    pub fn walk(
        &self,
        descriptor: &Descriptor,
        visit: &mut dyn FnMut(&Descriptor, Result<Document>) -> Result<()>,
    ) -> Result<()> {
        self.go_down(descriptor, 0, &mut HashSet::new(), visit)
    }

    fn go_down(
        &self,
        descriptor: &Descriptor,
        depth: usize,
        seen: &mut HashSet<Digest>,
        visit: &mut dyn FnMut(&Descriptor, Result<Document>) -> Result<()>,
    ) -> Result<()> {
        if !seen.insert(descriptor.digest) {
            return Ok(());
        }
        let document = match depth > self.bounds.depth {
            true => Err(self.too_deep(&descriptor.digest)),
            false => self.document(descriptor),
        };
        if let Ok(Document::Index(index)) = &document {
            for inner in &index.manifests {
                self.go_down(inner, depth + 1, seen, visit)?;
            }
        }
        visit(descriptor, document)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let bytes = self.read_document(descriptor)?;
        let what = format!("manifest {}", descriptor.digest);
        Document::parse(&what, &descriptor.media_type, &bytes)
    }

    fn too_deep(&self, digest: &Digest) -> Error {
        let depth = self.bounds.depth;
        Error::Document {
            what: format!("index {digest}"),
            reason: format!(
                "lies under indexes more than {depth} deep; --max-index-depth allows more"
            ),
        }
    }
}
