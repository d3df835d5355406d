//! Pushing: an image of the store to a registry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Config, Registry, Uploaded};
use crate::store::{Store, StoredImage};
use crate::transfer;

/// What to push, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image.
    pub image: StoredImage,
    /// The name to push it under.
    pub target: Reference,
    /// How to talk to the registry.
    pub registry: Config,
    /// How many blobs are on their way at once.
    pub parallel: usize,
}

/// Pushes an image: its blobs that the registry lacks, and its manifest last. Of an index, all images.
///
/// # Errors
/// Those of registry and store; [`Error::Interrupted`] on Ctrl-C.
pub fn push(store: &Store, request: &Request, progress: Progress) -> Result<Digest> {
    let _held = store.hold()?;
    transfer::run(&AtomicBool::default(), run(store, request, Arc::new(progress)))
}

async fn run(store: &Store, request: &Request, progress: Arc<Progress>) -> Result<Digest> {
    let descriptor = &request.image.descriptor;
    let name = request.target.to_string();
    if let Some(expected) = request.target.digest
        && expected != descriptor.digest
    {
        return Err(Error::WrongDigest { what: name, expected, found: descriptor.digest });
    }
    let contents = store.contents(descriptor)?;
    let elsewhere = elsewhere(store, &request.target)?;
    let mount = elsewhere.values().next().cloned();
    let registry = Arc::new(Registry::to_push(&request.target, mount, &request.registry)?);
    let mut jobs = Vec::new();
    for blob in contents.blobs {
        if !store.has_blob(&blob) {
            return Err(Error::Document {
                what: format!("blob {}", blob.digest),
                reason: "is not in the store; pull the image again".into(),
            });
        }
        let file = store.open_blob(&blob.digest)?;
        let registry = Arc::clone(&registry);
        let (other, progress) = (elsewhere.get(&blob.digest).cloned(), Arc::clone(&progress));
        jobs.push(async move {
            let shown = progress.layer(&blob);
            let add = |bytes| shown.add(bytes);
            let result = registry.upload(&blob, file, other.as_deref(), add).await;
            let result = result.map(|how| {
                shown.end(match how {
                    Uploaded::Present => "is there",
                    Uploaded::Mounted => "mounted",
                    Uploaded::Sent => "pushed",
                });
            });
            (blob.digest, result)
        });
    }
    let slots = Arc::new(Semaphore::new(request.parallel.max(1)));
    transfer::all(&name, &slots, jobs).await?;
    for document in &contents.documents {
        let bytes = store.read_document(document)?;
        let version = match document.digest == descriptor.digest {
            true => request.target.version(),
            false => document.digest.to_string(),
        };
        registry.put_manifest(&version, document, bytes).await?;
    }
    Ok(descriptor.digest)
}

/// Which other repositories of the same registry have blobs, as far as the store's names tell.
fn elsewhere(store: &Store, target: &Reference) -> Result<HashMap<Digest, String>> {
    let mut blobs = HashMap::new();
    for image in store.images()? {
        let Ok(name) = Reference::parse(image.name()) else { continue };
        if name.registry != target.registry || name.repository == target.repository {
            continue;
        }
        if let Ok(contents) = store.contents(&image.descriptor) {
            let parts = contents.blobs.iter();
            blobs.extend(parts.map(|part| (part.digest, name.repository.clone())));
        }
    }
    Ok(blobs)
}
