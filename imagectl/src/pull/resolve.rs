//! From a name to one image's manifest: through indexes, by platform.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, Document, Index, Manifest, Platform, media_type};
use crate::reference::Reference;
use crate::registry::{Fetched, Registry};
use crate::store::Store;

/// How deep indexes may lie in indexes.
const INDEX_DEPTH: usize = 4;

/// One image's manifest.
pub struct Resolved {
    /// The digest of what the registry gave for the name.
    pub source: Digest,
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub manifest: Manifest,
}

/// Fetches the manifest that `reference` means on `platform`.
///
/// # Errors
/// [`Error::Document`] for an index without the platform or nested too deep, and those of
/// registry and documents.
pub async fn resolve(
    registry: &Registry,
    store: &Store,
    reference: &Reference,
    platform: &Platform,
) -> Result<Resolved> {
    let mut fetched = registry.manifest(&reference.version(), reference.digest.as_ref()).await?;
    let source = fetched.digest;
    for _ in 0..=INDEX_DEPTH {
        let what = format!("manifest {} of {reference}", fetched.digest);
        match Document::parse(&what, &fetched.content_type, &fetched.bytes)? {
            Document::Manifest(manifest) => return Ok(resolved(source, fetched, manifest)),
            Document::Index(index) => {
                let descriptor = choose(&what, &index, platform)?;
                fetched = follow(registry, store, descriptor).await?;
            }
        }
    }
    Err(Error::Document {
        what: format!("index {source} of {reference}"),
        reason: format!("holds indexes more than {INDEX_DEPTH} deep"),
    })
}

/// Fetches the document that an index points to, from the store if it is there.
async fn follow(registry: &Registry, store: &Store, descriptor: &Descriptor) -> Result<Fetched> {
    // A stored one that is missing or went bad is fetched.
    if let Ok(bytes) = store.read_document(descriptor) {
        return Ok(Fetched {
            bytes,
            digest: descriptor.digest,
            content_type: descriptor.media_type.clone(),
        });
    }
    let digest = descriptor.digest;
    let fetched = registry.manifest(&digest.to_string(), Some(&digest)).await?;
    crate::store::check(|| format!("manifest {digest}"), descriptor, &fetched.bytes)?;
    Ok(Fetched { content_type: descriptor.media_type.clone(), ..fetched })
}

/// The descriptor of an index that serves the platform.
pub fn choose<'a>(what: &str, index: &'a Index, platform: &Platform) -> Result<&'a Descriptor> {
    // Attestations and the like stand in indexes as images of an unknown platform.
    let images: Vec<Descriptor> =
        index.manifests.iter().filter(|d| d.artifact_type.is_none()).cloned().collect();
    let picked = platform.pick(&images).map(|d| d.digest);
    let nested = index.manifests.iter().find(|d| {
        d.platform.is_none()
            && matches!(d.media_type.as_str(), media_type::OCI_INDEX | media_type::DOCKER_LIST)
    });
    let single = match &index.manifests[..] {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    };
    let by_platform = index.manifests.iter().find(|d| Some(d.digest) == picked);
    by_platform.or(nested).or(single).ok_or_else(|| {
        let mut offered: Vec<String> = images
            .iter()
            .filter_map(|d| d.platform.as_ref())
            .filter(|p| p.os != "unknown")
            .map(ToString::to_string)
            .collect();
        offered.dedup();
        Error::Document {
            what: what.to_owned(),
            reason: format!("has no image for {platform}; it has {}", offered.join(", ")),
        }
    })
}

fn resolved(source: Digest, fetched: Fetched, manifest: Manifest) -> Resolved {
    let media_type = manifest.own_media_type(&fetched.content_type);
    let size = fetched.bytes.len() as u64;
    Resolved {
        source,
        descriptor: Descriptor::new(media_type, fetched.digest, size),
        bytes: fetched.bytes,
        manifest,
    }
}
