//! The layers of a stack as one tree of files of its own, each file once: from the topmost layer that
//! has it.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Stack, is_directory, is_opaque, is_whiteout};
use crate::error::{Error, Result};
use crate::layer::{Cloner, copy_metadata};

/// What the layers together have under a name.
enum Shown {
    /// A file of this layer.
    File(usize, Stat),
    /// A directory of these layers, the topmost first; lower ones may go on in it.
    Directory(Vec<usize>, bool),
    Hidden,
}

impl Stack {
    /// Copies what the layers show into the empty directory `target`.
    ///
    /// # Errors
    /// Those of [`Self::resolve_implied`], and [`Error::Entry`] for what can't be copied.
    pub fn copy_into(&self, target: BorrowedFd<'_>) -> Result<()> {
        self.resolve_implied(None)?;
        let mut copy =
            Copy { stack: self, target, cloner: Cloner::default(), links: HashMap::new() };
        let roots = self.layers.iter().map(|layer| layer.tree.as_fd()).enumerate().collect();
        copy.content(roots, target, b"")?;
        self.describe_root(target)
    }
}

struct Copy<'a> {
    stack: &'a Stack,
    target: BorrowedFd<'a>,
    cloner: Cloner,
    /// Files of several names, by layer and inode: the first name.
    links: HashMap<(usize, u64), Vec<u8>>,
}

impl Copy<'_> {
    /// Copies what the parts of one directory, the topmost first, show in it.
    fn content(
        &mut self,
        parts: Vec<(usize, BorrowedFd<'_>)>,
        target: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<()> {
        let shown = merge(&parts).map_err(|errno| failed(path, Error::step("list")(errno)))?;
        let part = |layer: usize| {
            let found = parts.iter().find(|(at, _)| *at == layer);
            found.map(|(_, fd)| *fd).ok_or_else(|| failed(path, Error::Interrupted))
        };
        for (name, shown) in shown {
            let path = match path {
                b"" => name.clone(),
                path => [path, b"/", &name].concat(),
            };
            match shown {
                Shown::Hidden => {}
                Shown::File(layer, stat) => self
                    .file(part(layer)?, layer, &name, &stat, target, &path)
                    .map_err(|error| failed(&path, error))?,
                Shown::Directory(layers, _) => {
                    let open = |layer: &usize| -> Result<(usize, OwnedFd)> {
                        let fd = open(part(*layer)?, &name);
                        Ok((*layer, fd.map_err(|e| failed(&path, Error::step("open")(e)))?))
                    };
                    let below = layers.iter().map(open).collect::<Result<Vec<_>>>()?;
                    self.directory(&below, &name, target, &path)?;
                }
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        parts: &[(usize, OwnedFd)],
        name: &[u8],
        target: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<()> {
        let made = rustix::fs::mkdirat(target, name, Mode::RWXU)
            .and_then(|()| open(target, name))
            .map_err(|errno| failed(path, Error::step("make the directory")(errno)))?;
        let borrowed = parts.iter().map(|(layer, fd)| (*layer, fd.as_fd())).collect();
        self.content(borrowed, made.as_fd(), path)?;
        // A layer that only implied it has made its metadata up.
        let described =
            parts.iter().find(|(layer, _)| !self.stack.layers[*layer].implied.contains(path));
        let describe = || match described.or(parts.first()) {
            Some((_, fd)) if described.is_some() => copy_metadata(fd.as_fd(), made.as_fd()),
            Some((_, fd)) => {
                // One whose content is hidden is no part, and describes it all the same.
                let below = self.stack.described(path).map_err(Error::step("look into a layer"))?;
                copy_metadata(below.as_ref().unwrap_or(fd).as_fd(), made.as_fd())
            }
            None => Ok(()),
        };
        describe().map_err(|error| failed(path, error))
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        layer: usize,
        name: &[u8],
        stat: &Stat,
        target: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<()> {
        if stat.st_nlink > 1 {
            let key = (layer, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                // All directories on the way are this copy's own.
                let flags = AtFlags::empty();
                return rustix::fs::linkat(self.target, first.as_slice(), target, name, flags)
                    .map_err(Error::step("make the hard link"));
            }
            self.links.insert(key, path.to_vec());
        }
        self.cloner.copy(from, name, stat, target)
    }
}

/// What the parts of a directory show, by name.
fn merge(parts: &[(usize, BorrowedFd<'_>)]) -> Result<BTreeMap<Vec<u8>, Shown>, Errno> {
    let mut names: BTreeMap<Vec<u8>, Shown> = BTreeMap::new();
    for (layer, directory) in parts {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let known = names.get_mut(name);
            if known.as_ref().is_some_and(|shown| !matches!(shown, Shown::Directory(_, true))) {
                continue;
            }
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let goes_on = |is: bool| -> Result<bool, Errno> {
                Ok(is && !is_opaque(open(*directory, name)?)?)
            };
            match known {
                Some(Shown::Directory(layers, goes)) => {
                    *goes = goes_on(is_directory(&stat))?;
                    if is_directory(&stat) {
                        layers.push(*layer);
                    }
                }
                _ => {
                    let shown = match is_directory(&stat) {
                        true => Shown::Directory(vec![*layer], goes_on(true)?),
                        false if is_whiteout(&stat) => Shown::Hidden,
                        false => Shown::File(*layer, stat),
                    };
                    names.insert(name.to_vec(), shown);
                }
            }
        }
    }
    Ok(names)
}

fn open(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Names the entry, unless something below did.
fn failed(path: &[u8], error: Error) -> Error {
    match error {
        Error::Entry { .. } => error,
        source => Error::Entry { entry: path.escape_ascii().to_string(), source: Box::new(source) },
    }
}
