//! Pushing: an image of the store to a registry.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Access, Config, Registry, Uploaded};
use crate::store::{Store, StoredImage};

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

/// Pushes an image: its blobs that the registry lacks, and its manifest last.
///
/// # Errors
/// Those of registry and store; [`Error::Interrupted`] on Ctrl-C.
pub fn push(store: &Store, request: &Request, progress: Progress) -> Result<Digest> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("start", PathBuf::from("the async runtime")))?;
    let _held = store.hold()?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            result = run(store, request, Arc::new(progress)) => result,
        }
    })
}

async fn run(store: &Store, request: &Request, progress: Arc<Progress>) -> Result<Digest> {
    let descriptor = &request.image.descriptor;
    if let Some(expected) = request.target.digest
        && expected != descriptor.digest
    {
        let (what, found) = (request.target.to_string(), descriptor.digest);
        return Err(Error::WrongDigest { what, expected, found });
    }
    let bytes = store.read_document(descriptor)?;
    let manifest = store.manifest(&request.image)?;
    let elsewhere = elsewhere(store, &request.target)?;
    let access = Access::Push { mount: elsewhere.values().next().cloned() };
    let registry = Arc::new(Registry::with_access(&request.target, &request.registry, access)?);
    let mut blobs: Vec<_> = manifest.layers.iter().chain([&manifest.config]).cloned().collect();
    blobs.sort_by_key(|blob| blob.digest);
    blobs.dedup_by_key(|blob| blob.digest);
    let mut jobs = JoinSet::new();
    let slots = Arc::new(Semaphore::new(request.parallel.max(1)));
    for blob in blobs {
        if !store.has_blob(&blob) {
            return Err(Error::Document {
                what: format!("blob {}", blob.digest),
                reason: "is not in the store; pull the image again".into(),
            });
        }
        let file = store.open_blob(&blob.digest)?;
        let (registry, slots) = (Arc::clone(&registry), Arc::clone(&slots));
        let (other, progress) = (elsewhere.get(&blob.digest).cloned(), Arc::clone(&progress));
        jobs.spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire_owned().await;
            let shown = progress.layer(&blob);
            let add = |bytes| shown.add(bytes);
            let result = registry.upload(&blob, file, other.as_deref(), add).await;
            if let Ok(how) = &result {
                shown.end(match how {
                    Uploaded::Present => "is there",
                    Uploaded::Mounted => "mounted",
                    Uploaded::Sent => "pushed",
                });
            }
            (blob.digest, result)
        });
    }
    while let Some(result) = jobs.join_next().await {
        match result {
            Ok((_, Ok(_))) => {}
            Ok((layer, Err(error))) => {
                let image = request.target.to_string();
                return Err(Error::Layer { image, layer, source: Box::new(error) });
            }
            Err(_) => return Err(Error::Interrupted),
        }
    }
    registry.put_manifest(&request.target.version(), descriptor, bytes).await?;
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
        if let Ok(manifest) = store.manifest(&image) {
            let layers = manifest.layers.iter().chain([&manifest.config]);
            blobs.extend(layers.map(|layer| (layer.digest, name.repository.clone())));
        }
    }
    Ok(blobs)
}
