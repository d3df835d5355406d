//! The files of an archive or a layout directory, to be had by name in any order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, ResolveFlags};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::{Bounds, Descriptor};
use crate::inside;
use crate::layer::tar::{Kind, Reader};
use crate::layer::{Budget, EntryPath, Remembered, decompress};
use crate::store::{Session, Store};

/// How many links may lead to a file.
const LINK_LIMIT: usize = 8;

/// Where the files are.
pub enum Bag {
    /// In a directory, which is only read.
    Directory(OwnedFd),
    /// In the session, out of an archive.
    Members(BTreeMap<Vec<u8>, Member>),
}

/// An entry of an archive.
pub enum Member {
    /// A file, already hashed.
    File { path: PathBuf, digest: Digest, size: u64 },
    /// Another name, from the archive's top.
    Link(Vec<u8>),
}

impl Bag {
    /// Opens a layout directory.
    pub fn open_directory(path: &Path) -> Result<Self> {
        let directory = File::open(path).map_err(Error::io("open", path))?;
        Ok(Self::Directory(directory.into()))
    }

    /// Takes an archive apart, compressed or not, into the session.
    pub fn read(source: impl BufRead, session: &Session, budget: &Budget) -> Result<Self> {
        let source = decompress(source, budget)?;
        let mut reader = Reader::new(BufReader::with_capacity(128 << 10, source));
        let mut members = BTreeMap::new();
        let mut remembered = Remembered::default();
        while let Some(entry) = reader.next_entry()? {
            budget.take_entry()?;
            let mut take = || -> Result<()> {
                let name = EntryPath::parse(&entry.path)?;
                let link = match &entry.kind {
                    Kind::Symlink(target) | Kind::Hardlink(target) => target.len(),
                    _ => 0,
                };
                remembered.add(name.as_bytes().len() + link)?;
                let member = match &entry.kind {
                    Kind::File if entry.sparse.is_none() => spool(&mut reader, session)?,
                    Kind::Symlink(target) => Member::Link(beside(&name, target)?),
                    Kind::Hardlink(target) => {
                        Member::Link(EntryPath::parse(target)?.as_bytes().to_vec())
                    }
                    Kind::Directory => return Ok(()),
                    _ => return Err(Error::refused("is no file, directory or link")),
                };
                members.insert(name.as_bytes().to_vec(), member);
                Ok(())
            };
            take().map_err(|source| Error::Entry {
                entry: entry.path.escape_ascii().to_string(),
                source: Box::new(source),
            })?;
        }
        Ok(Self::Members(members))
    }

