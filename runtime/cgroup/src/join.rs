//! Gets processes into a container's cgroups.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::unistd::Pid;

use crate::dir::Dir;
use crate::{Cgroup, Error, Result, membership};

impl Cgroup {
    /// The v2 directory, pure or the hybrid's, opened O_PATH: for `CLONE_INTO_CGROUP` (kernel 5.7),
    /// which makes a process there without the wait that moving it costs. None on pure v1, and where
    /// the container has no cgroup of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    pub fn unified_dir(&self) -> Result<Option<OwnedFd>> {
        let Some(hierarchy) = self.unified() else { return Ok(None) };
        Dir::open(&hierarchy.dir()).map(|dir| Some(dir.fd))
    }

    /// As [`Cgroup::unified_dir`], for one more process of a running container: the directory that
    /// `pid`, the container's first process, is in. A container that runs systemd moves everything
    /// into sub-cgroups, and after that its own takes no process.
    ///
    /// # Errors
    ///
    /// When /proc/PID/cgroup can't be read, and [`Error::Open`].
    pub fn unified_dir_beside(&self, pid: Pid) -> Result<Option<OwnedFd>> {
        let Some(hierarchy) = self.unified() else { return Ok(None) };
        let file = format!("/proc/{pid}/cgroup");
        let place = membership::of(Path::new(&file))?
            .into_iter()
            .find(|one| one.controllers.is_empty())
            .ok_or_else(|| Error::NoMembership { path: file.into() })?;
        // What lies above our own mount is not the container's: it left, or never was there.
        let path = Path::new(&place.path);
        if !path.starts_with(hierarchy.path()) {
            return self.unified_dir();
        }
        let path = path.strip_prefix("/").unwrap_or(path);
        Dir::open(&hierarchy.mount_point().join(path)).map(|dir| Some(dir.fd))
    }

    /// Moves a process into every v1 hierarchy: for one that was born in [`Cgroup::unified_dir`], so
    /// there is nothing to do on pure v2.
    ///
    /// One write a hierarchy. The first waits for an RCU grace period (7 to 11 ms on the reference
    /// machine), those right after it don't (15 µs): a child that has work to do is best let do it
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Join`].
    pub fn join(&self, pid: Pid) -> Result<()> {
        for hierarchy in self.hierarchies.iter().filter(|one| !one.is_unified()) {
            add(&hierarchy.dir(), pid)?;
        }
        Ok(())
    }
}

fn add(path: &Path, pid: Pid) -> Result<()> {
    let failed = |source| Error::Join { path: path.into(), pid: pid.as_raw(), source };
    let dir = match Dir::open(path) {
        Ok(dir) => dir,
        Err(Error::Open { source, .. }) => return Err(failed(source)),
        Err(error) => return Err(error),
    };
    dir.try_write("cgroup.procs", &pid.to_string()).map_err(failed)
}
