//! Applies the entries of one layer to a directory tree.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::bounds::Budget;
use super::directories::{Directories, State};
use super::metadata::{Metadata, NewFiles};
use super::path::EntryPath;
use super::remove;
use super::tar::{Entry, Kind, Reader, Sparse};
use super::whiteout::{Meaning, classify};
use crate::error::{Error, Result};
use crate::user_namespace;

/// What the tree is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One layer alone, whiteouts in overlayfs' form: a device 0/0, and an attribute on directories.
    Overlay,
    /// A rootfs that holds the lower layers already; whiteouts delete.
    Tree,
}

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The archive's owners; devices and all attributes too. Needs root.
    Stored,
    /// The archive's owners, as far as the user namespace has them. Devices become empty files;
    /// attributes that only the first namespace's root may set are left out.
    Namespace,
    /// The caller's, with a record of the archive's owners. Devices become empty files; attributes that
    /// only root may set are left out.
    Caller,
}

impl Ownership {
    /// What the caller can do.
    #[must_use]
    pub fn of_caller() -> Self {
        match rustix::process::geteuid().is_root() {
            true if user_namespace::has_all_ids() => Self::Stored,
            true if !user_namespace::has_one_id() => Self::Namespace,
            _ => Self::Caller,
        }
    }

    /// The attribute of directories that hide lower layers' content: only the first namespace's root may
    /// set what overlayfs goes by if nobody tells it otherwise.
    #[must_use]
    pub fn opaque_attribute(self) -> &'static str {
        match self {
            Self::Stored => "trusted.overlay.opaque",
            Self::Namespace | Self::Caller => "user.overlay.opaque",
        }
    }
}

/// How a layer is applied.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What the tree is for.
    pub form: Form,
    /// Whose the files become.
    pub ownership: Ownership,
}

/// What a layer's tree alone doesn't show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerRecord {
    /// The layer has an entry for the rootfs itself, so its root directory's metadata counts.
    pub root: bool,
    /// The layer hides all layers below it.
    pub opaque: bool,
    /// Directories that no entry describes: they are 0755 and root's here, but where a lower layer
    /// has them, its metadata counts.
    pub implied: Vec<Vec<u8>>,
}

/// Applies entries, one by one.
pub struct Applier<'a> {
    how: Target,
    budget: &'a Budget,
    directories: Directories<'a>,
    new_files: NewFiles,
    /// Hashes of the paths that this layer made: whiteouts only ever delete what lower layers hold.
    made: HashSet<u64>,
    hash: RandomState,
    record: LayerRecord,
}

impl<'a> Applier<'a> {
    /// Directories that no entry describes are taken from `budget`; the entries themselves are not.
    pub fn new(root: BorrowedFd<'a>, how: Target, budget: &'a Budget) -> Result<Self> {
        let new_files = match how.form {
            Form::Overlay => NewFiles::below(root),
            Form::Tree => NewFiles::unknown(),
        };
        let mut directories = Directories::new(root);
        // An entry that isn't there leaves the root as it is, but for its time.
        directories.enter(b"")?;
        Ok(Self {
            how,
            budget,
            directories,
            new_files,
            made: HashSet::new(),
            hash: RandomState::new(),
            record: LayerRecord::default(),
        })
    }

