//! From a name to the manifests that it means: through registries.conf, and through indexes by platform.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::Request;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Bounds, Choice, DOCUMENT_COUNT, Descriptor, Document, Manifest, Search};
use crate::reference::Reference;
use crate::registry::{Fetched, Registry};
use crate::store::Store;

/// What a name means, and where it was found.
pub struct Resolved {
    /// The full name.
    pub reference: Reference,
    /// The registry that has it.
    pub registry: Arc<Registry>,
    /// Digest of what the registry gave for the name.
    pub source: Digest,
    /// What the store keeps under the name: a manifest, or an index.
    pub descriptor: Descriptor,
    /// The manifests. The first is for the platform asked for, if `chosen`.
    pub manifests: Vec<(Descriptor, Manifest)>,
    /// The manifest that serves the platform; none if all are wanted and none does.
    pub chosen: Option<Digest>,
    /// Manifests and indexes as they came.
    pub documents: Vec<(Digest, Vec<u8>)>,
}

/// Fetches what the name means.
///
/// # Errors
/// [`Error::Document`] for an index without the platform or nested too deep, [`Error::Nowhere`] if
/// several places were asked in vain, and those of registry and documents.
pub async fn resolve(store: &Store, request: &Request) -> Result<Resolved> {
    let (reference, registry, fetched) = find(request, store.bounds()).await?;
    let registry = Arc::new(registry);
    let source = fetched.digest;
    let walk = Walk { store, registry: &registry, reference: &reference };
    let found = match request.choice {
        Choice::All => walk.all(fetched).await?,
        _ => walk.one(fetched, &request.choice).await?,
    };
    let Found { descriptor, manifests, chosen, documents } = found;
    Ok(Resolved { source, descriptor, manifests, chosen, documents, registry, reference })
}

/// Asks one place after the other for the name's manifest.
async fn find(request: &Request, bounds: Bounds) -> Result<(Reference, Registry, Fetched)> {
    let config = &request.registry;
    let mut earlier = Vec::new();
    let mut places = Vec::new();
    for reference in &request.candidates {
        match config.registries.sources(reference) {
            Ok(sources) => places.extend(sources.into_iter().map(|source| (reference, source))),
            Err(error) if request.candidates.len() > 1 => earlier.push(error.chain()),
            Err(error) => return Err(error),
        }
    }
    let count = places.len();
    for (at, (reference, source)) in places.into_iter().enumerate() {
        let last = at + 1 == count;
        let version = source.reference.version();
        let fetch = async {
            let registry = Registry::to_pull(reference, &source, config)?;
            let digest = reference.digest.as_ref();
            let fetched = registry.manifest(&version, digest, !last, bounds).await?;
            Ok::<_, Error>((reference.clone(), registry, fetched))
        };
        match fetch.await {
            Err(error) if !last => earlier.push(error.chain()),
            Err(error) if !earlier.is_empty() => {
                let image = reference.to_string();
                return Err(Error::Nowhere { image, earlier, source: Box::new(error) });
            }
            result => return result,
        }
    }
    // Every candidate is blocked.
    Err(Error::Document { what: "the name".into(), reason: earlier.join("; ") })
}

/// What came of a walk through indexes.
struct Found {
    descriptor: Descriptor,
    manifests: Vec<(Descriptor, Manifest)>,
    chosen: Option<Digest>,
    documents: Vec<(Digest, Vec<u8>)>,
}

struct Walk<'a> {
    store: &'a Store,
    registry: &'a Registry,
    reference: &'a Reference,
}

