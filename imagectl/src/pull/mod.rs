//! Pulling: from a name to an image in the store, its layers unpacked beside it.

mod fetch;
mod resolve;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Choice, Descriptor, ImageConfig, Manifest, Platform};
use crate::layer::{Budget, Limits};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Config, Registry};
use crate::store::{Session, Store};
use crate::transfer;

use fetch::{Job, fetch};
use resolve::{Resolved, resolve};

/// What to pull, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The names that the image may have; the first that a registry knows is pulled.
    pub candidates: Vec<Reference>,
    /// What to take of an index.
    pub choice: Choice,
    /// How to talk to the registry.
    pub registry: Config,
    /// Unpack the layers of the image that runs here too; needs root.
    pub unpack: bool,
    /// How many connections bring blobs at once.
    pub parallel: usize,
    /// What the image may become.
    pub limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The full name.
    pub name: String,
    /// Digest of the manifest, or of the index.
    pub digest: Digest,
    /// Nothing had to be fetched but the manifest.
    pub present: bool,
}

/// Pulls an image. On an error, or on Ctrl-C, whole blobs and layers stay, and of others
/// what a later pull goes on from.
///
/// # Errors
/// Those of registry, store and layers; [`Error::Interrupted`] on Ctrl-C.
pub fn pull(store: &Store, request: &Request, progress: Progress) -> Result<Pulled> {
    let _held = store.hold()?;
    // Outlives the threads that work in it: they are waited for.
    let session = Arc::new(store.begin()?);
    let over = Arc::new(AtomicBool::new(false));
    let pull = Pull {
        store,
        request,
        session,
        over: Arc::clone(&over),
        progress: Arc::new(progress),
        slots: Arc::new(Semaphore::new(request.parallel.max(1))),
    };
    transfer::run(&over, pull.run())
}

/// A pull under way.
struct Pull<'a> {
    store: &'a Store,
    request: &'a Request,
    session: Arc<Session>,
    over: Arc<AtomicBool>,
    progress: Arc<Progress>,
    slots: Arc<Semaphore>,
}

/// A blob that the image needs, and what it becomes when it is a layer.
type Wanted = (Descriptor, Option<Digest>);

impl Pull<'_> {
    async fn run(&self) -> Result<Pulled> {
        let resolved = resolve(self.store, self.request).await?;
        let name = resolved.reference.to_string();
        let (mut present, mut platform) = (true, None);
        let mut configs = Vec::new();
        for (descriptor, manifest) in &resolved.manifests {
            let what = format!("manifest {} of {name}", descriptor.digest);
            if manifest.check_image(&what).is_err() {
                // Attestations and the like come along in an index; they are bytes and nothing more.
                let parts = manifest.layers.iter().chain([&manifest.config]);
                let blobs = parts.map(|part| (part.clone(), None)).collect();
                present &= self.bring(&name, &resolved.registry, blobs, false).await?;
                continue;
            }
            let (config, bytes) = self.config(&resolved, manifest).await?;
            configs.push((manifest.config.digest, bytes));
            let chosen = resolved.chosen == Some(descriptor.digest);
            let diff_ids = &config.rootfs.diff_ids;
            let layers =
                manifest.layers.iter().cloned().zip(diff_ids.iter().map(|id| Some(*id))).collect();
            let unpack = self.request.unpack && chosen;
            present &= self.bring(&name, &resolved.registry, layers, unpack).await?;
            if unpack {
                // Each layer is harmless alone; that one would write through another's link shows only now.
                self.store.stack(&name, diff_ids)?.resolve_implied(None)?;
            }
            if descriptor.digest == resolved.descriptor.digest {
                platform = Some(Platform::of(&config));
            }
        }
        for (digest, bytes) in configs.iter().chain(resolved.documents.iter().rev()) {
            self.store.write_document(digest, bytes)?;
        }
        let digest = resolved.descriptor.digest;
        let descriptor = Descriptor { platform, ..resolved.descriptor };
        self.store.add_image(&name, &resolved.source, descriptor)?;
        Ok(Pulled { name, digest, present })
    }

    /// The image's config, from the store if it is there.
    async fn config(
        &self,
        resolved: &Resolved,
        manifest: &Manifest,
    ) -> Result<(ImageConfig, Vec<u8>)> {
        // A stored one that is missing or went bad is fetched.
        let bytes = match self.store.read_document(&manifest.config) {
            Ok(bytes) => bytes,
            Err(_) => resolved.registry.config(&manifest.config, self.store.bounds()).await?,
        };
        let what = format!("config {}", manifest.config.digest);
        let config = ImageConfig::parse(&what, &bytes, manifest.layers.len())?;
        let found = Platform::of(&config);
        match &self.request.choice {
            // What an index says of its images is its own affair.
            Choice::One(wanted)
                if resolved.source == resolved.descriptor.digest && !wanted.runs(&found) =>
            {
                Err(Error::Document {
                    what: resolved.reference.to_string(),
                    reason: format!("is for {found}, not for {wanted}"),
                })
            }
            _ => Ok((config, bytes)),
        }
    }

    /// Brings blobs into the store, and layers unpacked if asked to. Says whether all were there.
    async fn bring(
        &self,
        name: &str,
        registry: &Arc<Registry>,
        blobs: Vec<Wanted>,
        unpack: bool,
    ) -> Result<bool> {
        let budget = Arc::new(Budget::new(self.request.limits));
        let mut seen = HashSet::new();
        let mut jobs = Vec::new();
        for (blob, diff_id) in blobs {
            // The same layer may stand in an image twice.
            if !seen.insert((blob.digest, diff_id)) {
                continue;
            }
            let unpack = diff_id.filter(|diff_id| unpack && !self.store.has_layer(diff_id));
            if self.store.has_blob(&blob) && unpack.is_none() {
                continue;
            }
            jobs.push(Job {
                store: self.store.clone(),
                session: Arc::clone(&self.session),
                registry: Arc::clone(registry),
                slots: Arc::clone(&self.slots),
                blob,
                diff_id,
                unpack: unpack.is_some(),
                budget: Arc::clone(&budget),
                patience: self.request.registry.stall,
                over: Arc::clone(&self.over),
                progress: Arc::clone(&self.progress),
            });
        }
        let present = jobs.is_empty();
        // The largest first: one that came last would have the machine to itself, and use half of it.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.blob.size));
        transfer::all(name, &self.slots, jobs.into_iter().map(fetch)).await?;
        Ok(present)
    }
}
