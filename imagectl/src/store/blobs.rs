//! Blobs: files named by the digest of their content, visible only when they are whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Store, sync_directory, write_atomically};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::Descriptor;

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
    /// [`Error::Io`], [`Error::WrongSize`], [`Error::WrongDigest`], or [`Error::Document`] if it is larger
    /// than [`Bounds`](crate::image::Bounds) allow.
    pub fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let what = || format!("blob {}", descriptor.digest);
        if descriptor.size > self.bounds.document {
            return Err(Error::Document { what: what(), reason: self.bounds.too_large() });
        }
        let mut bytes = Vec::new();
        self.open_blob(&descriptor.digest)?
            .take(descriptor.size.saturating_add(1))
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
        match fs::read(&path) {
            Ok(stored) if stored == bytes => return Ok(()),
            Ok(_) => {}
            Err(_) => self.made(&path),
        }
        write_atomically(&path, bytes)
    }

    /// Makes a file of a session a blob too; `digest` is that of its bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<()> {
        File::open(path).and_then(|file| file.sync_data()).map_err(Error::io("sync", path))?;
        // The file stays: an image may have it twice.
        let link = path.with_extension("link");
        fs::hard_link(path, &link).map_err(Error::io("link", path))?;
        let place = self.blob_path(digest);
        if !place.exists() {
            self.made(&place);
        }
        fs::rename(&link, &place).map_err(Error::io("rename", &link))?;
        // Renaming one name of a file to another of it does nothing.
        match fs::remove_file(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(Error::io("remove", &link))?,
        }
        place.parent().map_or(Ok(()), sync_directory)
    }

    /// Hashes a blob anew.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WrongSize`] or [`Error::WrongDigest`].
    pub fn verify_blob(&self, descriptor: &Descriptor) -> Result<()> {
        let what = || format!("blob {}", descriptor.digest);
        let mut file = self.open_blob(&descriptor.digest)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 128 << 10];
        let mut size = 0;
        loop {
            let length = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(Error::io("read", self.blob_path(&descriptor.digest)))?,
            };
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            size += length as u64;
        }
        if size != descriptor.size {
            let (expected, more) = (descriptor.size, size > descriptor.size);
            return Err(Error::WrongSize { what: what(), expected, found: size, more });
        }
        match hasher.finish() {
            found if found == descriptor.digest => Ok(()),
            found => Err(Error::WrongDigest { what: what(), expected: descriptor.digest, found }),
        }
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
