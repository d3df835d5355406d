//! The reader: walks an archive entry by entry over any buffered source.

use std::io::{self, BufRead, ErrorKind};

use super::header::{Dialect, Header};
use super::pax::{self, Records};
use super::sparse::{DataMap, GnuMap, Sparse};
use super::{BLOCK, EXTENSION_LIMIT, EXTENSIONS_LIMIT};
use crate::error::{Error, Result};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, its data in the archive.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its target is only text.
    Symlink(Vec<u8>),
    /// A further name of an earlier entry, by that entry's path.
    Hardlink(Vec<u8>),
    /// A character device: major, minor.
    Character(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry, header and extensions merged.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As written: not checked, not normal.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds from 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// A file's stored bytes.
    pub size: u64,
    /// Where they go, if the file has holes.
    pub sparse: Option<Sparse>,
    /// Extended attributes: name, value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Extensions gathered for the entry that follows them.
#[derive(Default)]
struct Pending {
    pax: Option<Records>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// A streaming reader. It takes no more of the source than the archive has.
pub struct Reader<R> {
    source: R,
    /// Offset in the archive.
    offset: u64,
    /// Where the current header began, for errors.
    header_at: u64,
    /// Bytes of the current entry's data not yet taken, and of the padding behind.
    left: u64,
    padding: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `source`.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, header_at: 0, left: 0, padding: 0 }
    }

    /// The source, right behind what was read.
    pub fn into_source(self) -> R {
        self.source
    }

    /// Goes to the next entry, passing by what is left of this one's data. `None` at the end.
    ///
    /// # Errors
    /// [`Error::Tar`] for a broken archive, [`Error::Step`] if the source fails.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut pending = Pending::default();
        let mut extensions = 0;
        loop {
            self.skip_data()?;
            self.header_at = self.offset;
            let Some(block) = self.header_block()? else {
                return match pending.pax.is_some()
                    || pending.path.is_some()
                    || pending.link.is_some()
                {
                    true => Err(self.bad("ends after an extension header")),
                    false => Ok(None),
                };
            };
            let header = Header::new(&block).map_err(|reason| self.bad(reason))?;
            if matches!(header.typeflag(), b'x' | b'g' | b'L' | b'K') {
                extensions += 1;
                if extensions > EXTENSIONS_LIMIT {
                    return Err(self.bad(format!(
                        "more than {EXTENSIONS_LIMIT} extension headers for one entry"
                    )));
                }
            }
            match header.typeflag() {
                b'x' => {
                    if pending.pax.is_some() {
                        return Err(self.bad("two PAX headers for one entry"));
                    }
                    let body = self.extension(&header)?;
                    pending.pax = Some(pax::parse(&body).map_err(|reason| self.bad(reason))?);
                }
                // Global records are comments in every image builder's output; peers ignore them.
                b'g' => drop(self.extension(&header)?),
                b'L' => pending.path = Some(self.long_name(&header)?),
                b'K' => pending.link = Some(self.long_name(&header)?),
                _ => return self.entry(&header, pending).map(Some),
            }
        }
    }

    /// The next stored bytes of the current entry; empty at their end. Call [`Self::consume`] after.
    ///
    /// # Errors
    /// [`Error::Step`] if the source fails, [`Error::Tar`] if it ends too early.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let (header_at, left) = (self.header_at, self.left);
        let buffer = fill(&mut self.source)?;
        if buffer.is_empty() {
            return Err(Error::Tar { offset: header_at, reason: "ends inside an entry".into() });
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..length])
    }

    /// Marks `amount` bytes of what [`Self::data`] gave as taken.
    pub fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
        self.offset += amount as u64;
        self.left -= amount as u64;
    }

    fn bad(&self, reason: impl Into<String>) -> Error {
        Error::Tar { offset: self.header_at, reason: reason.into() }
    }

    fn skip_data(&mut self) -> Result<()> {
        self.left += std::mem::take(&mut self.padding);
        while self.left > 0 {
            let length = self.data()?.len();
            self.consume(length);
        }
        Ok(())
    }

    /// The next header; `None` at the archive's end, which is two zero blocks or the source's end.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let Some(block) = self.block_or_end()? else { return Ok(None) };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        match self.block_or_end()? {
            Some(block) if block != [0; BLOCK] => Err(self.bad("data after a zero block")),
            _ => Ok(None),
        }
    }

    fn block_or_end(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = fill(&mut self.source)?;
            if buffer.is_empty() {
                return match filled {
                    0 => Ok(None),
                    _ => Err(self.bad("ends inside a block")),
                };
            }
            let length = buffer.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&buffer[..length]);
            self.source.consume(length);
            filled += length;
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        self.block_or_end()?.ok_or_else(|| self.bad("ends inside an entry"))
    }

    fn set_data(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The body of an extension header. Its size is its own header's, whatever PAX records say of
    /// the entry behind it: that confusion is how archives are smuggled into archives.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>> {
        let size = header.size().ok_or_else(|| self.bad("an extension header has a bad size"))?;
        if size > EXTENSION_LIMIT {
            return Err(self.bad("an extension header is larger than 1 MiB"));
        }
        self.set_data(size);
        let mut body = Vec::new();
        loop {
            let data = self.data()?;
            if data.is_empty() {
                return Ok(body);
            }
            body.extend_from_slice(data);
            let length = data.len();
            self.consume(length);
        }
    }

    fn long_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>> {
        let mut name = self.extension(header)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// Merges header and extensions, and reads a sparse map that stands in front of the data.
    fn entry(&mut self, header: &Header<'_>, pending: Pending) -> Result<Entry> {
        let pax = pending.pax.unwrap_or_default();
        let stored = pax
            .size
            .or_else(|| header.size())
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or_else(|| self.bad("bad size"))?;
        let mut path = pending.path.or(pax.path).unwrap_or_else(|| header.path());
        if let Some(name) = pax.sparse.name.clone() {
            path = name;
        }
        let link = pending.link.or(pax.link).unwrap_or_else(|| header.link().to_vec());
        let id = |pax: Option<u64>, header: Option<i64>| {
            let id = pax.or_else(|| header.and_then(|id| u64::try_from(id).ok()))?;
            // The highest ID means "don't change" to the kernel.
            u32::try_from(id).ok().filter(|id| *id != u32::MAX)
        };
        let kind = self.kind(header, &path, link)?;
        let mut entry = Entry {
            path,
            kind,
            mode: header
                .mode()
                .and_then(|mode| u32::try_from(mode).ok())
                .ok_or_else(|| self.bad("bad mode"))?
                & 0o7777,
            uid: id(pax.uid, header.uid()).ok_or_else(|| self.bad("bad owner"))?,
            gid: id(pax.gid, header.gid()).ok_or_else(|| self.bad("bad group"))?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => (header.mtime().ok_or_else(|| self.bad("bad time"))?, 0),
            },
            size: 0,
            sparse: None,
            xattrs: pax.xattrs,
        };
        // Only files have data; Go reads none for the other kinds either, whatever their size says.
        if entry.kind == Kind::File {
            self.set_data(stored);
            entry.sparse = self.sparse(header, &pax.sparse)?;
            entry.size = self.left;
        }
        Ok(entry)
    }

    fn kind(&self, header: &Header<'_>, path: &[u8], link: Vec<u8>) -> Result<Kind> {
        let device = || {
            let (major, minor) = header.device()?;
            Some((u32::try_from(major).ok()?, u32::try_from(minor).ok()?))
        };
        Ok(match header.typeflag() {
            // Before ustar a directory was a file whose name ends in a slash.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'S' if header.dialect() == Dialect::Gnu => Kind::File,
            b'1' => Kind::Hardlink(link),
            b'2' => Kind::Symlink(link),
            b'3' => {
                let (major, minor) = device().ok_or_else(|| self.bad("bad device number"))?;
                Kind::Character(major, minor)
            }
            b'4' => {
                let (major, minor) = device().ok_or_else(|| self.bad("bad device number"))?;
                Kind::Block(major, minor)
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let flag = char::from(other).escape_default();
                return Err(self.bad(format!("entries of type '{flag}' are not known")));
            }
        })
    }

    fn sparse(&mut self, header: &Header<'_>, pax: &pax::SparseRecords) -> Result<Option<Sparse>> {
        let (size, numbers) = if header.typeflag() == b'S' {
            let mut map = GnuMap::default();
            let mut more = map.header(header).map_err(|reason| self.bad(reason))?;
            // The map's further blocks stand before the data and are not counted in its size.
            while more {
                let block = self.block()?;
                more = map.block(&block).map_err(|reason| self.bad(reason))?;
            }
            (header.sparse_size(), map.numbers)
        } else {
            match (pax.major, pax.minor, &pax.map) {
                (Some(1), Some(0), _) => (pax.size, self.data_map()?),
                (None | Some(0), _, Some(map)) => (pax.size, map.clone()),
                (None, None, None) => return Ok(None),
                _ => return Err(self.bad("sparse format not known")),
            }
        };
        let size = size.ok_or_else(|| self.bad("a sparse file has no size"))?;
        Sparse::new(size, &numbers, self.left).map(Some).map_err(|reason| self.bad(reason))
    }

    /// The map that a PAX 1.0 sparse file's data begins with; it counts as data.
    fn data_map(&mut self) -> Result<Vec<u64>> {
        let mut map = DataMap::default();
        loop {
            self.left = self
                .left
                .checked_sub(BLOCK as u64)
                .ok_or_else(|| self.bad("a sparse map goes past the data"))?;
            let block = self.block()?;
            if !map.block(&block).map_err(|reason| self.bad(reason))? {
                return Ok(map.numbers);
            }
        }
    }
}

/// Fills the buffer, going on where a signal came between.
fn fill<R: BufRead>(source: &mut R) -> Result<&[u8]> {
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(from_source(error)),
        }
    }
    source.fill_buf().map_err(from_source)
}

/// The crate's own error where a stage before this one put it in, else the decoder's.
fn from_source(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(source) => Error::Step { action: "read the layer", source },
    }
}

#[cfg(test)]
mod tests;
