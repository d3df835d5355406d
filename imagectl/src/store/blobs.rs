//! Blobs: files named by the digest of their content, visible only when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{Session, Store, sync_directory, write_atomically};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::{DOCUMENT_LIMIT, Descriptor};

impl Store {
    /// Where the blob is, if it is there.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Is the blob there, in its full size?
    #[must_use]
    pub fn has_blob(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.blob_path(&descriptor.digest)).is_ok_and(|m| m.len() == descriptor.size)
    }

    /// Opens a blob for streaming.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(Error::io("open", path))
    }

    /// Reads a manifest, index or config and checks it again.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WrongSize`] or [`Error::WrongDigest`].
    pub fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let what = || format!("blob {}", descriptor.digest);
        let mut bytes = Vec::new();
        self.open_blob(&descriptor.digest)?
            .take(DOCUMENT_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", self.blob_path(&descriptor.digest)))?;
        check(what, descriptor, &bytes)?;
        Ok(bytes)
    }

    /// Puts a document that was checked into the store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_document(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == bytes.len() as u64 => Ok(()),
            _ => write_atomically(&path, bytes),
        }
    }

    /// Begins to receive a blob from `source`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn receive<R: BufRead>(
        &self,
        session: &Session,
        descriptor: &Descriptor,
        source: R,
    ) -> Result<Receiving<R>> {
        let temporary = session.fresh("blob");
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(Error::io("create", &temporary))?;
        Ok(Receiving {
            source,
            hashed: 0,
            received: 0,
            hasher: Hasher::default(),
            file,
            temporary,
            expected: descriptor.size,
            digest: descriptor.digest,
            path: self.blob_path(&descriptor.digest),
        })
    }
}

/// Checks bytes against their descriptor.
pub(crate) fn check(
    what: impl Fn() -> String,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Result<()> {
    let length = bytes.len() as u64;
    if length != descriptor.size {
        let more = length > descriptor.size;
        return Err(Error::WrongSize {
            what: what(),
            expected: descriptor.size,
            found: length,
            more,
        });
    }
    match Digest::of(bytes) {
        found if found == descriptor.digest => Ok(()),
        found => Err(Error::WrongDigest { what: what(), expected: descriptor.digest, found }),
    }
}

/// A blob on its way: every byte read through it is hashed and written to a temporary file. No more
/// bytes than the descriptor promises are ever taken.
pub struct Receiving<R> {
    source: R,
    /// How much of the source's current buffer is hashed and written already.
    hashed: usize,
    received: u64,
    hasher: Hasher,
    file: File,
    temporary: PathBuf,
    expected: u64,
    digest: Digest,
    path: PathBuf,
}

impl<R: BufRead> Receiving<R> {
    /// Receives what nobody read, checks size and digest, and makes the blob visible.
    ///
    /// # Errors
    /// [`Error::WrongSize`], [`Error::WrongDigest`], [`Error::Io`], or the source's own error.
    pub fn finish(mut self) -> Result<()> {
        self.check()?;
        self.file.sync_data().map_err(Error::io("sync", &self.temporary))?;
        fs::rename(&self.temporary, &self.path).map_err(Error::io("rename", &self.temporary))?;
        self.path.parent().map_or(Ok(()), sync_directory)
    }

    /// As [`Self::finish`], but throws the blob away in the end.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn verify(mut self) -> Result<()> {
        self.check()
    }

    fn check(&mut self) -> Result<()> {
        self.drain()?;
        let what = || format!("blob {}", self.digest);
        if self.received != self.expected {
            let (expected, found) = (self.expected, self.received);
            return Err(Error::WrongSize { what: what(), expected, found, more: false });
        }
        match std::mem::take(&mut self.hasher).finish() {
            found if found == self.digest => Ok(()),
            found => Err(Error::WrongDigest { what: what(), expected: self.digest, found }),
        }
    }

    fn drain(&mut self) -> Result<()> {
        loop {
            let length = match self.fill_buf() {
                Ok(buffer) => buffer.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(match error.downcast::<Error>() {
                        Ok(own) => own,
                        Err(source) => Error::Step { action: "receive the blob", source },
                    });
                }
            };
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }
}

impl<R: BufRead> BufRead for Receiving<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.source.fill_buf()?;
        let new = &buffer[self.hashed..];
        if !new.is_empty() {
            self.received += new.len() as u64;
            if self.received > self.expected {
                return Err(io::Error::other(Error::WrongSize {
                    what: format!("blob {}", self.digest),
                    expected: self.expected,
                    found: self.received,
                    more: true,
                }));
            }
            self.hasher.update(new);
            self.file.write_all(new)?;
            self.hashed = buffer.len();
        }
        Ok(buffer)
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
        self.hashed -= amount;
    }
}

impl<R: BufRead> Read for Receiving<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
