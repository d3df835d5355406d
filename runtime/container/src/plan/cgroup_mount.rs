//! A mount of type `cgroup`: the control groups as the container sees them.

use std::ffi::CString;
use std::path::PathBuf;

use cgroup::Hierarchy;

use super::mount::{Surroundings, cut_off};
use super::{flag, mount_options};
use crate::error::Error;
use crate::host_tree::HostTree;

/// What a `cgroup` mount shows.
#[derive(Debug)]
pub(crate) enum CgroupMount {
    /// The one hierarchy; the host's mount of it, for a container without a cgroup namespace: a
    /// mount of its own would reset the options of the host's.
    V2 { host: Option<HostTree> },
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

pub(super) fn plan(all: &Surroundings<'_>) -> Result<CgroupMount, Error> {
    let private = all.namespaces.has(flag::CGROUP);
    let tree = |path: PathBuf| {
        HostTree::new(&path, false, [cut_off(mount_options::propagation::PRIVATE, false).into()])
    };
    let cgroup = all.input.cgroup;
    let mut hierarchies = cgroup.hierarchies().iter().chain(cgroup.inherited());
    if all.input.cgroup.mode() == cgroup::Mode::V2 {
        let host = hierarchies.next().filter(|_| !private).map(Hierarchy::mount_point);
        return Ok(CgroupMount::V2 { host: host.map(tree).transpose()? });
    }
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
