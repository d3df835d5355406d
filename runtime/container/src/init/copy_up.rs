//! Copying a directory of the image into the tmpfs that will cover it (`tmpcopyup`).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

/// Deeper trees than this are an attack on our stack.
const MAX_DEPTH: usize = 256;

/// Copies what is in `from` to the empty directory `to`. Links are copied, not followed.
pub(crate) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    copy(from, to, 0)
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::ELOOP);
    }
    // The handle may be one of O_PATH, which can't be listed.
    let mut dir = Dir::openat(from, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    for name in &names {
        let name = name.as_c_str();
        let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => {
                mkdirat(to, name, Mode::S_IRWXU)?;
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let from = openat(from, name, flags, Mode::empty())?;
                let to = openat(to, name, flags, Mode::empty())?;
                copy(from.as_fd(), to.as_fd(), depth + 1)?;
            }
            SFlag::S_IFREG => {
                let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                let mut source = File::from(openat(from, name, flags, Mode::empty())?);
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                let mut copy = File::from(openat(to, name, flags, Mode::S_IRUSR)?);
                std::io::copy(&mut source, &mut copy)
                    .map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
                own(copy.as_fd(), &stat)?;
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(from, name)?;
                symlinkat(target.as_os_str(), to, name)?;
                fchownat(to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            }
            kind => {
                let mode = Mode::from_bits_truncate(stat.st_mode);
                mknodat(to, name, kind, mode, stat.st_rdev)?;
                fchownat(to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            }
        }
    }
    // The top is the tmpfs's own, with the mode its options say.
    if depth == 0 { Ok(()) } else { own(to, &fstat(from)?) }
}

/// The owner before the mode: the change of owner clears set-user-ID bits.
fn own(fd: BorrowedFd<'_>, stat: &FileStat) -> Result<(), Errno> {
    fchown(fd, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(fd, Mode::from_bits_truncate(stat.st_mode))
}
