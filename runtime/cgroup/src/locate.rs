//! Where `linux.cgroupsPath` puts a container in each hierarchy. Makes nothing.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statfs::CGROUP_SUPER_MAGIC;
use nix::unistd::{AccessFlags, faccessat};

use crate::hierarchy::Hierarchy;
use crate::membership::{self, Membership};
use crate::mode::{ROOT, kind};
use crate::rootless::is_rootless;
use crate::{Cgroup, Error, Mode, Result};

/// Our own place in each hierarchy.
const SELF: &str = "/proc/self/cgroup";

/// The v1 hierarchies that a container gets a place in. Others, such as a distribution's own named
/// ones, are none of its business.
const CONTROLLERS: &[&str] = &[
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "misc",
    "name=systemd",
];

impl Cgroup {
    /// Finds the place of a container in every hierarchy of `mode`.
    ///
    /// An absolute `cgroups_path` counts from the mount point. A relative one counts from the
    /// runtime's own cgroup on v1, and from that one's parent on v2, since a v2 cgroup with
    /// processes of its own can't hand controllers down. An absent one is the container's id.
    /// `..` never leads out: it is resolved as in a root directory.
    ///
    /// Without privileges and with no `cgroups_path`, a hierarchy where the caller may make nothing
    /// is left out, and the container stays in the runtime's own cgroup: see
    /// [`Cgroup::inherited`].
    ///
    /// # Errors
    ///
    /// [`Error::NotOwn`] when `cgroups_path` is the root, [`Error::ScopePath`] when it is no path, and when /proc/self/cgroup can't be used.
    pub fn locate(mode: Mode, cgroups_path: Option<&Path>, id: &str) -> Result<Cgroup> {
        let given = cgroups_path.filter(|path| !path.as_os_str().is_empty());
        let path = given.unwrap_or(Path::new(id));
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(Error::ScopePath { path: path.into(), reason: "has a NUL byte" });
        }
        let inner = clean(path);
        if inner == Path::new("/") {
            return Err(Error::NotOwn { path: path.into() });
        }
        let wanted = Wanted { inner, absolute: path.is_absolute() };
        let places = match mode {
            Mode::V2 => vec![on_v2(&wanted)?],
            Mode::V1 | Mode::Hybrid => on_v1(mode, &wanted)?,
        };
        let optional = given.is_none() && is_rootless();
        let mut cgroup =
            Cgroup { mode, hierarchies: Vec::new(), inherited: Vec::new(), scope: None };
        for Place { hierarchy, own } in places {
            if optional && !may_make(&hierarchy) {
                cgroup.inherited.push(Hierarchy { path: own, ..hierarchy });
            } else {
                cgroup.hierarchies.push(hierarchy);
            }
        }
        Ok(cgroup)
    }
}

/// The container's place in one hierarchy, and the runtime's own.
struct Place {
    hierarchy: Hierarchy,
    own: PathBuf,
}

/// Whether the caller may make the directory and, on v2, move a process there from beside it.
fn may_make(hierarchy: &Hierarchy) -> bool {
    let dir = hierarchy.dir();
    let Some(parent) = dir.parent() else { return false };
    let may_write =
        |path: &Path| faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
    may_write(parent) && (!hierarchy.is_unified() || may_write(&parent.join("cgroup.procs")))
}

/// `cgroupsPath`, cleaned; `inner` is absolute in any case.
struct Wanted {
    inner: PathBuf,
    absolute: bool,
}

impl Wanted {
    /// The path of the container's cgroup, where a relative one counts from `base`.
    fn below(&self, base: &Path) -> PathBuf {
        if self.absolute {
            return self.inner.clone();
        }
        base.join(self.inner.strip_prefix("/").unwrap_or(&self.inner))
    }
}

fn on_v2(wanted: &Wanted) -> Result<Place> {
    let own = if wanted.absolute {
        PathBuf::new()
    } else {
        let own =
            membership::of(Path::new(SELF))?.into_iter().find(|one| one.controllers.is_empty());
        let own = own.ok_or_else(|| Error::NoMembership { path: SELF.into() })?;
        clean(Path::new(&own.path))
    };
    let path = wanted.below(own.parent().unwrap_or(&own));
    Ok(Place {
        hierarchy: Hierarchy { controllers: String::new(), name: String::new(), path },
        own,
    })
}

