//! A mount of type `cgroup`: the control groups as the container sees them.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::flag;
use super::mount::{Filesystem, One, Surroundings, cut_off, filesystem};
use super::mount_options::{self, Options};
use crate::error::Error;
use crate::host_tree::HostTree;

/// What a `cgroup` mount shows.
#[derive(Debug)]
pub(crate) enum CgroupMount {
    /// The one hierarchy, for a container with a cgroup namespace: a mount of its own, or where the
    /// kernel refuses that its group's directory.
    V2 { filesystem: Filesystem, own: CString },
    /// The host's mount of it, for a container without: a mount of its own would reset the options
    /// of the host's.
    V2Host(HostTree),
    /// A directory each, on a tmpfs with this label.
    V1 { hierarchies: Vec<V1Mount>, links: Vec<(String, String)>, label: Option<CString> },
}

/// One v1 hierarchy.
#[derive(Debug)]
pub(crate) struct V1Mount {
    /// The name of its directory.
    pub directory: String,
    /// The mount options that name it, for a container with a cgroup namespace.
    pub options: Vec<CString>,
    /// The container's own directory, for one without.
    pub own: Option<HostTree>,
}

pub(super) fn plan(
    one: &One<'_>,
    options: &Options,
    all: &Surroundings<'_>,
) -> Result<CgroupMount, Error> {
    let private = all.namespaces.has(flag::CGROUP);
    let tree = |path: PathBuf| {
        HostTree::new(&path, false, [cut_off(mount_options::propagation::PRIVATE, false).into()])
    };
    let cgroup = all.input.cgroup;
    let mut hierarchies = cgroup.hierarchies().iter().chain(cgroup.inherited());
    let unified = hierarchies.next().filter(|_| cgroup.mode() == cgroup::Mode::V2);
    if let Some(hierarchy) = unified.filter(|_| private) {
        let own = CString::new(hierarchy.dir().into_os_string().into_vec())
            .map_err(|_| Error::invalid("linux.cgroupsPath", "has a NUL byte"))?;
        let mut filesystem = filesystem(one, "cgroup2", options, all)?;
        // The groups have labels of their own.
        filesystem.label = None;
        return Ok(CgroupMount::V2 { filesystem, own });
    }
    if !options.data.is_empty() {
        let words = options.data.join(",");
        let reason = format!("{words:?} would change the control groups of the whole machine");
        return Err(one.invalid("options", reason));
    }
    if let Some(hierarchy) = unified {
        return Ok(CgroupMount::V2Host(tree(hierarchy.mount_point())?));
    }
    let hierarchies = cgroup.hierarchies().iter().chain(cgroup.inherited());
    let mut list = Vec::new();
    let mut links = Vec::new();
    for hierarchy in hierarchies.filter(|hierarchy| !hierarchy.is_unified()) {
        let directory = hierarchy.name().to_owned();
        links.extend(hierarchy.links().map(|link| (link.to_owned(), directory.clone())));
        let data =
            |word: &str| CString::new(word).map_err(|_| Error::invalid("mounts", "NUL byte"));
        let options = hierarchy.mount_data().split(',').map(data).collect::<Result<_, _>>()?;
        let own = (!private).then(|| tree(hierarchy.dir())).transpose()?;
        list.push(V1Mount { directory, options, own });
    }
    Ok(CgroupMount::V1 { hierarchies: list, links, label: all.label.clone() })
}
