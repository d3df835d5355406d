//! What the kernel tells of a process's mounts. It looks nothing up in them, and so waits for no file
//! system that the container serves.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Context, Error};

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number.
    pub id: u64,
    /// That of its file system's device.
    device: String,
    /// Which part of the file system it is.
    root: PathBuf,
    /// Where it is, for a process with that root directory.
    point: PathBuf,
}

impl Mount {
    /// It is a whole file system.
    pub fn is_whole(&self) -> bool {
        self.root == Path::new("/")
    }

    /// What it is of: the device, and the path there.
    pub fn origin(&self) -> (&str, PathBuf) {
        (&self.device, self.root.clone())
    }
}

/// Those of a process, "self" or its number.
pub(super) fn of(process: &str) -> Result<Vec<Mount>, Error> {
    let path = format!("/proc/{process}/mountinfo");
    let text = fs::read(&path).context(|| format!("read {path}"))?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// The one at a path, on top of others.
pub(super) fn at<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    mounts.iter().rfind(|mount| mount.point == Path::new(path))
}

/// The origin of a mount that is made of `path`, which is on one of these.
pub(super) fn origin<'a>(mounts: &'a [Mount], path: &Path) -> Option<(&'a str, PathBuf)> {
    let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let id = sys::file::mount_id(file.as_fd()).ok()?;
    let mount = mounts.iter().find(|mount| mount.id == id)?;
    let found = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    Some((&mount.device, mount.root.join(found.strip_prefix(&mount.point).ok()?)))
}

/// A line of mountinfo, see proc(5).
fn parse(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|&byte| byte == b' ');
    let mut word = |skipped: usize| words.nth(skipped);
    Some(Mount {
        id: std::str::from_utf8(word(0)?).ok()?.parse().ok()?,
        device: String::from_utf8_lossy(word(1)?).into_owned(),
        root: unescaped(word(0)?),
        point: unescaped(word(0)?),
    })
}

/// White space and backslashes are there as three octal digits after a backslash.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = br"31 22 0:27 /a\040b /mnt/x\134y rw,relatime shared:4 - tmpfs tmpfs ro,size=4k";
        let mount = parse(line).unwrap();
        let wanted = Mount {
            id: 31,
            device: "0:27".to_owned(),
            root: "/a b".into(),
            point: r"/mnt/x\y".into(),
        };
        assert_eq!(mount, wanted);
        assert!(!mount.is_whole());
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 2 3"), None);
    }

    #[test]
    fn the_uppermost_is_found() {
        let lines = [&b"1 0 0:1 / / rw - t t rw"[..], b"2 1 0:2 /a /mnt rw - t t rw"];
        let mut mounts: Vec<Mount> = lines.into_iter().filter_map(parse).collect();
        mounts.extend(parse(b"3 2 0:3 / /mnt rw - t t rw"));
        assert_eq!(at(&mounts, "/mnt").map(|mount| mount.id), Some(3));
        assert_eq!(at(&mounts, "/none"), None);
    }

    #[test]
    fn an_origin_is_that_of_the_mount() {
        let mounts = of("self").unwrap();
        let dir = std::env::temp_dir().join(format!("ghost-runc-origin-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (of_dir, of_above) =
            (origin(&mounts, &dir).unwrap(), origin(&mounts, &std::env::temp_dir()).unwrap());
        fs::remove_dir(&dir).unwrap();
        assert_eq!(of_dir.0, of_above.0);
        assert_eq!(of_dir.1.parent(), Some(&*of_above.1));
        let proc = origin(&mounts, Path::new("/proc")).unwrap();
        assert_eq!(proc, at(&mounts, "/proc").unwrap().origin());
    }
}
