//! Limits on what layers become. A bomb is stopped by what it writes, not by what it claims.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::tar::Entry;
use crate::error::{Error, Result};

/// No layer is held to its ratio before it has become so large, in bytes: a small bomb harms nobody.
const RATIO_FLOOR: u64 = 64 << 20;

/// What may have to be remembered of an archive until it ends, in bytes.
const REMEMBERED_LIMIT: u64 = 256 << 20;

/// How much an image may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its layers, uncompressed.
    pub size: u64,
    /// How many times its compressed size a layer may have.
    pub ratio: u64,
    /// Entries in all its layers.
    pub entries: u64,
}

impl Default for Limits {
    /// 100 GB, 1000 times (more than gzip can do to anything but zeros), 10 million entries.
    fn default() -> Self {
        Self { size: 100_000_000_000, ratio: 1000, entries: 10_000_000 }
    }
}

/// What is left of an image's limits: its layers, on their way at the same time, share it.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    size: AtomicU64,
    entries: AtomicU64,
}

impl Budget {
    /// All that `limits` allow.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (size, entries) = (limits.size.into(), limits.entries.into());
        Self { limits, size, entries }
    }

    /// Counts one entry.
    pub(crate) fn take_entry(&self) -> Result<()> {
        take(&self.entries, 1).ok_or_else(|| {
            let limit = self.limits.entries;
            Error::refused(format!(
                "the image has more than {limit} entries; --max-entries allows more"
            ))
        })
    }

    /// Counts the holes of a sparse file: they cost nothing here, but all who copy the file or read it.
    pub(crate) fn take_holes(&self, entry: &Entry) -> Result<()> {
        let Some(sparse) = &entry.sparse else { return Ok(()) };
        take(&self.size, sparse.size.saturating_sub(entry.size)).ok_or_else(|| {
            let (size, limit) = (sparse.size, self.limits.size);
            Error::refused(format!(
                "a sparse file of {size} bytes, counted with its holes, makes the image larger than \
                 {limit} bytes; --max-size allows more"
            ))
        })
    }
}

fn take(from: &AtomicU64, amount: u64) -> Option<()> {
    let less = |left: u64| left.checked_sub(amount);
    from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(drop)
}

/// Counts names and attributes that are remembered until an archive ends: they come out of next to
/// nothing, and memory is dearer than the disk.
#[derive(Debug, Default)]
pub struct Remembered(u64);

impl Remembered {
    /// Counts so many bytes more.
    pub fn add(&mut self, bytes: usize) -> Result<()> {
        self.0 += bytes as u64;
        match self.0 > REMEMBERED_LIMIT {
            true => Err(Error::refused(
                "the names of the archive, and the attributes of its directories, take more than 256 MiB",
            )),
            false => Ok(()),
        }
    }
}

/// An archive's compressed size.
#[derive(Clone, Debug)]
pub enum Compressed {
    /// Somebody told, and it is checked.
    Known(u64),
    /// What a [`Counted`] has read of it so far.
    SoFar(Arc<AtomicU64>),
}

impl Compressed {
    fn bytes(&self) -> u64 {
        match self {
            Self::Known(bytes) => *bytes,
            Self::SoFar(bytes) => bytes.load(Ordering::Relaxed),
        }
    }
}

/// Counts what is taken of a source.
pub struct Counted<R> {
    source: R,
    taken: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    /// Counts from here on; gives the count too.
    pub fn new(source: R) -> (Self, Compressed) {
        let taken = Arc::new(AtomicU64::new(0));
        (Self { source, taken: Arc::clone(&taken) }, Compressed::SoFar(taken))
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
        self.taken.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

/// An archive's uncompressed bytes, ended by an error where they grow past the limits.
pub struct Bounded<'a, R> {
    source: R,
    budget: &'a Budget,
    compressed: Compressed,
    /// Bytes so far.
    made: u64,
}

impl<'a, R: Read> Bounded<'a, R> {
    /// Bounds what comes of `compressed`.
    pub fn new(source: R, compressed: Compressed, budget: &'a Budget) -> Self {
        Self { source, budget, compressed, made: 0 }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(out)?;
        let refuse = |reason: String| io::Error::other(Error::refused(reason));
        let Limits { size, ratio, .. } = self.budget.limits;
        self.made += length as u64;
        let allowed = || self.compressed.bytes().saturating_mul(ratio);
        if self.made > RATIO_FLOOR && self.made > allowed() {
            return Err(refuse(format!(
                "becomes more than {ratio} times its size; --max-ratio allows more"
            )));
        }
        take(&self.budget.size, length as u64).ok_or_else(|| {
            refuse(format!("the image becomes more than {size} bytes; --max-size allows more"))
        })?;
        Ok(length)
    }
}
