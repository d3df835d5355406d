//! Limits on what layers become. A bomb is stopped by what it writes, not by what it claims.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// No layer is held to its ratio before it has become so large, in bytes: a small bomb harms nobody.
const RATIO_FLOOR: u64 = 64 << 20;

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
}

fn take(from: &AtomicU64, amount: u64) -> Option<()> {
    let less = |left: u64| left.checked_sub(amount);
    from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(drop)
}

/// A layer's uncompressed bytes, ended by an error where they grow past the limits.
pub struct Bounded<'a, R> {
    source: R,
    budget: &'a Budget,
    /// What the ratio leaves, in bytes.
    left: u64,
}

impl<'a, R: Read> Bounded<'a, R> {
    /// Bounds what comes of a layer of `compressed` bytes.
    pub fn new(source: R, compressed: u64, budget: &'a Budget) -> Self {
        let left = compressed.saturating_mul(budget.limits.ratio).max(RATIO_FLOOR);
        Self { source, budget, left }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(out)?;
        let refuse = |reason: String| io::Error::other(Error::refused(reason));
        let Limits { size, ratio, .. } = self.budget.limits;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            refuse(format!("becomes more than {ratio} times its size; --max-ratio allows more"))
        })?;
        take(&self.budget.size, length as u64).ok_or_else(|| {
            refuse(format!("the image becomes more than {size} bytes; --max-size allows more"))
        })?;
        Ok(length)
    }
}
