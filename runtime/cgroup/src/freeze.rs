//! Stops and resumes a container's processes, and waits for the events of a v2 cgroup.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::dir::{Dir, read_path};
use crate::{Cgroup, Error, Mode, Result, membership};

/// How long the processes may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first and the longest pause where v1, which has no event, is asked again.
const PAUSE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(20));

/// The container's freezer.
enum Freezer {
    /// `freezer.state`.
    V1(PathBuf),
    /// `cgroup.freeze` (kernel 5.2).
    V2(PathBuf),
}

impl Cgroup {
    /// Stops all processes, and waits at most 10 s until they have stopped; if they have not, they
    /// are set going again.
    ///
    /// # Errors
    ///
    /// [`Error::Wedged`] when a process does not stop, as one in an uninterruptible sleep;
    /// [`Error::NoFreezer`].
    pub fn freeze(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (dir, result) = match self.freezer().ok_or(Error::NoFreezer)? {
            Freezer::V1(path) => {
                let dir = Dir::open(&path)?;
                let result = freeze_v1(&dir, deadline);
                (dir, result.map_err(|error| (error, "freezer.state", "THAWED")))
            }
            Freezer::V2(path) => {
                let dir = Dir::open(&path)?;
                let result = freeze_v2(&dir, deadline);
                (dir, result.map_err(|error| (error, "cgroup.freeze", "0")))
            }
        };
        result.map_err(|(error, file, value)| {
            // Half frozen is worse than not frozen; that freezing failed is what the caller is told.
            let _ = dir.try_write(file, value);
            error
        })
    }

