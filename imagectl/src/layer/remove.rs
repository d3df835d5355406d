//! Removing trees by descriptors, following nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Is the name a directory? `None` if nothing has the name.
pub fn kind(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<rustix::fs::Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Does the mode say directory?
pub fn is_directory(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Opens a directory for listing. A symlink in its place is an error, and so is a mount point:
/// what is mounted there is not ours to delete.
fn open(parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let all = Mode::RWXU;
    if !Mode::from_raw_mode(mode).contains(all) && !rustix::process::geteuid().is_root() {
        // Its own mode keeps an owner out who is not root.
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode) | all, AtFlags::empty())?;
    }
    rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve)
}

/// Removes what has the name, a directory with all it holds. Nothing having it is fine.
///
/// # Errors
/// The first system call that fails; `EXDEV` if a directory below is a mount point.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    prune(parent, name, &mut |_| false, Vec::new()).map(drop)
}

/// Removes what has the name but for the paths that `keep` holds on to, and the directories on the
/// way to them. `path` is what `keep` is asked with. Says whether all of it went.
pub fn prune(
    parent: BorrowedFd<'_>,
    name: &[u8],
    keep: &mut dyn FnMut(&[u8]) -> bool,
    path: Vec<u8>,
) -> Result<bool, Errno> {
    let Some(stat) = kind(parent, name)? else { return Ok(true) };
    let kept = keep(&path);
    if !is_directory(&stat) {
        if !kept {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        }
        return Ok(!kept);
    }
    let directory = open(parent, name, stat.st_mode)?;
    let emptied = prune_inside(directory.as_fd(), keep, &path)?;
    drop(directory);
    if kept || !emptied {
        return Ok(false);
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    Ok(true)
}

/// Prunes what the open directory holds.
pub fn prune_inside(
    directory: BorrowedFd<'_>,
    keep: &mut dyn FnMut(&[u8]) -> bool,
    path: &[u8],
) -> Result<bool, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    let mut emptied = true;
    for name in names {
        let child = match path {
            b"" => name.clone(),
            path => [path, b"/", &name].concat(),
        };
        emptied &= prune(directory, &name, keep, child)?;
    }
    Ok(emptied)
}
