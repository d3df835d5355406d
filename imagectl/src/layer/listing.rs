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
                let applied =
                    expected.budget.take_holes(&entry).and_then(|()| self.apply(&entry, &mut made));
                applied.map_err(|source| Error::Entry {
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
                self.imply(&target.parent(), made);
                self.remove_below(&target, made);
                let kept = made.contains(target.as_bytes()) || self.has_below(&target);
                if !kept {
                    self.nodes.remove(target.as_bytes());
                }
            }
            Meaning::Opaque(directory) => {
                self.imply(&directory, made);
                self.remove_below(&directory, made);
            }
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
        self.imply(&path.parent(), made);
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

    /// Makes a directory and those above it where there are none.
    fn imply(&mut self, path: &EntryPath, made: &mut HashSet<Vec<u8>>) {
        let mut way = EntryPath::root();
        for part in path.components() {
            way = way.join(part);
            self.nodes.entry(way.as_bytes().to_vec()).or_insert_with(|| {
                made.insert(way.as_bytes().to_vec());
                implied()
            });
        }
    }

    /// Removes what is below a path, but for `spared` and the directories on the way to it.
    fn remove_below(&mut self, path: &EntryPath, spared: &HashSet<Vec<u8>>) {
        let below: Vec<Vec<u8>> = self.below(path).cloned().collect();
        let mut stays: Option<Vec<u8>> = None;
        // Backwards, what is in a directory comes before it.
        for path in below.into_iter().rev() {
            let leads = stays.as_ref().is_some_and(|stays| {
                stays.strip_prefix(path.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
            });
            match leads || spared.contains(&path) {
                true => stays = Some(path),
                false => drop(self.nodes.remove(&path)),
            }
        }
    }

    fn has_below(&self, path: &EntryPath) -> bool {
        self.below(path).next().is_some()
    }

    fn below(&self, path: &EntryPath) -> impl Iterator<Item = &Vec<u8>> {
        let prefix = match path.as_bytes() {
            b"" => Vec::new(),
            path => [path, b"/"].concat(),
        };
        let paths = self.nodes.range(prefix.clone()..).map(|(path, _)| path);
        paths.take_while(move |path| path.starts_with(&prefix)).filter(|path| !path.is_empty())
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
