//! Opening what somebody else's links lead to, but not out of a directory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How often the kernel may be asked again. Every rename and mount of the machine can make a try void, so
/// a busy machine needs some.
const TRIES: usize = 128;

/// Opens `path` below `directory` as openat2(2) does, where `resolve` has `BENEATH` or `IN_ROOT`. With a
/// `..` on the way the kernel gives up if anything on the machine is renamed or mounted meanwhile, for it
/// can't tell then whether it is still inside; it is asked again.
///
/// # Errors
/// The kernel's answer; [`Errno::AGAIN`] if it never came to one.
pub fn open(
    directory: impl AsFd,
    path: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    for _ in 1..TRIES {
        match rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            result => return result,
        }
    }
    rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn renames_elsewhere_are_no_failure() {
        let path = std::env::temp_dir().join(format!("imagectl-inside-{}", std::process::id()));
        std::fs::create_dir_all(path.join("d")).unwrap();
        std::fs::write(path.join("a"), "x").unwrap();
        let directory = std::fs::File::open(&path).unwrap();
        let over = AtomicBool::new(false);
        let up = "d/../".repeat(3);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::fs::rename(path.join("a"), path.join("b")).unwrap();
                    std::fs::rename(path.join("b"), path.join("a")).unwrap();
                }
            });
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let opened =
                (0..5000).try_for_each(|_| open(&directory, &up, flags, resolve).map(drop));
            over.store(true, Ordering::Relaxed);
            opened.unwrap();
        });
        std::fs::remove_dir_all(&path).unwrap();
    }
}