fn on_v1(mode: Mode, wanted: &Wanted) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for Membership { controllers, path } in membership::of(Path::new(SELF))? {
        let name = if controllers.is_empty() {
            (mode == Mode::Hybrid).then(|| "unified".into())
        } else if controllers.split(',').any(|one| CONTROLLERS.contains(&one)) {
            mounted_at(&controllers)
        } else {
            None
        };
        let Some(name) = name else { continue };
        let own = if wanted.absolute {
            PathBuf::new()
        } else {
            visible(&Path::new(ROOT).join(&name), &clean(Path::new(&path)))
        };
        let hierarchy = Hierarchy { controllers, name, path: wanted.below(&own) };
        places.push(Place { hierarchy, own });
    }
    // As the mounts below /sys/fs/cgroup are ordered, which is by the hierarchy's number: v2 last.
    places.reverse();
    places.sort_by_key(|place| place.hierarchy.is_unified());
    Ok(places)
}

/// The directory below /sys/fs/cgroup of a v1 hierarchy, if it is mounted.
fn mounted_at(controllers: &str) -> Option<String> {
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    let is_cgroup = |path: &Path| kind(path) == Ok(CGROUP_SUPER_MAGIC);
    if is_cgroup(&Path::new(ROOT).join(name)) {
        return Some(name.into());
    }
    // The directory may list the controllers in another order than the kernel, with a link a
    // controller that leads to it; or it was mounted for one controller of several.
    name.split(',').map(|one| Path::new(ROOT).join(one)).find(|path| is_cgroup(path)).and_then(
        |path| {
            let target = std::fs::canonicalize(path).ok()?;
            Some(target.strip_prefix(ROOT).ok()?.to_str()?.to_owned())
        },
    )
}

/// Our own cgroup as seen from the mount point.
///
/// Inside a container without a cgroup namespace, /proc/self/cgroup counts from the host's root,
/// but only a sub-tree is mounted: what the mount hides is cut off until the rest is there.
fn visible(mount: &Path, own: &Path) -> PathBuf {
    let mut rest = own.strip_prefix("/").unwrap_or(own);
    loop {
        if rest.as_os_str().is_empty() || kind(&mount.join(rest)).is_ok() {
            return Path::new("/").join(rest);
        }
        let mut components = rest.components();
        components.next();
        rest = components.as_path();
    }
}

/// An absolute path without `.` and `..`, which are resolved as in a root directory.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_never_lead_out() {
        for (path, cleaned) in [
            ("/a/b", "/a/b"),
            ("a//./b/", "/a/b"),
            ("/../../a", "/a"),
            ("../../a/../b", "/b"),
            ("a/..", "/"),
            ("/", "/"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path}");
        }
    }

    #[test]
    fn an_absolute_path_counts_from_the_mount_point() {
        let cgroup = Cgroup::locate(Mode::V2, Some(Path::new("/a/../../b")), "id").unwrap();
        assert_eq!(cgroup.hierarchies()[0].dir(), Path::new("/sys/fs/cgroup/b"));
        assert!(cgroup.hierarchies()[0].is_unified());
    }

    #[test]
    fn the_root_is_refused() {
        for path in ["/", "..", "/a/..", "."] {
            let error = Cgroup::locate(Mode::V2, Some(Path::new(path)), "id").unwrap_err();
            assert!(matches!(error, Error::NotOwn { .. }), "{path}: {error}");
        }
    }

    #[test]
    fn a_relative_path_counts_from_a_base() {
        let wanted = Wanted { inner: "/x/y".into(), absolute: false };
        assert_eq!(wanted.below(Path::new("/own")), Path::new("/own/x/y"));
        let wanted = Wanted { inner: "/x/y".into(), absolute: true };
        assert_eq!(wanted.below(Path::new("/own")), Path::new("/x/y"));
    }

    #[test]
    fn a_hidden_part_of_the_own_path_is_cut_off() {
        let root = std::env::temp_dir().join(format!("cgroup-visible-{}", std::process::id()));
        std::fs::create_dir_all(root.join("inner/sub")).unwrap();
        assert_eq!(visible(&root, Path::new("/docker/x/inner/sub")), Path::new("/inner/sub"));
        assert_eq!(visible(&root, Path::new("/inner")), Path::new("/inner"));
        assert_eq!(visible(&root, Path::new("/docker/x")), Path::new("/"));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
