//! A cgroup's directory, held open: its files are read and written below the descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::{Error, Result};

/// A directory of a cgroup file system.
#[derive(Debug)]
pub(crate) struct Dir {
    pub fd: OwnedFd,
    pub path: PathBuf,
}

impl Dir {
    /// Opens it without a right to list it: that takes [`Dir::children`].
    pub fn open(path: &Path) -> Result<Dir> {
        Dir::open_at(AT_FDCWD, path.as_os_str(), path.into())
    }

    /// As [`Dir::open`], but a directory that is not there is none.
    pub fn open_if_there(path: &Path) -> Result<Option<Dir>> {
        if_there(Dir::open(path))
    }

    /// A directory in it, if there is such.
    pub fn child(&self, name: &OsStr) -> Result<Option<Dir>> {
        if_there(Dir::open_at(self.fd.as_fd(), name, self.path.join(name)))
    }

    /// The directory it is in.
    pub fn parent(&self) -> Result<Dir> {
        let path = self.path.parent().unwrap_or(&self.path);
        Dir::open_at(self.fd.as_fd(), OsStr::new(".."), path.into())
    }

    fn open_at(at: BorrowedFd<'_>, name: &OsStr, path: PathBuf) -> Result<Dir> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(at, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Dir { fd, path }),
            Err(source) => Err(Error::Open { path, source }),
        }
    }

    /// Removes a directory in it.
    pub fn remove(&self, name: &OsStr) -> std::result::Result<(), Errno> {
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)
    }

    /// Opens one of its files. `name` must be one path component: callers check what users give.
    pub fn file(&self, name: &str, access: OFlag) -> std::result::Result<File, Errno> {
        let flags = access | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> Result<String> {
        self.try_read(name).map_err(|source| Error::Read { path: self.path.join(name), source })
    }

    /// The content of a file, or the bare reason.
    pub fn try_read(&self, name: &str) -> std::result::Result<String, Errno> {
        read_to_end(&mut self.file(name, OFlag::O_RDONLY)?)
    }

    /// Writes a file, in one call: the kernel takes each write as one value.
    pub fn write(&self, name: &str, value: &str) -> Result<()> {
        self.try_write(name, value).map_err(|source| self.failed(name, value, source))
    }

    /// Writes a file, or gives the bare reason.
    pub fn try_write(&self, name: &str, value: &str) -> std::result::Result<(), Errno> {
        write_once(&mut self.file(name, OFlag::O_WRONLY)?, value)
    }

    /// The error of a write here.
    pub fn failed(&self, name: &str, value: &str, source: Errno) -> Error {
        Error::Write { path: self.path.clone(), file: name.into(), value: value.into(), source }
    }

    /// The names of the sub-cgroups.
    pub fn children(&self) -> Result<Vec<OsString>> {
        let failed = |source| Error::Read { path: self.path.clone(), source };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing =
            nix::dir::Dir::openat(self.fd.as_fd(), ".", flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if entry.file_type() == Some(nix::dir::Type::Directory) && name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// Takes a directory that is not there, or not any more, for none.
fn if_there(result: Result<Dir>) -> Result<Option<Dir>> {
    match result {
        Ok(dir) => Ok(Some(dir)),
        Err(Error::Open { source: Errno::ENOENT | Errno::ENODEV, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The content of a file that no cgroup's descriptor leads to.
pub(crate) fn read_path(path: &Path) -> Result<String> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    match file.and_then(|fd| read_to_end(&mut File::from(fd))) {
        Ok(text) => Ok(text),
        Err(source) => Err(Error::Read { path: path.into(), source }),
    }
}

/// Writes a value with one call.
pub(crate) fn write_once(file: &mut File, value: &str) -> std::result::Result<(), Errno> {
    file.write_all(value.as_bytes()).map_err(|error| errno(&error))
}

/// Reads to the end, which takes one call for most files.
fn read_to_end(file: &mut File) -> std::result::Result<String, Errno> {
    let mut buffer = [0; 4096];
    let mut text = Vec::new();
    loop {
        match file.read(&mut buffer) {
            Ok(count) => {
                text.extend_from_slice(&buffer[..count]);
                // The kernel fills the buffer with whole lines, as many as fit: where one more of
                // any length a cgroup's file has would have fitted, there is none.
                if count < buffer.len() / 2 {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(&error)),
        }
    }
    String::from_utf8(text).map_err(|_| Errno::EILSEQ)
}

/// The kernel's number behind a failure of the standard library.
fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
