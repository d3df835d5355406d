//! A file that has its name once it is whole: a command that is ended leaves none.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The file, written through [`Self::file`]. Dropped without [`Self::finish`] it is gone.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// It has its name, since the file system makes none without, and is not whole yet.
    named: bool,
}

impl NewFile {
    /// Begins a file that must not be there.
    ///
    /// # Errors
    /// [`Error::Io`], also for one that is there.
    pub fn create(path: &Path) -> Result<Self> {
        let fail = Error::io::<std::io::Error>("create", path);
        if path.symlink_metadata().is_ok() {
            return Err(fail(Errno::EXIST.into()));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let nameless = File::options()
            .write(true)
            .mode(0o644)
            .custom_flags(OFlags::TMPFILE.bits().cast_signed())
            .open(parent.unwrap_or(Path::new(".")));
        let unknown = |error: &std::io::Error| {
            let known = Errno::from_io_error(error);
            matches!(known, Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL))
        };
        let (file, named) = match nameless {
            Ok(file) => (file, false),
            Err(error) if unknown(&error) => {
                let file = File::options().write(true).create_new(true).mode(0o644).open(path);
                (file.map_err(fail)?, true)
            }
            Err(error) => return Err(fail(error)),
        };
        Ok(Self { file, path: path.to_owned(), named })
    }

    /// Where to write.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`Error::Io`], also if somebody made one of that name meanwhile.
    pub fn finish(mut self) -> Result<()> {
        if self.named {
            self.named = false;
            return Ok(());
        }
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, own, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)
            .map_err(Error::io("create", &self.path))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.named {
            // The error at hand is the one to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
