//! Paths inside the container's root. The image and the container own everything in there, so no
//! path is followed out of it, whatever links it holds.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// A neighbour that renames without end must not hold us up for ever.
const MAX_TRIES: usize = 1000;

/// A directory that nothing below is resolved out of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root<'a>(pub BorrowedFd<'a>);

impl Root<'_> {
    /// Opens `path`, its links resolved as a process with this root directory would.
    pub fn open(self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.is_empty() { "." } else { path };
        for _ in 0..MAX_TRIES {
            match openat2(self.0, path, how) {
                // Somebody renames directories meanwhile.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                result => return result,
            }
        }
        Err(Errno::EAGAIN)
    }

    /// The directory `path`, made with what is missing above it.
    pub fn directory(self, path: &str) -> Result<OwnedFd, Errno> {
        match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => self.make_directory(path),
            result => result,
        }
    }

    /// As [`Root::directory`], for a path that is known not to be there.
    pub fn make_directory(self, path: &str) -> Result<OwnedFd, Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = match self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => return self.walk(path, false),
            result => result?,
        };
        match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            // A link that leads nowhere.
            Err(Errno::EEXIST) => return self.walk(path, false),
            result => result?,
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&parent, name, flags, Mode::empty())
    }

    /// What is at `path`, or an empty file made there.
    pub fn file(self, path: &str) -> Result<OwnedFd, Errno> {
        match self.open(path, OFlag::O_PATH) {
            Err(Errno::ENOENT) => self.walk(path, true),
            result => result,
        }
    }

    /// The directory that holds `path`, and the last part of its name.
    pub fn parent(self, path: &str) -> Result<(OwnedFd, &str), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(parent)?, name))
    }

    /// Goes down part by part, making what is missing, through links that lead nowhere yet too.
    fn walk(self, path: &str, file: bool) -> Result<OwnedFd, Errno> {
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = parts(path).rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let parent = self.open(&done.join("/"), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(&parent, part.as_str(), flags, Mode::empty()) {
                Ok(fd) if kind(&fd)? == SFlag::S_IFLNK => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    let target = readlinkat(&parent, part.as_str())?;
                    let target = target.to_str().ok_or(Errno::EILSEQ)?;
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(parts(target).rev().map(str::to_owned));
                    continue;
                }
                Ok(_) => {}
                Err(Errno::ENOENT) if file && todo.is_empty() => {
                    let flags =
                        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    openat(&parent, part.as_str(), flags, Mode::from_bits_truncate(0o644))?;
                }
                Err(Errno::ENOENT) => {
                    match mkdirat(&parent, part.as_str(), Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Err(errno) => return Err(errno),
            }
            done.push(part);
        }
        let flags = if file { OFlag::O_PATH } else { OFlag::O_PATH | OFlag::O_DIRECTORY };
        self.open(&done.join("/"), flags)
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// What kind of file a descriptor is.
pub(crate) fn kind(fd: impl AsFd) -> Result<SFlag, Errno> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn with_root(name: &str, test: impl FnOnce(Root<'_>, &std::path::Path)) {
        let base =
            std::env::temp_dir().join(format!("ghost-runc-root-{name}-{}", std::process::id()));
        let dir = base.join("rootfs");
        fs::create_dir_all(&dir).unwrap();
        let fd = fs::File::open(&dir).unwrap();
        test(Root(fd.as_fd()), &dir);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn links_stay_inside() {
        with_root("links", |root, dir| {
            symlink("/etc", dir.join("abs")).unwrap();
            symlink("../../../etc", dir.join("up")).unwrap();
            root.directory("abs/x").unwrap();
            root.file("up/y/z").unwrap();
            assert!(dir.join("etc/x").is_dir());
            assert!(dir.join("etc/y/z").is_file());
            assert!(!dir.join("../etc").exists());
        });
    }

    #[test]
    fn dangling_links_are_made_whole() {
        with_root("dangling", |root, dir| {
            symlink("../run/a/b", dir.join("link")).unwrap();
            root.file("link").unwrap();
            assert!(dir.join("run/a/b").is_file());
            symlink("loop", dir.join("loop")).unwrap();
            assert_eq!(root.file("loop").unwrap_err(), Errno::ELOOP);
        });
    }

    #[test]
    fn a_file_is_no_directory() {
        with_root("kinds", |root, dir| {
            fs::write(dir.join("f"), "").unwrap();
            assert_eq!(root.directory("f").unwrap_err(), Errno::ENOTDIR);
            assert_eq!(root.directory("f/x").unwrap_err(), Errno::ENOTDIR);
        });
    }
}
