//! Whose a container's cgroup is: see config-linux.md, "Cgroup ownership".

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Mount, Spec};

use super::relative;

/// The user, as the host numbers it, who is to have the container's v2 cgroup: the one that runs its
/// process, where that sees the cgroup as the root of a namespace of its own and may write to it.
pub(crate) fn cgroup_owner(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let mut mounts = spec.mounts().iter().flatten();
    if !is_new(linux, LinuxNamespaceType::Cgroup)? || !mounts.any(is_writable) {
        return None;
    }
    let uid = spec.process().as_ref()?.user().uid();
    if is_new(linux, LinuxNamespaceType::User).is_none() {
        return Some(uid);
    }
    linux.uid_mappings().iter().flatten().find_map(|mapping| {
        let offset = uid.checked_sub(mapping.container_id())?;
        (offset < mapping.size()).then(|| mapping.host_id().checked_add(offset)).flatten()
    })
}

/// Whether the container gets a new namespace of a kind; none when it shares the runtime's.
fn is_new(linux: &Linux, kind: LinuxNamespaceType) -> Option<bool> {
    let mut namespaces = linux.namespaces().iter().flatten();
    let namespace = namespaces.find(|namespace| namespace.typ() == kind)?;
    Some(namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty()))
}

fn is_writable(mount: &Mount) -> bool {
    mount.source().as_deref() == Some(Path::new("cgroup"))
        && relative(&mount.destination().to_string_lossy()) == "sys/fs/cgroup"
        && !mount.options().iter().flatten().any(|option| option == "ro")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(namespaces: &str, options: &str, uid: u32) -> Option<u32> {
        let json = format!(
            r#"{{
                "ociVersion": "1.0.2",
                "process": {{"user": {{"uid": {uid}, "gid": 0}}, "cwd": "/"}},
                "mounts": [{{
                    "destination": "/sys/fs/cgroup/", "type": "cgroup", "source": "cgroup",
                    "options": [{options}]
                }}],
                "linux": {{
                    "namespaces": [{namespaces}],
                    "uidMappings": [
                        {{"containerID": 0, "hostID": 100000, "size": 10}},
                        {{"containerID": 10, "hostID": 7, "size": 1}}
                    ]
                }}
            }}"#
        );
        cgroup_owner(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn the_process_has_what_it_may_write() {
        const BOTH: &str = r#"{"type": "cgroup"}, {"type": "user"}"#;
        for (namespaces, options, uid, expected) in [
            (BOTH, r#""rw""#, 0, Some(100_000)),
            (BOTH, "", 9, Some(100_009)),
            (BOTH, "", 10, Some(7)),
            // Not mapped; not writable; not a namespace of its own.
            (BOTH, "", 11, None),
            (BOTH, r#""nosuid", "ro""#, 0, None),
            (r#"{"type": "cgroup", "path": "/x"}, {"type": "user"}"#, "", 0, None),
            (r#"{"type": "user"}"#, "", 0, None),
            // The host's own users.
            (r#"{"type": "cgroup"}"#, "", 5, Some(5)),
        ] {
            assert_eq!(owner(namespaces, options, uid), expected, "{namespaces} {options} {uid}");
        }
    }
}
