//! The lock of a state directory: waiting for it, with a deadline, and who has it.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstat};

/// How long a command waits for another one's end: longer than any step of that takes which has a
/// deadline of its own. Hooks have none.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The first and the longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// Locks a directory below `dir`; none when it can't be had for so long.
pub(super) fn within(
    dir: BorrowedFd<'_>,
    path: &CStr,
    how: FlockArg,
    patience: Duration,
) -> Result<Option<Flock<OwnedFd>>, Errno> {
    let deadline = Instant::now() + patience;
    let mut pause = PAUSE.0;
    // A descriptor of its own: a lock belongs to the open file.
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut file = openat(dir, path, flags, Mode::empty())?;
    loop {
        file = match Flock::lock(file, how) {
            Ok(lock) => return Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= deadline => return Ok(None),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_, errno)) => return Err(errno),
        };
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Who has a directory locked, in words; the kernel does not say it of a process that is not in our
/// pid namespace.
pub(super) fn holder(dir: BorrowedFd<'_>) -> String {
    let table = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = fstat(dir.as_fd()).ok().and_then(|stat| find(&table, stat.st_ino));
    let Some(pid) = pid else { return "another process".to_owned() };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim_end()),
        // It has ended, and what has its descriptor holds on.
        Err(_) => format!("process {pid}"),
    }
}

/// The process with a flock on this inode: file systems with several devices have no number of theirs
/// in the table, so that an equal inode has to do.
fn find(table: &str, inode: u64) -> Option<i32> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1).filter(|field| *field != "->");
        let (kind, pid, file) = (fields.next()?, fields.nth(2)?, fields.next()?);
        let same = file.rsplit(':').next()?.parse() == Ok(inode);
        (kind == "FLOCK" && same).then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found() {
        let table = "1: FLOCK  ADVISORY  WRITE 4615 fe:00:12558977 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 4616 fe:00:12558977 0 EOF\n\
                     2: POSIX  ADVISORY  READ 17 fe:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 18 fe:00:77 0 EOF\n";
        assert_eq!(find(table, 12_558_977), Some(4615));
        assert_eq!(find(table, 77), Some(18));
        assert_eq!(find(table, 9), None);
        let dir = std::env::temp_dir().join(format!("lock-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let file = fs::File::open(&dir).unwrap();
        let how = FlockArg::LockExclusiveNonblock;
        let lock = within(file.as_fd(), c".", how, Duration::ZERO).unwrap();
        assert!(lock.is_some());
        assert!(within(file.as_fd(), c".", how, Duration::from_millis(5)).unwrap().is_none());
        let holder = holder(file.as_fd());
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
        drop(lock);
        fs::remove_dir(dir).unwrap();
    }
}
