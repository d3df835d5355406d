//! A reader that hashes what goes through it: before the tar reader.

use std::io::{self, BufRead, Read};

use crate::digest::{Digest, Hasher};

/// Hashes what the source's buffer holds, each byte once.
pub struct Hashing<R> {
    source: R,
    hasher: Hasher,
    /// How much of the current buffer is hashed already.
    hashed: usize,
}

impl<R: BufRead> Hashing<R> {
    /// Hashes what `source` gives.
    pub fn new(source: R) -> Self {
        Self { source, hasher: Hasher::default(), hashed: 0 }
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

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.source.fill_buf()?;
        if buffer.len() > self.hashed {
            self.hasher.update(&buffer[self.hashed..]);
            self.hashed = buffer.len();
        }
        Ok(buffer)
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
        self.hashed -= amount;
    }
}

impl<R: BufRead> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