    /// Sets all processes going again. Does nothing where there is no freezer.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn thaw(&self) -> Result<()> {
        let (path, file, value) = match self.freezer() {
            Some(Freezer::V1(path)) => (path, "freezer.state", "THAWED"),
            Some(Freezer::V2(path)) => (path, "cgroup.freeze", "0"),
            None => return Ok(()),
        };
        match Dir::open_if_there(&path)? {
            Some(dir) => set_going(&dir, file, value),
            None => Ok(()),
        }
    }

    /// Whether the container's own freezer is on, be it that the last process has yet to stop. A
    /// frozen ancestor does not count; a cgroup that is gone is not frozen.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn is_frozen(&self) -> Result<bool> {
        let (path, file) = match self.freezer() {
            Some(Freezer::V1(path)) => (path, "freezer.self_freezing"),
            Some(Freezer::V2(path)) => (path, "cgroup.freeze"),
            None => return Ok(false),
        };
        match read_path(&path.join(file)) {
            Ok(text) => Ok(text.trim() == "1"),
            Err(Error::Read { source: Errno::ENOENT | Errno::ENODEV, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The cgroup that a process is in, if that is frozen: by the container itself, by an ancestor's
    /// freezer, or as [`Cgroup::freeze`] does it.
    ///
    /// # Errors
    ///
    /// When the process's or the cgroup's files can't be read.
    pub fn frozen_around(&self, pid: Pid) -> Result<Option<PathBuf>> {
        for place in membership::of(Path::new(&format!("/proc/{pid}/cgroup")))? {
            let hierarchy =
                self.hierarchies.iter().find(|one| one.controllers == place.controllers);
            let Some(hierarchy) = hierarchy else { continue };
            let (file, line) = match hierarchy.is_unified() {
                true => ("cgroup.events", "frozen 1"),
                false if hierarchy.has("freezer") => ("freezer.state", "FROZEN"),
                false => continue,
            };
            let below = Path::new(&place.path);
            let path = hierarchy.mount_point().join(below.strip_prefix("/").unwrap_or(below));
            match read_path(&path.join(file)) {
                Ok(text) if text.lines().any(|one| one == line) => return Ok(Some(path)),
                Ok(_) | Err(Error::Read { source: Errno::ENOENT | Errno::ENODEV, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Moves a process that is being killed from v1's freezer to where the caller is: frozen, it would
    /// not die. On v2 it does.
    ///
    /// # Errors
    ///
    /// When the caller's cgroup is not to be found or doesn't take it.
    pub fn let_go(&self, pid: Pid) -> Result<()> {
        let Some(hierarchy) = self.hierarchies.iter().find(|one| one.has("freezer")) else {
            return Ok(());
        };
        for place in membership::of(Path::new("/proc/self/cgroup"))? {
            if place.controllers == hierarchy.controllers {
                let below = Path::new(&place.path);
                let path = hierarchy.mount_point().join(below.strip_prefix("/").unwrap_or(below));
                Dir::open(&path)?.write("cgroup.procs", &pid.to_string())?;
            }
        }
        Ok(())
    }

    /// The directory of the container's freezer, for others that freeze it.
    #[must_use]
    pub fn freezer_dir(&self) -> Option<PathBuf> {
        match self.freezer()? {
            Freezer::V1(path) | Freezer::V2(path) => Some(path),
        }
    }

    fn freezer(&self) -> Option<Freezer> {
        if self.mode != Mode::V2
            && let Some(path) = self.path_of("freezer")
        {
            return Some(Freezer::V1(path));
        }
        self.unified().map(|hierarchy| Freezer::V2(hierarchy.dir()))
    }
}

/// Sets the processes of a cgroup going. When they were killed meanwhile, it may be gone: systemd
/// removes an empty scope at once.
fn set_going(dir: &Dir, file: &str, value: &str) -> Result<()> {
    match dir.try_write(file, value) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        Err(source) => Err(dir.failed(file, value, source)),
    }
}

fn freeze_v2(dir: &Dir, deadline: Instant) -> Result<()> {
    dir.write("cgroup.freeze", "1")?;
    // Who kills the processes meanwhile lets them run on as well: nothing is frozen then any more.
    if wait_for_event(dir, &["frozen 1", "populated 0"], deadline)? {
        return Ok(());
    }
    Err(Error::Wedged { path: dir.path.clone(), state: "frozen", seconds: PATIENCE.as_secs() })
}

/// v1 has no event, and a process forked meanwhile can keep it at FREEZING until asked again.
fn freeze_v1(dir: &Dir, deadline: Instant) -> Result<()> {
    let mut pause = PAUSE.0;
    loop {
        dir.write("freezer.state", "FROZEN")?;
        if dir.read("freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let (path, seconds) = (dir.path.clone(), PATIENCE.as_secs());
            return Err(Error::Wedged { path, state: "frozen", seconds });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Waits until `cgroup.events` of a v2 cgroup has one of the lines; says whether it did before the deadline. A
/// cgroup that is removed meanwhile has it.
pub(crate) fn wait_for_event(dir: &Dir, lines: &[&str], deadline: Instant) -> Result<bool> {
    let path = dir.path.join("cgroup.events");
    let read = |source| Error::Read { path: path.clone(), source };
    let mut file = match dir.file("cgroup.events", OFlag::O_RDONLY) {
        Ok(file) => file,
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(true),
        Err(source) => return Err(read(source)),
    };
    loop {
        match reread(&mut file) {
            Ok(text) if text.lines().any(|line| lines.contains(&line)) => return Ok(true),
            Ok(_) => {}
            Err(Errno::ENODEV) => return Ok(true),
            Err(source) => return Err(read(source)),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // The kernel raises POLLPRI when the file has changed since it was read.
        let mut wanted = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut wanted, left) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => return Err(Error::Wait { path, source }),
        }
    }
}

fn reread(file: &mut File) -> std::result::Result<String, Errno> {
    let mut text = String::new();
    let result = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match result {
        Ok(_) => Ok(text),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_goes_meanwhile_needs_no_thawing() {
        let path = std::env::temp_dir().join(format!("cgroup-thaw-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = Dir::open(&path).unwrap();
        std::fs::write(path.join("cgroup.freeze"), "1").unwrap();
        set_going(&dir, "cgroup.freeze", "0").unwrap();
        assert_eq!(dir.read("cgroup.freeze").unwrap(), "0");
        std::fs::remove_dir_all(&path).unwrap();
        set_going(&dir, "cgroup.freeze", "0").unwrap();
    }
}