    /// Applies one entry; a file's data is read from `reader`.
    pub fn apply<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let path = EntryPath::parse(&entry.path)?;
        match classify(&path)? {
            Meaning::Ignored => Ok(()),
            Meaning::Opaque(directory) => self.opaque(&directory),
            Meaning::Whiteout(target) => self.whiteout(&target),
            Meaning::Plain => self.place(&path, entry, reader),
        }
    }

    /// Ends the layer: sets the metadata of all directories.
    pub fn finish(mut self) -> Result<LayerRecord> {
        self.record.implied = self.directories.finish(self.how.ownership, &self.new_files)?;
        Ok(self.record)
    }

    fn place<R: BufRead>(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let metadata = Metadata::of(entry, self.how.ownership);
        if path.is_root() {
            if entry.kind != Kind::Directory {
                return Err(Error::refused("the rootfs itself must stay a directory"));
            }
            self.directories.set(path, State::Explicit(metadata))?;
            self.record.root = true;
            return Ok(());
        }
        match &entry.kind {
            Kind::Directory => self.directory(path, metadata)?,
            Kind::File => self.file(path, &metadata, entry, reader)?,
            Kind::Symlink(target) => {
                if target.is_empty() || target.contains(&0) {
                    return Err(Error::refused("a symlink to nothing"));
                }
                self.make(path, "make the symlink", |parent, name| {
                    rustix::fs::symlinkat(target.as_slice(), parent, name)
                })?;
                self.describe(path, &metadata, true)?;
            }
            Kind::Hardlink(target) => self.hardlink(path, target)?,
            Kind::Fifo => {
                self.make(path, "make the pipe", |parent, name| {
                    rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR, 0)
                })?;
                self.describe(path, &metadata, false)?;
            }
            Kind::Character(0, 0) => {
                // overlayfs would take it for a whiteout, and the layer would mean another thing.
                return Err(Error::refused("a character device 0/0 is no device"));
            }
            Kind::Character(major, minor) => {
                self.device(path, &metadata, FileType::CharacterDevice, (*major, *minor))?;
            }
            Kind::Block(major, minor) => {
                self.device(path, &metadata, FileType::BlockDevice, (*major, *minor))?;
            }
        }
        self.note_made(path);
        Ok(())
    }

    fn directory(&mut self, path: &EntryPath, metadata: Metadata) -> Result<()> {
        let mode = self.new_files.directory_mode();
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(parent, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = remove::kind(parent, name).map_err(Error::step("stat"))?;
                if !stat.is_some_and(|stat| remove::is_directory(&stat)) {
                    self.replace(path)?;
                    self.make_hiding_directory(path)?;
                }
            }
            Err(errno) => return Err(Error::step("make the directory")(errno)),
        }
        self.directories.set(path, State::Explicit(metadata))
    }

    /// Makes a directory where a file of this layer was, or a whiteout: lower layers' content of
    /// that name is gone, and overlayfs must be told.
    fn make_hiding_directory(&mut self, path: &EntryPath) -> Result<()> {
        let mode = self.new_files.directory_mode();
        let (parent, name) = self.parent(path)?;
        rustix::fs::mkdirat(parent, name, mode).map_err(Error::step("make the directory"))?;
        match self.how.form {
            Form::Overlay => self.mark_opaque(path),
            Form::Tree => Ok(()),
        }
    }

    fn file<R: BufRead>(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = self.new_files.creation_mode(metadata);
        let fd = self.make(path, "make the file", |parent, name| {
            rustix::fs::openat(parent, name, flags, mode)
        })?;
        write(&fd, entry.sparse.as_ref(), reader)?;
        metadata.set_new(&fd, self.how.ownership, &self.new_files)
    }

    fn hardlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<()> {
        let shown = target.escape_ascii().to_string();
        let refuse = |reason: &str| Error::refused(format!("hard link to '{shown}': {reason}"));
        let target = EntryPath::parse(target).map_err(|error| refuse(&error.to_string()))?;
        if target == *path {
            return Err(refuse("that is the entry itself"));
        }
        if classify(&target).map_err(|error| refuse(&error.to_string()))? != Meaning::Plain {
            return Err(refuse("that is a whiteout"));
        }
        let (directory, target_name) = target.split();
        // Two parents are open at once; the cache holds one, so this one is opened on its own.
        let source = match self.directories.open(directory, OFlags::PATH) {
            Ok(fd) => fd,
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(refuse("its path leads through a link"));
            }
            Err(Errno::NOENT) => return Err(refuse("there is no such entry before this one")),
            Err(errno) => return Err(Error::step("open the link's target")(errno)),
        };
        let stat = remove::kind(source.as_fd(), target_name).map_err(Error::step("stat"))?;
        match stat {
            None => return Err(refuse("there is no such entry before this one")),
            Some(stat) if remove::is_directory(&stat) => return Err(refuse("that is a directory")),
            Some(stat) if is_whiteout(&stat) => return Err(refuse("that is deleted")),
            Some(_) => {}
        }
        self.make(path, "make the hard link", |parent, name| {
            rustix::fs::linkat(&source, target_name, parent, name, AtFlags::empty())
        })
    }

    fn device(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<()> {
        let number = rustix::fs::makedev(major, minor);
        let (kind, number) = match self.how.ownership {
            Ownership::Stored => (kind, number),
            Ownership::Namespace | Ownership::Caller => (FileType::RegularFile, 0),
        };
        self.make(path, "make the device", |parent, name| {
            rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, number)
        })?;
        self.describe(path, metadata, false)
    }

    /// Runs `make` in the entry's directory, and once more after clearing the name if it is taken.
    fn make<T>(
        &mut self,
        path: &EntryPath,
        action: &'static str,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T> {
        let (parent, name) = self.parent(path)?;
        match make(parent, name) {
            Err(Errno::EXIST) => {
                self.replace(path)?;
                let (parent, name) = self.parent(path)?;
                make(parent, name).map_err(Error::step(action))
            }
            result => result.map_err(Error::step(action)),
        }
    }

    fn describe(&mut self, path: &EntryPath, metadata: &Metadata, symlink: bool) -> Result<()> {
        let (ownership, new_files) = (self.how.ownership, self.new_files);
        let (parent, name) = self.parent(path)?;
        metadata.set_at(parent, name, symlink, ownership, &new_files)
    }

    /// Removes what an entry takes the place of.
    fn replace(&mut self, path: &EntryPath) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        remove::remove_tree(parent, name).map_err(Error::step("remove what was there before"))?;
        self.directories.forget(path);
        Ok(())
    }

    /// The entry's open directory and its name there. Directories on the way that no entry made
    /// are made; anything else in their place is refused, for writing on would follow it.
    fn parent<'p>(&mut self, path: &'p EntryPath) -> Result<(BorrowedFd<'_>, &'p [u8])> {
        let (directory, name) = path.split();
        if self.directories.enter(directory)?.is_none() {
            let mut way = EntryPath::root();
            for part in path.parent().components() {
                way = way.join(part);
                self.imply(&way)?;
            }
        }
        match self.directories.enter(directory)? {
            Some(fd) => Ok((fd, name)),
            None => Err(Error::refused("its directory can't be reached")),
        }
    }

    /// Makes one directory that an entry's path leads through, if it isn't there. Its own parent is.
    fn imply(&mut self, path: &EntryPath) -> Result<()> {
        let overlay = self.how.form == Form::Overlay;
        let mode = self.new_files.directory_mode();
        let (directory, name) = path.split();
        let Some(parent) = self.directories.enter(directory)? else {
            return Err(Error::refused("its directory can't be reached"));
        };
        match remove::kind(parent, name).map_err(Error::step("stat"))? {
            Some(stat) if remove::is_directory(&stat) => return Ok(()),
            Some(stat) if overlay && is_whiteout(&stat) => {
                self.replace(path)?;
                self.make_hiding_directory(path)?;
                // What lower layers say of the directory is deleted with it.
                self.budget.take_entry()?;
                self.directories.set(path, State::Explicit(Metadata::implied()))?;
                self.note_made(path);
                return Ok(());
            }
            Some(_) => {
                let shown = path.as_bytes().escape_ascii();
                return Err(Error::refused(format!(
                    "its path leads through '{shown}', which is no directory"
                )));
            }
            None => rustix::fs::mkdirat(parent, name, mode)
                .map_err(Error::step("make the directory"))?,
        }
        // One entry may imply 255 of them.
        self.budget.take_entry()?;
        self.directories.set(path, State::Implied)?;
        self.note_made(path);
        Ok(())
    }

    /// Deletes what lower layers hold under the path.
    fn whiteout(&mut self, path: &EntryPath) -> Result<()> {
        match self.how.form {
            Form::Tree => {
                let (parent, name) = self.parent(path)?;
                // The descriptor outlives the borrow, for the paths made are asked for below.
                let parent = parent.try_clone_to_owned().map_err(Error::step("open"))?;
                let made = &self.made;
                let hash = &self.hash;
                let mut keep = |path: &[u8]| made.contains(&hash.hash_one(path));
                remove::prune(parent.as_fd(), name, &mut keep, path.as_bytes().to_vec())
                    .map_err(Error::step("delete"))?;
                self.directories.leave();
                Ok(())
            }
            Form::Overlay => {
                let (parent, name) = self.parent(path)?;
                match remove::kind(parent, name).map_err(Error::step("stat"))? {
                    // This layer's own directory goes on without lower layers' content.
                    Some(stat) if remove::is_directory(&stat) => self.mark_opaque(path),
                    // This layer's own file hides lower ones by itself.
                    Some(_) => Ok(()),
                    None => {
                        let kind = FileType::CharacterDevice;
                        rustix::fs::mknodat(parent, name, kind, Mode::empty(), 0)
                            .map_err(Error::step("make the whiteout"))
                    }
                }
            }
        }
    }

    /// Deletes what lower layers hold in the directory.
    fn opaque(&mut self, directory: &EntryPath) -> Result<()> {
        if directory.is_root() {
            self.record.opaque = true;
        }
        // A directory that only the opaque mark names is made like any implied one.
        let inside = directory.join(b"x");
        self.parent(&inside)?;
        match self.how.form {
            Form::Overlay if directory.is_root() => Ok(()),
            Form::Overlay => self.mark_opaque(directory),
            Form::Tree => {
                let fd = self
                    .directories
                    .open(directory.as_bytes(), OFlags::RDONLY)
                    .map_err(Error::step("open the directory"))?;
                let made = &self.made;
                let hash = &self.hash;
                let mut keep = |path: &[u8]| made.contains(&hash.hash_one(path));
                remove::prune_inside(fd.as_fd(), &mut keep, directory.as_bytes())
                    .map_err(Error::step("delete"))?;
                self.directories.leave();
                Ok(())
            }
        }
    }

    fn mark_opaque(&self, path: &EntryPath) -> Result<()> {
        let fd = self
            .directories
            .open(path.as_bytes(), OFlags::RDONLY)
            .map_err(Error::step("open the directory"))?;
        let name = self.how.ownership.opaque_attribute();
        rustix::fs::fsetxattr(&fd, name, b"y", XattrFlags::empty())
            .map_err(Error::step("mark the directory opaque"))
    }

    fn note_made(&mut self, path: &EntryPath) {
        if self.how.form == Form::Tree {
            self.made.insert(self.hash.hash_one(path.as_bytes()));
        }
    }
}

/// Is it overlayfs' mark for a deleted name?
pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Writes a file's data, leaving holes where a sparse map has them.
fn write<R: BufRead>(fd: &OwnedFd, sparse: Option<&Sparse>, reader: &mut Reader<R>) -> Result<()> {
    let Some(sparse) = sparse else {
        loop {
            let data = reader.data()?;
            if data.is_empty() {
                return Ok(());
            }
            let written = retry(|| rustix::io::write(fd, data)).map_err(Error::step("write"))?;
            reader.consume(written);
        }
    };
    for (offset, length) in &sparse.parts {
        let mut done = 0;
        while done < *length {
            let data = reader.data()?;
            let amount = usize::try_from(length - done).unwrap_or(usize::MAX).min(data.len());
            let written = retry(|| rustix::io::pwrite(fd, &data[..amount], offset + done))
                .map_err(Error::step("write"))?;
            if written == 0 {
                return Err(Error::refused("a sparse file's data ends too early"));
            }
            reader.consume(written);
            done += written as u64;
        }
    }
    rustix::fs::ftruncate(fd, sparse.size).map_err(|errno| {
        Error::refused(format!("a sparse file of {} bytes can't be made: {errno}", sparse.size))
    })
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
