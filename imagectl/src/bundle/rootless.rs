//! What a config.json must be for a container in a user namespace of its own.

use serde_json::{Value, json};

use super::id_map::IdMaps;
use super::user::ProcessUser;
use crate::error::{Error, Result};

/// Turns a config for root into one for a user without privileges, as `runc spec --rootless` does: a user
/// namespace, and nothing that needs rights outside of it. The network stays the container's own.
///
/// # Errors
/// [`Error::User`] if the process' user has no ID in the namespace.
pub fn adapt(spec: &mut Value, maps: &IdMaps, user: &ProcessUser) -> Result<()> {
    if !maps.have(user.uid, user.gid) {
        return Err(Error::User {
            user: format!("{}:{}", user.uid, user.gid),
            reason:
                "is not mapped in the user namespace; /etc/subuid and /etc/subgid give no such \
                     range, and newuidmap and newgidmap would be needed; or use --user 0"
                    .into(),
        });
    }
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "user" }));
    }
    spec["linux"]["uidMappings"] = json!(maps.uids);
    spec["linux"]["gidMappings"] = json!(maps.gids);
    // Device rules need rights over the control group; the devices themselves can't be made anyway.
    if let Some(resources) = spec["linux"]["resources"].as_object_mut() {
        resources.remove("devices");
    }
    // Groups can't be set where nobody maps them.
    if maps.gids.len() == 1
        && maps.gids[0].size == 1
        && let Some(user) = spec["process"]["user"].as_object_mut()
    {
        user.remove("additionalGids");
    }
    let shares_network = !has_namespace(spec, "network");
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        for mount in mounts {
            adapt_mount(mount, maps, shares_network);
        }
    }
    Ok(())
}

/// Has the runtime mount the overlay over the root, before all else.
pub fn mount_root(spec: &mut Value, options: &[String]) {
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        let mount = json!({ "destination": "/", "type": "overlay", "source": "overlay",
            "options": options });
        mounts.insert(0, mount);
    }
}

fn has_namespace(spec: &Value, kind: &str) -> bool {
    let namespaces = spec["linux"]["namespaces"].as_array();
    namespaces.into_iter().flatten().any(|namespace| namespace["type"] == kind)
}

fn adapt_mount(mount: &mut Value, maps: &IdMaps, shares_network: bool) {
    if mount["destination"] == "/sys" && shares_network {
        // sysfs belongs to the network namespace; a user namespace may not mount the host's.
        *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
        return;
    }
    if let Some(options) = mount["options"].as_array_mut() {
        options.retain(|option| {
            let id = option.as_str().and_then(|text| text.strip_prefix("gid="));
            id.is_none_or(|gid| gid.parse().is_ok_and(|gid| maps.have(0, gid)))
        });
    }
}
