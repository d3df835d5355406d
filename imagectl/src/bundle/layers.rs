//! The layers that an overlay stands on, unpacked from the store's blobs where they are not yet: the
//! image was loaded or made by another tool, or the machine was started anew since it was pulled.

use std::io::BufReader;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, ImageConfig, Manifest};
use crate::layer::{self, Budget, Expected, Form, Limits, Ownership, Target};
use crate::store::{Session, Store};

const READ_BUFFER: usize = 128 << 10;

/// Unpacks the layers of `manifest` that are not unpacked, several at a time. Needs root.
///
/// # Errors
/// [`Error::Layer`] naming image, layer and entry.
pub fn unpack_missing(
    store: &Store,
    name: &str,
    manifest: &Manifest,
    config: &ImageConfig,
    limits: Limits,
) -> Result<()> {
    let mut missing: Vec<(&Descriptor, &Digest)> = Vec::new();
    for (blob, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        if !store.has_layer(diff_id) && !missing.iter().any(|(_, other)| *other == diff_id) {
            missing.push((blob, diff_id));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
    let session = store.begin()?;
    let budget = Budget::new(limits);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
    let failed = AtomicBool::new(false);
    let queue = Mutex::new(missing.into_iter());
    let work = || -> Result<()> {
        while !failed.load(Ordering::Relaxed) {
            // Nothing panics while the lock is held, so a poisoned one is still right.
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some((blob, diff_id)) = next else { return Ok(()) };
            unpack(store, &session, Expected { blob, diff_id, budget: &budget }).map_err(
                |source| {
                    failed.store(true, Ordering::Relaxed);
                    Error::Layer {
                        image: name.to_owned(),
                        layer: blob.digest,
                        source: Box::new(source),
                    }
                },
            )?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // All are waited for; the first error is the one to tell.
        let results: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(Error::Interrupted)))
            .collect();
        results.into_iter().collect()
    })
}

fn unpack(store: &Store, session: &Session, expected: Expected<'_>) -> Result<()> {
    let _turn = store.turn(&expected.blob.digest)?;
    if store.has_layer(expected.diff_id) {
        // Somebody else had the turn before.
        return Ok(());
    }
    let blob = store.open_blob(&expected.blob.digest)?;
    let source = BufReader::with_capacity(READ_BUFFER, blob);
    let draft = store.draft_layer(session, expected.diff_id)?;
    let how = Target { form: Form::Overlay, ownership: Ownership::of_caller() };
    let record = layer::unpack(source, expected, draft.tree(), how)?;
    draft.commit(session, &record)
}
