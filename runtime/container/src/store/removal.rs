//! Taking away what an id stands for, while somebody else may be at the same.
//!
//! Who has the lock of a container removes it alone. A forced delete goes without it when somebody keeps
//! it for too long; then there may be two. Once the first has finished, a new container may have the
//! id, and with it the name of the directory and that of the cgroup. So whoever removes locks the
//! directory of all state directories too: with others, if the container's own lock is held, alone if
//! not.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg};
use nix::sys::stat::{FileStat, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Entry, LOCK_PATIENCE, SECCOMP, SOCKET, STATE, lock};
use crate::error::{Context, Error};

/// How often a create that is at its end without knowing it may still put something into the directory.
const MAX_TRIES: usize = 100;

/// The right to remove what belongs to an id: until it is dropped, that stays the same container's.
#[derive(Debug)]
pub(crate) struct Removal {
    parent: Flock<OwnedFd>,
}

impl Entry {
    /// None when all is removed already. `locked`: the caller has the container's lock.
    pub fn begin_removal(&self, locked: bool) -> Result<Option<Removal>, Error> {
        let how =
            if locked { FlockArg::LockSharedNonblock } else { FlockArg::LockExclusiveNonblock };
        let step = || format!("lock the directory of {}", self.path.display());
        let parent = lock::within(self.dir.as_fd(), c"..", how, LOCK_PATIENCE)
            .and_then(|lock| lock.ok_or(Errno::ETIMEDOUT))
            .context(step)?;
        Ok(if self.is_gone()? { None } else { Some(Removal { parent }) })
    }

    /// Removes the directory with what is in it; the id is free then.
    pub fn remove(&self, removal: &Removal) -> Result<(), Error> {
        let step = || format!("remove {}", self.path.display());
        for name in [SOCKET, SECCOMP, STATE] {
            self.unlink(name)?;
        }
        let id = self.id.as_str();
        for _ in 0..MAX_TRIES {
            match fstatat(&*removal.parent, id, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => return Ok(()),
                // Somebody has moved ours away, which none of us does.
                Ok(there) if inode(&there) != inode(&fstat(&self.dir).context(step)?) => {
                    return Ok(());
                }
                result => result.context(step)?,
            };
            match unlinkat(&*removal.parent, id, UnlinkatFlags::RemoveDir) {
                // A write that was cut off, or something of another version's.
                Err(Errno::ENOTEMPTY) => self.empty().context(step)?,
                result => return result.context(step),
            }
        }
        Err(Error::system(step(), Errno::ENOTEMPTY))
    }

    fn empty(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.file("."))? {
            let entry = entry?;
            let path = self.file(&entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn inode(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::Store;
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let pid = std::process::id();
            Scratch(std::env::temp_dir().join(format!("ghost-runc-store-{name}-{pid}")))
        }

        fn store(&self) -> Store {
            Store::new(&self.0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn all_that_is_in_it_goes() {
        let scratch = Scratch::new("all");
        let (entry, _lock) = scratch.store().reserve("c").unwrap();
        fs::write(entry.file("state.json.part"), "half").unwrap();
        fs::create_dir(entry.file("notify")).unwrap();
        fs::write(entry.file("notify/notify.sock"), "").unwrap();
        let removal = entry.begin_removal(true).unwrap().unwrap();
        entry.remove(&removal).unwrap();
        assert!(!scratch.0.join("c").exists());
        assert!(entry.begin_removal(true).unwrap().is_none(), "it is gone");
    }

    #[test]
    fn a_new_container_of_the_same_id_stays() {
        let scratch = Scratch::new("new");
        let (old, _lock) = scratch.store().reserve("c").unwrap();
        fs::write(old.file("left"), "").unwrap();
        let removal = old.begin_removal(false).unwrap().unwrap();
        fs::rename(scratch.0.join("c"), scratch.0.join("moved")).unwrap();
        let (new, _lock) = scratch.store().reserve("c").unwrap();
        fs::write(new.file("state.json"), "{}").unwrap();
        old.remove(&removal).unwrap();
        assert_eq!(fs::read_to_string(scratch.0.join("c/state.json")).unwrap(), "{}");
    }

    #[test]
    fn without_the_lock_nobody_else_removes() {
        let scratch = Scratch::new("alone");
        let (one, _lock) = scratch.store().reserve("one").unwrap();
        let (two, _lock) = scratch.store().reserve("two").unwrap();
        let locked = one.begin_removal(true).unwrap().unwrap();
        two.begin_removal(true).unwrap().unwrap();
        let path = scratch.0.join("one");
        let other = std::thread::spawn(move || {
            let removal = two.begin_removal(false).unwrap().unwrap();
            (path.exists(), removal)
        });
        std::thread::sleep(Duration::from_millis(100));
        one.remove(&locked).unwrap();
        drop(locked);
        assert!(!other.join().unwrap().0, "two were at it");
    }
}
