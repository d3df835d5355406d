//! A buffer that hashes what goes through it: between decoder and tar reader.

use std::io::{self, BufRead, Read};

use crate::digest::{Digest, Hasher};

/// Bytes per turn: large enough to make calls rare, small enough to stay in the second-level cache.
const BUFFER: usize = 128 << 10;

/// Reads from the source in large pieces and hashes each.
pub struct Hashing<R> {
    source: R,
    hasher: Hasher,
    buffer: Box<[u8]>,
    taken: usize,
    filled: usize,
}

impl<R: Read> Hashing<R> {
    /// Hashes what `source` gives.
    pub fn new(source: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { source, hasher: Hasher::default(), buffer, taken: 0, filled: 0 }
    }

    /// Reads to the source's end and gives the digest of all its bytes.
    ///
    /// # Errors
    /// The source's.
    pub fn finish(mut self) -> io::Result<Digest> {
        loop {
            let length = match self.fill_buf() {
                Ok(buffer) => buffer.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if length == 0 {
                return Ok(self.hasher.finish());
            }
            self.consume(length);
        }
    }
}

impl<R: Read> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
            self.filled = self.source.read(&mut self.buffer)?;
            self.hasher.update(&self.buffer[..self.filled]);
        }
        Ok(&self.buffer[self.taken..self.filled])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.filled.min(self.taken + amount);
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
