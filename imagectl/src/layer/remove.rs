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

/// A directory on the way down, of which only the deepest is open.
struct Level {
    /// What is left to look at.
    names: Vec<Vec<u8>>,
    /// Device and inode, to know it again on the way up.
    identity: (u64, u64),
    /// Where its name begins in the path.
    start: usize,
    kept: bool,
    emptied: bool,
}

impl Level {
    fn read(directory: BorrowedFd<'_>, start: usize, kept: bool) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(directory)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(Self { names, identity: (stat.st_dev, stat.st_ino), start, kept, emptied: true })
    }
}

/// Prunes what the open directory holds. A container may have made a tree of any depth, so neither
/// stack nor descriptors grow with it.
pub fn prune_inside(
    directory: BorrowedFd<'_>,
    keep: &mut dyn FnMut(&[u8]) -> bool,
    path: &[u8],
) -> Result<bool, Errno> {
    let mut path = path.to_vec();
    let mut above: Vec<Level> = Vec::new();
    let mut level = Level::read(directory, path.len(), false)?;
    let mut open_below: Option<OwnedFd> = None;
    loop {
        let here = open_below.as_ref().map_or(directory, AsFd::as_fd);
        if let Some(name) = level.names.pop() {
            let Some(stat) = kind(here, &name)? else { continue };
            let end = path.len();
            if end > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let kept = keep(&path);
            if is_directory(&stat) {
                let below = open(here, &name, stat.st_mode)?;
                above.push(std::mem::replace(&mut level, Level::read(below.as_fd(), end, kept)?));
                open_below = Some(below);
                continue;
            }
            path.truncate(end);
            match kept {
                true => level.emptied = false,
                false => rustix::fs::unlinkat(here, &name, AtFlags::empty())?,
            }
            continue;
        }
        let Some(parent) = above.pop() else { return Ok(level.emptied) };
        let up = match above.is_empty() {
            true => None,
            false => Some(ascend(here, parent.identity)?),
        };
        let done = std::mem::replace(&mut level, parent);
        open_below = up;
        let here = open_below.as_ref().map_or(directory, AsFd::as_fd);
        let name = path[done.start..].strip_prefix(b"/").unwrap_or(&path[done.start..]);
        match done.kept || !done.emptied {
            true => level.emptied = false,
            false => rustix::fs::unlinkat(here, name, AtFlags::REMOVEDIR)?,
        }
        path.truncate(done.start);
    }
}

/// Goes to the directory above, which must still be the one that was come from.
fn ascend(from: BorrowedFd<'_>, identity: (u64, u64)) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let up = rustix::fs::openat(from, "..", flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&up)?;
    match (stat.st_dev, stat.st_ino) == identity {
        true => Ok(up),
        false => Err(Errno::STALE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    fn directory(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!("imagectl-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let fd = std::fs::File::open(&path).unwrap().into();
        (path, fd)
    }

    #[test]
    fn a_tree_deeper_than_descriptors_go() {
        let (path, top) = directory("deep");
        let mut here = top.try_clone().unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            here = rustix::fs::openat(&here, "d", flags, Mode::empty()).unwrap();
        }
        drop(here);
        remove_tree(top.as_fd(), b"d").unwrap();
        std::fs::remove_dir(path).unwrap();
    }

    #[test]
    fn what_is_kept_stays_with_the_way_to_it() {
        let (path, top) = directory("kept");
        for name in ["a/b/c", "a/b/d", "a/e"] {
            std::fs::create_dir_all(path.join(name)).unwrap();
        }
        std::fs::write(path.join("a/b/d/f"), "x").unwrap();
        std::fs::write(path.join("a/g"), "x").unwrap();
        let mut asked = Vec::new();
        let mut keep = |path: &[u8]| {
            asked.push(String::from_utf8(path.to_vec()).unwrap());
            path == b"a/b/d/f"
        };
        assert!(!prune(top.as_fd(), b"a", &mut keep, b"a".to_vec()).unwrap());
        asked.sort();
        assert_eq!(asked, ["a", "a/b", "a/b/c", "a/b/d", "a/b/d/f", "a/e", "a/g"]);
        assert!(path.join("a/b/d/f").exists() && !path.join("a/b/c").exists());
        assert!(!path.join("a/e").exists() && !path.join("a/g").exists());
        remove_tree(top.as_fd(), b"a").unwrap();
        std::fs::remove_dir(path).unwrap();
    }
}
