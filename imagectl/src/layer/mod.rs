//! Layers: from the bytes of a layer to a directory tree. Every archive is hostile here: the tree
//! is reached through directory descriptors alone, and nothing outside of it is ever touched.

mod ahead;
mod apply;
mod bounds;
mod clone;
mod decompress;
mod directories;
mod hashing;
mod listing;
mod metadata;
mod owner_record;
mod pack;
mod path;
mod remove;
pub mod tar;
mod whiteout;

use std::io::{BufRead, Read};
use std::os::fd::BorrowedFd;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Descriptor;

pub use apply::{Form, LayerRecord, Ownership, Target};
pub(crate) use bounds::Remembered;
pub use bounds::{Budget, Limits};
pub use clone::Cloner;
pub use decompress::Decoder;
pub use listing::{Listing, Node, NodeKind};
pub use metadata::copy_metadata;
pub use pack::{Content, pack};
pub use path::EntryPath;
pub use remove::remove_tree;

use ahead::ahead;
use apply::Applier;
use bounds::{Bounded, Compressed, Counted};
use hashing::Hashing;

/// An archive of images, decompressed and bounded. Its compressed size is counted as it comes: nobody
/// tells that of standard input.
///
/// # Errors
/// Those of the decoder.
pub fn decompress<'a, R: BufRead>(source: R, budget: &'a Budget) -> Result<impl Read + use<'a, R>> {
    let (source, compressed) = Counted::new(source);
    Ok(Bounded::new(Decoder::new(source)?, compressed, budget))
}

/// A layer's blob of `size` bytes, decompressed and bounded.
///
/// # Errors
/// Those of the decoder.
pub fn decompress_blob<'a, R: BufRead>(
    source: R,
    size: u64,
    budget: &'a Budget,
) -> Result<impl Read + use<'a, R>> {
    Ok(Bounded::new(Decoder::new(source)?, Compressed::Known(size), budget))
}

/// Which layer is read, and what it may become.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The blob.
    pub blob: &'a Descriptor,
    /// Digest of the uncompressed bytes.
    pub diff_id: &'a Digest,
    /// The image's limits.
    pub budget: &'a Budget,
}

/// Unpacks a layer into the directory `target`, in one pass: decompress in a thread, hash and apply
/// here. On an error the directory holds a part of the layer and must be thrown away.
///
/// # Errors
/// [`Error::Entry`] for an entry that is refused or can't be made, [`Error::WrongDigest`] if the
/// uncompressed bytes are not the diff ID's, [`Error::Refused`] if they are too many, and those of
/// decoder and archive.
pub fn unpack<R: BufRead + Send>(
    source: R,
    expected: Expected<'_>,
    target: BorrowedFd<'_>,
    how: Target,
) -> Result<LayerRecord> {
    let Expected { budget, .. } = expected;
    ahead(expected.stream(source)?, |bytes| {
        let mut reader = tar::Reader::new(Hashing::new(bytes));
        let mut applier = Applier::new(target, how, budget)?;
        while let Some(entry) = reader.next_entry()? {
            budget.take_entry()?;
            let applied =
                budget.take_holes(&entry).and_then(|()| applier.apply(&entry, &mut reader));
            applied.map_err(|source| Error::Entry {
                entry: entry.path.escape_ascii().to_string(),
                source: Box::new(source),
            })?;
        }
        check(reader.into_source(), expected.diff_id)?;
        applier.finish()
    })
}

/// Decompresses and hashes a layer without unpacking it.
///
/// # Errors
/// As [`unpack`], but for entries.
pub fn verify<R: BufRead + Send>(source: R, expected: Expected<'_>) -> Result<()> {
    ahead(expected.stream(source)?, |bytes| check(Hashing::new(bytes), expected.diff_id))
}

impl<'a> Expected<'a> {
    /// The layer's uncompressed bytes, bounded.
    fn stream<R: BufRead>(&self, source: R) -> Result<Bounded<'a, Decoder<R>>> {
        let compressed = Compressed::Known(self.blob.size);
        Ok(Bounded::new(Decoder::new(source)?, compressed, self.budget))
    }
}

/// Reads on to the end and compares the digest.
fn check<R: BufRead>(hashing: Hashing<R>, diff_id: &Digest) -> Result<()> {
    let found = hashing.finish().map_err(|error| match error.downcast::<Error>() {
        Ok(own) => own,
        Err(source) => Error::Step { action: "read the layer", source },
    })?;
    match found == *diff_id {
        true => Ok(()),
        false => {
            Err(Error::WrongDigest { what: "uncompressed layer".into(), expected: *diff_id, found })
        }
    }
}
