//! What an image's layers make of a rootfs, by their headers alone: names and metadata, no files.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;

use super::hashing::Hashing;
use super::path::EntryPath;
use super::tar::{Entry, Kind, Reader};
use super::whiteout::{Meaning, classify};
use super::{Expected, ahead, check};
use crate::error::{Error, Result};

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symlink, and where it leads.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    Character(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds from 1970, and nanoseconds; `None` if no entry says.
    pub mtime: Option<(i64, u32)>,
}

/// A rootfs' nodes by path. The root itself is the empty path, if an entry describes it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    nodes: BTreeMap<Vec<u8>, Node>,
}

impl Listing {
    /// The nodes, in the order of paths.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<Vec<u8>, Node> {
        &self.nodes
    }

    /// Applies one layer.
    ///
    /// # Errors
    /// As [`super::unpack`].
    pub fn add<R: BufRead + Send>(&mut self, source: R, expected: Expected<'_>) -> Result<()> {
        ahead(expected.stream(source)?, |bytes| {
            let mut reader = Reader::new(Hashing::new(bytes));
            let mut made = HashSet::new();
            while let Some(entry) = reader.next_entry()? {
                expected.budget.take_entry()?;
                self.apply(&entry, &mut made).map_err(|source| Error::Entry {
                    entry: entry.path.escape_ascii().to_string(),
                    source: Box::new(source),
                })?;
            }
            check(reader.into_source(), expected.diff_id)
        })
    }

    fn apply(&mut self, entry: &Entry, made: &mut HashSet<Vec<u8>>) -> Result<()> {
        let path = EntryPath::parse(&entry.path)?;
        match classify(&path)? {
            Meaning::Ignored => {}
            Meaning::Whiteout(target) => {
                if !made.contains(target.as_bytes()) {
                    self.nodes.remove(target.as_bytes());
                }
                self.remove_below(&target, made);
            }
            Meaning::Opaque(directory) => self.remove_below(&directory, made),
            Meaning::Plain => self.place(&path, entry, made)?,
        }
        Ok(())
    }

    fn place(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        made: &mut HashSet<Vec<u8>>,
    ) -> Result<()> {
        let mut way = EntryPath::root();
        for part in path.parent().components() {
            way = way.join(part);
            self.nodes.entry(way.as_bytes().to_vec()).or_insert_with(implied);
            made.insert(way.as_bytes().to_vec());
        }
        let node = match &entry.kind {
            Kind::Hardlink(target) => {
                let target = EntryPath::parse(target)?;
                let found = self.nodes.get(target.as_bytes()).cloned();
                found.ok_or_else(|| Error::refused("a hard link to nothing"))?
            }
            kind => Node {
                kind: node_kind(kind, entry),
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: Some(entry.mtime),
            },
        };
        if node.kind != NodeKind::Directory {
            self.remove_below(path, &HashSet::new());
        }
        self.nodes.insert(path.as_bytes().to_vec(), node);
        made.insert(path.as_bytes().to_vec());
        Ok(())
    }

    /// Removes what is below a path, but for `spared`.
    fn remove_below(&mut self, path: &EntryPath, spared: &HashSet<Vec<u8>>) {
        let prefix = match path.as_bytes() {
            b"" => Vec::new(),
            path => [path, b"/"].concat(),
        };
        let below = self.nodes.range(prefix.clone()..).map(|(path, _)| path);
        let gone: Vec<_> = below
            .take_while(|path| path.starts_with(&prefix))
            .filter(|path| !path.is_empty() && !spared.contains(*path))
            .cloned()
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }
}

fn implied() -> Node {
    Node { kind: NodeKind::Directory, mode: 0o755, uid: 0, gid: 0, mtime: None }
}

fn node_kind(kind: &Kind, entry: &Entry) -> NodeKind {
    match kind {
        Kind::File | Kind::Hardlink(_) => {
            NodeKind::File(entry.sparse.as_ref().map_or(entry.size, |sparse| sparse.size))
        }
        Kind::Directory => NodeKind::Directory,
        Kind::Symlink(target) => NodeKind::Symlink(target.clone()),
        Kind::Character(major, minor) => NodeKind::Character(*major, *minor),
        Kind::Block(major, minor) => NodeKind::Block(*major, *minor),
        Kind::Fifo => NodeKind::Fifo,
    }
}