impl Walk<'_> {
    fn name(&self, digest: &Digest) -> String {
        format!("manifest {digest} of {}", self.reference)
    }

    /// Goes down to one image's manifest.
    async fn one(&self, mut fetched: Fetched, choice: &Choice) -> Result<Found> {
        let (source, mut search) = (fetched.digest, Search::new(choice, self.store.bounds()));
        loop {
            let what = self.name(&fetched.digest);
            match Document::parse(&what, &fetched.content_type, &fetched.bytes)? {
                Document::Manifest(manifest) => {
                    manifest.check_image(&what)?;
                    let descriptor = described(&fetched, &manifest);
                    return Ok(Found {
                        descriptor: descriptor.clone(),
                        chosen: Some(descriptor.digest),
                        documents: vec![(fetched.digest, fetched.bytes)],
                        manifests: vec![(descriptor, manifest)],
                    });
                }
                Document::Index(index) => search.enter(&what, &index),
            }
            let descriptor = search.next(|| format!("index {source} of {}", self.reference))?;
            fetched = self.fetch(&descriptor).await?;
        }
    }

    /// Fetches everything that an index leads to.
    async fn all(&self, fetched: Fetched) -> Result<Found> {
        let what = self.name(&fetched.digest);
        let index = match Document::parse(&what, &fetched.content_type, &fetched.bytes)? {
            Document::Manifest(_) => return self.one(fetched, &Choice::Host).await,
            Document::Index(index) => index,
        };
        let source = fetched.digest;
        let mut found = Found {
            descriptor: Descriptor::new(
                index.own_media_type(&fetched.content_type),
                source,
                fetched.bytes.len() as u64,
            ),
            manifests: Vec::new(),
            chosen: None,
            documents: vec![(source, fetched.bytes)],
        };
        let mut seen = HashSet::from([source]);
        let mut waiting: VecDeque<(usize, Descriptor)> =
            index.manifests.into_iter().map(|descriptor| (1, descriptor)).collect();
        while let Some((depth, descriptor)) = waiting.pop_front() {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            if depth > self.store.bounds().depth {
                return Err(self.too_deep(&source));
            }
            if seen.len() > DOCUMENT_COUNT {
                let reason = format!("leads to more than {DOCUMENT_COUNT} manifests");
                return Err(Error::Document { what: self.name(&source), reason });
            }
            let fetched = self.fetch(&descriptor).await?;
            let what = self.name(&fetched.digest);
            match Document::parse(&what, &fetched.content_type, &fetched.bytes)? {
                Document::Manifest(manifest) => found.manifests.push((descriptor, manifest)),
                Document::Index(index) => {
                    waiting.extend(index.manifests.into_iter().map(|inner| (depth + 1, inner)));
                }
            }
            found.documents.push((fetched.digest, fetched.bytes));
        }
        found.chosen = self.serves_the_host(&found.documents, source);
        Ok(found)
    }

    /// Of documents that lead from `at` on, the manifest for this machine.
    fn serves_the_host(&self, documents: &[(Digest, Vec<u8>)], mut at: Digest) -> Option<Digest> {
        let documents: HashMap<&Digest, &Vec<u8>> =
            documents.iter().map(|(digest, bytes)| (digest, bytes)).collect();
        let mut search = Search::new(&Choice::Host, self.store.bounds());
        loop {
            let what = self.name(&at);
            match Document::parse(&what, "", documents.get(&at)?).ok()? {
                Document::Manifest(_) => return Some(at),
                Document::Index(index) => search.enter(&what, &index),
            }
            // An index without this machine's platform is as good as any when all are wanted.
            at = search.next(String::new).ok()?.digest;
        }
    }

    fn too_deep(&self, source: &Digest) -> Error {
        Error::Document {
            what: format!("index {source} of {}", self.reference),
            reason: self.store.bounds().too_deep(),
        }
    }

    /// Fetches the document that an index points to, from the store if it is there.
    async fn fetch(&self, descriptor: &Descriptor) -> Result<Fetched> {
        let (digest, content_type) = (descriptor.digest, descriptor.media_type.clone());
        // A stored one that is missing or went bad is fetched.
        if let Ok(bytes) = self.store.read_document(descriptor) {
            return Ok(Fetched { bytes, digest, content_type });
        }
        let fetched = self
            .registry
            .manifest(&digest.to_string(), Some(&digest), false, self.store.bounds())
            .await?;
        crate::store::check(|| format!("manifest {digest}"), descriptor, &fetched.bytes)?;
        Ok(Fetched { content_type, ..fetched })
    }
}

fn described(fetched: &Fetched, manifest: &Manifest) -> Descriptor {
    let media_type = manifest.own_media_type(&fetched.content_type);
    Descriptor::new(media_type, fetched.digest, fetched.bytes.len() as u64)
}
