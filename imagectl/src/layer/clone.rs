//! Copies single files between trees of ours: their data is shared where the file system has reflinks, and
//! copied by the kernel elsewhere.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::apply::Ownership;
use super::metadata::{Metadata, NewFiles, copy_metadata, mtime};
use super::pack::special_xattrs;
use crate::error::{Error, Result};

/// How data is copied: each way gives way to the next where the file systems don't have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `FICLONE`: btrfs, xfs, bcachefs.
    Reflink,
    /// `copy_file_range`, Linux 4.5; between file systems of one type 5.19.
    Range,
    Bytes,
}

/// Copies files from one file system to one.
pub struct Cloner {
    way: Cell<Way>,
}

impl Default for Cloner {
    fn default() -> Self {
        Self { way: Cell::new(Way::Reflink) }
    }
}

impl Cloner {
    /// Copies what is no directory, with its metadata. Nobody else writes in either directory.
    ///
    /// # Errors
    /// [`Error::Step`] or [`Error::Refused`] naming the step.
    pub fn copy(
        &self,
        from: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        to: BorrowedFd<'_>,
    ) -> Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = rustix::fs::openat(from, name, flags, Mode::empty())
                .map_err(Error::step("open"))?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)
                .map_err(Error::step("make the file"))?;
            self.data(&source, &target, stat).map_err(Error::step("copy"))?;
            return copy_metadata(source.as_fd(), target.as_fd());
        }
        let link = kind == FileType::Symlink;
        match link {
            true => rustix::fs::readlinkat(from, name, Vec::new())
                .and_then(|target| rustix::fs::symlinkat(target, to, name)),
            false => rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev),
        }
        .map_err(Error::step("make the link, pipe or device"))?;
        let metadata = Metadata {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: mtime(stat),
            xattrs: special_xattrs(from, name)?,
        };
        metadata.set_at(to, name, link, Ownership::Stored, &NewFiles::unknown())
    }

    fn data(&self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        if self.way.get() == Way::Reflink {
            match rustix::fs::ioctl_ficlone(target, source) {
                Err(errno) if lacks(errno) => self.way.set(Way::Range),
                result => return result,
            }
        }
        // Only a file with holes has fewer blocks than bytes.
        let sparse = u64::try_from(stat.st_blocks).unwrap_or(0) * 512 < size;
        let mut at = 0;
        while at < size {
            let mut end = size;
            if sparse {
                at = match rustix::fs::seek(source, SeekFrom::Data(at)) {
                    Err(Errno::NXIO) => break,
                    result => result?,
                };
                end = rustix::fs::seek(source, SeekFrom::Hole(at))?;
            }
            self.range(source, target, at, end)?;
            at = end;
        }
        if sparse { rustix::fs::ftruncate(target, size) } else { Ok(()) }
    }

    fn range(
        &self,
        source: &OwnedFd,
        target: &OwnedFd,
        mut at: u64,
        end: u64,
    ) -> Result<(), Errno> {
        while at < end && self.way.get() == Way::Range {
            let (mut from, mut to) = (at, at);
            let length = usize::try_from(end - at).unwrap_or(usize::MAX);
            let copied =
                rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), length);
            match copied {
                Ok(0) => return Err(Errno::IO),
                Ok(copied) => at += copied as u64,
                Err(Errno::INTR) => {}
                Err(errno) if lacks(errno) => self.way.set(Way::Bytes),
                Err(errno) => return Err(errno),
            }
        }
        let mut buffer = vec![0; if at < end { 128 << 10 } else { 0 }];
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = rustix::io::pread(source, &mut buffer[..length], at)?;
            if read == 0 {
                return Err(Errno::IO);
            }
            at += rustix::io::pwrite(target, &buffer[..read], at)? as u64;
        }
        Ok(())
    }
}

/// Does the error say that the file systems can't do it, rather than that it failed?
fn lacks(errno: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::XDEV, Errno::INVAL, Errno::NOTTY, Errno::NOSYS, Errno::PERM]
        .contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn every_way_copies_data_and_leaves_holes() {
        let path = std::env::temp_dir().join(format!("imagectl-clone-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let source = File::create_new(path.join("sparse")).unwrap();
        source.write_all_at(b"begin", 0).unwrap();
        source.write_all_at(&[7; 300_000], 4 << 20).unwrap();
        source.set_len(8 << 20).unwrap();
        std::fs::write(path.join("empty"), "").unwrap();
        std::fs::write(path.join("full"), vec![3; 200_000]).unwrap();
        let from = File::open(&path).unwrap();
        for (at, way) in [Way::Reflink, Way::Range, Way::Bytes].into_iter().enumerate() {
            let copies = path.join(at.to_string());
            std::fs::create_dir(&copies).unwrap();
            let to = File::open(&copies).unwrap();
            let cloner = Cloner { way: Cell::new(way) };
            for name in ["sparse", "empty", "full"] {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                let stat = rustix::fs::statat(&from, name, flags).unwrap();
                cloner.copy(from.as_fd(), name.as_bytes(), &stat, to.as_fd()).unwrap();
                let [one, other] = [&path, &copies].map(|at| std::fs::read(at.join(name)).unwrap());
                assert!(one == other, "{name} by way {at}");
            }
            let blocks = std::fs::metadata(copies.join("sparse")).unwrap().blocks();
            assert!(blocks * 512 < 2 << 20, "way {at} leaves holes: {blocks}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