    /// Is there such a file?
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(directory) => open(directory, name).is_ok(),
            Self::Members(members) => find(members, name).is_ok(),
        }
    }

    /// Reads a small file.
    pub fn document(&self, name: &str, bounds: Bounds) -> Result<Vec<u8>> {
        let file = match self {
            Self::Directory(directory) => open(directory, name)?,
            Self::Members(members) => {
                let (path, ..) = find(members, name)?;
                File::open(path).map_err(Error::io("open", path))?
            }
        };
        let mut bytes = Vec::new();
        file.take(bounds.document.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", name))?;
        match bytes.len() as u64 > bounds.document {
            true => Err(Error::Document {
                what: name.escape_debug().to_string(),
                reason: bounds.too_large(),
            }),
            false => Ok(bytes),
        }
    }

    /// Reads a document by its descriptor, from where layouts have their blobs.
    pub fn described(&self, descriptor: &Descriptor, bounds: Bounds) -> Result<Vec<u8>> {
        let bytes = self.document(&blob_name(&descriptor.digest), bounds)?;
        crate::store::check(|| format!("blob {}", descriptor.digest), descriptor, &bytes)?;
        Ok(bytes)
    }

    /// Puts a blob by its descriptor into the store.
    pub fn put_described(
        &self,
        store: &Store,
        session: &Session,
        descriptor: &Descriptor,
    ) -> Result<()> {
        if store.has_blob(descriptor) {
            return Ok(());
        }
        let name = blob_name(&descriptor.digest);
        if let Self::Directory(directory) = self {
            let file = open(directory, &name)?;
            let blob = store.resume_fresh(session, descriptor)?;
            return blob.receive(BufReader::with_capacity(128 << 10, file))?.finish().map(drop);
        }
        let (digest, size) = self.put(store, &name)?;
        let what = || format!("blob {}", descriptor.digest);
        if size != descriptor.size {
            let (expected, more) = (descriptor.size, size > descriptor.size);
            return Err(Error::WrongSize { what: what(), expected, found: size, more });
        }
        match digest == descriptor.digest {
            true => Ok(()),
            false => {
                Err(Error::WrongDigest { what: what(), expected: descriptor.digest, found: digest })
            }
        }
    }

    /// Puts a file of an archive into the store under the digest that it has.
    pub fn put(&self, store: &Store, name: &str) -> Result<(Digest, u64)> {
        let Self::Members(members) = self else {
            return Err(Error::refused("a directory is no archive of Docker's"));
        };
        let (path, digest, size) = find(members, name)?;
        store.adopt(path, &digest)?;
        Ok((digest, size))
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Opens a regular file of a layout, wherever its links lead inside of it.
fn open(directory: &OwnedFd, name: &str) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let fd = inside::open(directory, name, flags, resolve).map_err(Error::io("open", name))?;
    let file = File::from(fd);
    match file.metadata().map_err(Error::io("stat", name))?.is_file() {
        true => Ok(file),
        false => Err(Error::Document { what: name.to_owned(), reason: "is no file".into() }),
    }
}

fn find<'a>(
    members: &'a BTreeMap<Vec<u8>, Member>,
    name: &str,
) -> Result<(&'a PathBuf, Digest, u64)> {
    let shown = || name.escape_debug().to_string();
    let mut at = EntryPath::parse(name.as_bytes())?.as_bytes().to_vec();
    for _ in 0..LINK_LIMIT {
        match members.get(&at) {
            Some(Member::File { path, digest, size }) => return Ok((path, *digest, *size)),
            Some(Member::Link(target)) => at = target.clone(),
            None => {
                let reason = "is not in the archive".to_owned();
                return Err(Error::Document { what: shown(), reason });
            }
        }
    }
    Err(Error::Document { what: shown(), reason: "is a link to too many links".into() })
}

/// What a symlink named `name` leads to, from the archive's top.
fn beside(name: &EntryPath, target: &[u8]) -> Result<Vec<u8>> {
    let refuse = || Error::refused("a link out of the archive");
    if target.starts_with(b"/") {
        return Err(refuse());
    }
    let (directory, _) = name.split();
    let mut parts: Vec<&[u8]> = directory.split(|b| *b == b'/').filter(|p| !p.is_empty()).collect();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or_else(refuse)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// Writes the current entry's data to a file of the session.
fn spool(reader: &mut Reader<impl BufRead>, session: &Session) -> Result<Member> {
    let path = session.fresh("member");
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    let mut hasher = Hasher::default();
    let mut size = 0;
    loop {
        let data = reader.data()?;
        let length = data.len();
        if length == 0 {
            return Ok(Member::File { path, digest: hasher.finish(), size });
        }
        hasher.update(data);
        file.write_all(data).map_err(Error::io("write", &path))?;
        size += length as u64;
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let name = EntryPath::parse(b"abc/layer.tar").unwrap();
        assert_eq!(beside(&name, b"../def/layer.tar").unwrap(), b"def/layer.tar");
        assert_eq!(beside(&name, b"./other").unwrap(), b"abc/other");
        for out in ["/etc/passwd", "../../x", "../.."] {
            assert!(beside(&name, out.as_bytes()).is_err(), "{out}");
        }
    }
}
