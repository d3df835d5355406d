//! `imagectl verify`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use clap::Args;
use serde_json::json;

use super::list_format::ListFormat;
use super::{say, say_json, stored};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, Document};
use crate::store::{Store, StoredImage};

#[derive(Debug, Args)]
pub struct Verify {
    /// The images [default: all]
    #[arg(value_name = "REF")]
    references: Vec<String>,
    /// Remove the blobs that are wrong, so that the next pull fetches them
    #[arg(long)]
    remove: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Verify {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let _held = store.hold()?;
        let images = match self.references.as_slice() {
            [] => store.images()?,
            references => {
                references.iter().map(|name| stored(store, Some(name))).collect::<Result<_>>()?
            }
        };
        let mut blobs = BTreeMap::new();
        let mut wrong = Vec::new();
        for image in &images {
            gather(store, image, &mut blobs, &mut wrong)?;
        }
        let known: Vec<Digest> = wrong.iter().map(|(digest, _)| *digest).collect();
        blobs.retain(|digest, _| !known.contains(digest));
        let count = blobs.len() + wrong.len();
        wrong.extend(check(store, blobs.into_values().collect()));
        if self.remove {
            for (digest, _) in &wrong {
                match std::fs::remove_file(store.blob_path(digest)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    result => result.map_err(Error::io("remove", store.blob_path(digest)))?,
                }
            }
        }
        match self.format {
            ListFormat::Table if wrong.is_empty() => {
                say(out, format_args!("{count} blobs are right"))?;
            }
            ListFormat::Table => {}
            ListFormat::Json => {
                let one = |(digest, error): &(Digest, String)| json!({ "digest": digest, "error": error });
                let list: Vec<_> = wrong.iter().map(one).collect();
                let removed = self.remove && !wrong.is_empty();
                let value = json!({ "blobs": count, "wrong": list, "removed": removed });
                say_json(out, &value)?;
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = wrong.iter().map(|(_, error)| error.clone()).collect();
        Err(Error::Document {
            what: format!("{} of {count} blobs are wrong", wrong.len()),
            reason: list.join("; "),
        })
    }
}

/// Notes the blobs that an image is made of, and the documents that can't be read.
fn gather(
    store: &Store,
    image: &StoredImage,
    blobs: &mut BTreeMap<Digest, Descriptor>,
    wrong: &mut Vec<(Digest, String)>,
) -> Result<()> {
    store.walk(&image.descriptor, &mut |descriptor, document| {
        blobs.insert(descriptor.digest, descriptor.clone());
        match document {
            Ok(Document::Manifest(manifest)) => {
                let parts = manifest.layers.into_iter().chain([manifest.config]);
                blobs.extend(parts.map(|part| (part.digest, part)));
            }
            Ok(Document::Index(_)) => {}
            Err(error) => wrong.push((descriptor.digest, error.chain())),
        }
        Ok(())
    })
}

/// Hashes the blobs on all processors; gives what is wrong.
fn check(store: &Store, blobs: Vec<Descriptor>) -> Vec<(Digest, String)> {
    let queue = Mutex::new(blobs.into_iter());
    let wrong = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Nothing panics while a lock is held, so a poisoned one is still right.
    let poisoned = std::sync::PoisonError::into_inner;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next =
                        queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some(blob) = next else { return };
                    if let Err(error) = store.verify_blob(&blob) {
                        wrong
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push((blob.digest, error.chain()));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap_or_else(poisoned);
    wrong.sort();
    wrong
}
