//! The mappings of a bind mount that translates ids: its own, or the container's.

use super::mount::One;
use super::mount_options::Options;
use super::{Namespaces, flag, id_map};
use crate::error::Error;
use crate::idmap::IdMap;
use crate::report::each;

/// None for a mount that translates nothing.
pub(super) fn plan(
    one: &One<'_>,
    options: &Options,
    bind: bool,
    namespaces: &Namespaces,
) -> Result<Option<IdMap>, Error> {
    let uids = one.mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = one.mount.gid_mappings().as_deref().unwrap_or_default();
    let given = !uids.is_empty() || !gids.is_empty();
    let (field, word) = match options.idmap {
        Some(true) => ("options", "\"ridmap\""),
        Some(false) => ("options", "\"idmap\""),
        None if !uids.is_empty() => ("uidMappings", "the mapping"),
        None if given => ("gidMappings", "the mapping"),
        None => return Ok(None),
    };
    if !bind || options.remount {
        return Err(one.invalid(field, format!("{word} is for new bind mounts only")));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(one.invalid(field, format!("{word} needs the privileges of root")));
    }
    let maps = match (uids.is_empty(), gids.is_empty()) {
        (false, false) => {
            let checks = [("uidMappings", uids), ("gidMappings", gids)];
            each(checks.into_iter().map(|(name, maps)| id_map::check(&one.field(name), maps)))?;
            Some((id_map::text(uids), id_map::text(gids)))
        }
        (true, true) if namespaces.has(flag::USER) => None,
        (true, true) => {
            let reason = format!(
                "{word} takes uidMappings and gidMappings, or a user namespace of the container"
            );
            return Err(one.invalid(field, reason));
        }
        (true, false) => return Err(one.invalid("uidMappings", "missing: gidMappings are given")),
        (false, true) => return Err(one.invalid("gidMappings", "missing: uidMappings are given")),
    };
    // As long as they are the same, the container's own will do.
    let maps = maps.filter(|maps| namespaces.id_maps.as_ref() != Some(maps));
    Ok(Some(IdMap { recursive: options.idmap == Some(true), maps }))
}
