//! Blobs on their way: every byte is hashed and written while somebody reads it, and what came before
//! a connection or a machine broke is where the next pull goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use super::{Collection, Session, Store, Turn, sync_directory};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::Descriptor;

/// What an earlier command left is read in pieces of this size.
const READ_BUFFER: usize = 128 << 10;

/// The first bytes of a blob, perhaps none, and where the others go. Nobody else writes there.
#[derive(Debug)]
pub struct Partial {
    file: File,
    temporary: PathBuf,
    length: u64,
    expected: u64,
    digest: Digest,
    store: Store,
}

impl Store {
    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    /// Goes on with a blob where an earlier command stopped; `None` while another one is at it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resume(&self, descriptor: &Descriptor) -> Result<Option<Partial>> {
        let path = self.partial_path(&descriptor.digest);
        let Some(file) = open_locked(&path)? else { return Ok(None) };
        let mut length = file.metadata().map_err(Error::io("stat", &path))?.len();
        // Bytes past the end can't be the blob's.
        if length > descriptor.size {
            file.set_len(0).map_err(Error::io("empty", &path))?;
            length = 0;
        }
        Ok(Some(Partial {
            file,
            temporary: path,
            length,
            expected: descriptor.size,
            digest: descriptor.digest,
            store: self.clone(),
        }))
    }

    /// How many bytes of a blob came so far, to whoever is at it.
    #[must_use]
    pub fn partial_length(&self, digest: &Digest) -> u64 {
        fs::metadata(self.partial_path(digest)).map_or(0, |metadata| metadata.len())
    }

    /// Begins with a blob that costs little to begin anew, or that somebody else doesn't get on with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resume_fresh(&self, session: &Session, descriptor: &Descriptor) -> Result<Partial> {
        let path = session.fresh("blob");
        let file = options().create_new(true).open(&path).map_err(Error::io("create", &path))?;
        Ok(Partial {
            file,
            temporary: path,
            length: 0,
            expected: descriptor.size,
            digest: descriptor.digest,
            store: self.clone(),
        })
    }

    /// Removes what transfers left. Says how many there were. Nobody may be pulling.
    pub(super) fn remove_partials(&self, how: Collection) -> Result<usize> {
        let directory = self.root.join("partial");
        let mut removed = 0;
        for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
            let path = entry.map_err(Error::io("read", &directory))?.path();
            let metadata = fs::symlink_metadata(&path).map_err(Error::io("stat", &path))?;
            let idle = metadata.modified().ok().and_then(|time| time.elapsed().ok());
            if how.partials.is_zero() || idle.is_some_and(|idle| idle > how.partials) {
                if !how.dry_run {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn broke_off(error: &Error) -> bool {
    match error {
        Error::Entry { source, .. } => broke_off(source),
        Error::Interrupted | Error::WrongSize { more: false, .. } => true,
        _ => false,
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}

/// Opens or makes the file and locks it; `None` if somebody else has.
fn open_locked(path: &std::path::Path) -> Result<Option<File>> {
    loop {
        let file = options().create(true).open(path).map_err(Error::io("open", path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(Error::io("lock", path)(errno)),
        }
        // Who held the lock before may have made a blob of it.
        let held = file.metadata().map_err(Error::io("stat", path))?;
        if fs::metadata(path).is_ok_and(|found| found.ino() == held.ino()) {
            return Ok(Some(file));
        }
    }
}

impl Partial {
    /// How many bytes are there.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Is the rest missing?
    #[must_use]
    pub fn incomplete(&self) -> bool {
        self.length < self.expected
    }

    /// Gives it up, for the blob came otherwise.
    pub fn discard(self) {
        // One that stays is found by whoever wants the blob next.
        let _ = fs::remove_file(&self.temporary);
    }

    /// Goes on with what `source` gives, which begins behind the bytes that are there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn receive<R: BufRead>(self, source: R) -> Result<Receiving<R>> {
        let before = File::open(&self.temporary).map_err(Error::io("open", &self.temporary))?;
        Ok(Receiving {
            source,
            before: BufReader::with_capacity(READ_BUFFER, before),
            before_left: self.length,
            hashed: 0,
            received: 0,
            hasher: Hasher::default(),
            partial: self,
        })
    }
}

/// A blob on its way: every byte read through it is hashed and written. No more bytes than the
/// descriptor promises are ever taken. Dropped before [`Self::finish`], it leaves what came for a later
/// command to go on with, unless [`Self::leave`] finds that it is worth nothing.
pub struct Receiving<R> {
    source: R,
    /// What an earlier command left, and how much of it is still to be read.
    before: BufReader<File>,
    before_left: u64,
    /// How much of the current buffer is hashed and written already.
    hashed: usize,
    received: u64,
    hasher: Hasher,
    partial: Partial,
}

impl<R: BufRead> Receiving<R> {
    /// Receives what nobody read, checks size and digest, and makes the blob visible. The first turn
    /// at unpacking it is the caller's.
    ///
    /// # Errors
    /// Those of [`Self::verify`], and [`Error::Io`].
    pub fn finish(mut self) -> Result<Turn> {
        if let Err(error) = self.verify() {
            return Err(self.leave(error));
        }
        let Partial { file, temporary, digest, store, .. } = self.partial;
        file.sync_data().map_err(Error::io("sync", &temporary))?;
        let place = store.blob_path(&digest);
        if !place.exists() {
            store.made(&place);
        }
        fs::rename(&temporary, &place).map_err(Error::io("rename", &temporary))?;
        place.parent().map_or(Ok(()), sync_directory)?;
        Ok(Turn::of_locked(file))
    }

    /// Receives what nobody read and checks size and digest.
    ///
    /// # Errors
    /// [`Error::WrongSize`], [`Error::WrongDigest`], or the source's own error.
    pub fn verify(&mut self) -> Result<()> {
        self.drain()?;
        let what = || format!("blob {}", self.partial.digest);
        if self.received != self.partial.expected {
            let (expected, found) = (self.partial.expected, self.received);
            return Err(Error::WrongSize { what: what(), expected, found, more: false });
        }
        match std::mem::take(&mut self.hasher).finish() {
            found if found == self.partial.digest => Ok(()),
            found => Err(Error::WrongDigest { what: what(), expected: self.partial.digest, found }),
        }
    }

    /// Gives the blob up because of `error`. What came stays only if the transfer broke off: that is
    /// worth going on with, and nothing else is.
    pub fn leave(self, error: Error) -> Error {
        if !broke_off(&error) {
            // The error at hand is the one to tell; a wrong rest is found by the digest.
            let _ = fs::remove_file(&self.partial.temporary);
        }
        error
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

/// The current buffer: of what an earlier command left, then of the source.
fn current<'a>(
    before: &'a mut BufReader<File>,
    before_left: u64,
    source: &'a mut impl BufRead,
) -> io::Result<&'a [u8]> {
    if before_left == 0 {
        return source.fill_buf();
    }
    let buffer = before.fill_buf()?;
    match usize::try_from(before_left).unwrap_or(usize::MAX).min(buffer.len()) {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        length => Ok(&buffer[..length]),
    }
}

impl<R: BufRead> BufRead for Receiving<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = current(&mut self.before, self.before_left, &mut self.source)?;
        let new = &buffer[self.hashed..];
        if !new.is_empty() {
            self.received += new.len() as u64;
            let Partial { expected, digest, .. } = self.partial;
            if self.received > expected {
                return Err(io::Error::other(Error::WrongSize {
                    what: format!("blob {digest}"),
                    expected,
                    found: self.received,
                    more: true,
                }));
            }
            self.hasher.update(new);
            if self.before_left == 0 {
                self.partial.file.write_all(new)?;
            }
            self.hashed = buffer.len();
        }
        Ok(buffer)
    }

    fn consume(&mut self, amount: usize) {
        match self.before_left {
            0 => self.source.consume(amount),
            _ => {
                self.before.consume(amount);
                self.before_left -= amount as u64;
            }
        }
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
