//! One registries.conf: TOML, checked field by field.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::credential_helper;
use super::{CredentialStore, Entry, Mirror, Serves, ShortNameMode};
use crate::error::{Error, Result};
use crate::reference::Reference;

/// What a file says; what it doesn't say is `None` or empty.
pub struct Parsed {
    pub search: Option<Vec<String>>,
    pub mode: Option<ShortNameMode>,
    pub credential_stores: Option<Vec<CredentialStore>>,
    /// A name without a target is one that an earlier file must not give.
    pub aliases: BTreeMap<String, Option<Reference>>,
    pub entries: Vec<Entry>,
}

/// Fields that nobody knows are passed by, as podman does.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    credential_helpers: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
    /// Version 1.
    registries: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct RegistryTable {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct MirrorTable {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

/// Reads a file's text.
pub fn parse(path: &Path, text: &str) -> Result<Parsed> {
    let bad = |reason: String| Error::Document { what: path.display().to_string(), reason };
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count();
        bad(format!("line {line}: {}", error.message()))
    })?;
    if file.registries.is_some() {
        return Err(bad("[registries] is version 1 of the format; write [[registry]]".into()));
    }
    let search = file.unqualified_search_registries.map(|hosts| {
        hosts.iter().map(|host| location("unqualified-search-registries", host)).collect()
    });
    let mode =
        file.short_name_mode.as_deref().filter(|mode| !mode.is_empty()).map(|mode| match mode {
            "enforcing" => Ok(ShortNameMode::Enforcing),
            "permissive" => Ok(ShortNameMode::Permissive),
            "disabled" => Ok(ShortNameMode::Disabled),
            other => {
                Err(format!("short-name-mode '{other}' is not enforcing, permissive or disabled"))
            }
        });
    let stores = file.credential_helpers.iter().map(|name| credential_store(name)).collect();
    let stores: Vec<CredentialStore> = Result::map_err(stores, bad)?;
    let aliases = file.aliases.iter().map(|(name, target)| alias(name, target)).collect();
    let entries = file.registry.into_iter().map(|table| entry(table, path)).collect();
    let mut parsed = Parsed {
        search: search.transpose().map_err(bad)?,
        mode: mode.transpose().map_err(bad)?,
        credential_stores: (!stores.is_empty()).then_some(stores),
        aliases: Result::map_err(aliases, bad)?,
        entries: Vec::new(),
    };
    for entry in Result::<Vec<Entry>, String>::map_err(entries, bad)? {
        match parsed.entries.iter().find(|other| other.prefix == entry.prefix) {
            Some(other) if *other != entry => {
                return Err(bad(format!("two [[registry]] of prefix '{}' differ", entry.prefix)));
            }
            Some(_) => {}
            None => parsed.entries.push(entry),
        }
    }
    Ok(parsed)
}

fn credential_store(name: &str) -> Result<CredentialStore, String> {
    match name {
        "containers-auth.json" => Ok(CredentialStore::AuthFiles),
        name if credential_helper::is_name(name) => Ok(CredentialStore::Helper(name.to_owned())),
        other => Err(format!("credential-helpers '{}' is no helper's name", other.escape_debug())),
    }
}

fn alias(name: &str, target: &str) -> Result<(String, Option<Reference>), String> {
    let bare = |text: &str| {
        let reference = Reference::parse(text).map_err(|error| format!("aliases: {error}"))?;
        match text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':')) {
            true => Err(format!("aliases: '{text}' must have neither tag nor digest")),
            false => Ok(reference),
        }
    };
    bare(name)?;
    if !Reference::is_short(name) {
        return Err(format!("aliases: '{name}' is no short name"));
    }
    if target.is_empty() {
        return Ok((name.to_owned(), None));
    }
    match Reference::is_short(target) {
        true => Err(format!("aliases: '{target}' for {name} names no registry")),
        false => Ok((name.to_owned(), Some(bare(target)?))),
    }
}

fn entry(table: RegistryTable, path: &Path) -> Result<Entry, String> {
    let prefix = match (table.prefix.as_str(), table.location.as_str()) {
        ("", "") => return Err("a [[registry]] has neither prefix nor location".into()),
        ("", own) => own,
        (prefix, _) => prefix,
    };
    if prefix.contains('*') && (!prefix.starts_with("*.") || prefix[1..].contains('*')) {
        return Err(format!("prefix '{prefix}': a * only stands at its beginning, as in *.a.io"));
    }
    let mirrors = table.mirror.iter().map(|mirror| {
        let only = table.mirror_by_digest_only;
        let serves = match mirror.pull_from_mirror.as_str() {
            "" if only => Serves::Digests,
            "" | "all" if !only => Serves::All,
            "digest-only" if !only => Serves::Digests,
            "tag-only" if !only => Serves::Tags,
            "all" | "digest-only" | "tag-only" => {
                return Err(format!(
                    "mirror-by-digest-only and pull-from-mirror are both set for '{prefix}'"
                ));
            }
            other => {
                return Err(format!(
                    "pull-from-mirror '{other}' is not all, digest-only or tag-only"
                ));
            }
        };
        let location = location("mirror location", &mirror.location)?;
        Ok(Mirror { location, insecure: mirror.insecure, serves })
    });
    let location = match table.location.as_str() {
        "" if prefix.starts_with("*.") => None,
        own => Some(location("location", own)?),
    };
    Ok(Entry {
        prefix: self::location("prefix", prefix)?,
        location,
        insecure: table.insecure,
        blocked: table.blocked,
        mirrors: mirrors.collect::<Result<_, String>>()?,
        file: path.to_owned(),
    })
}

/// A host, perhaps with a path: no URL.
fn location(field: &str, text: &str) -> Result<String, String> {
    let location = text.trim_end_matches('/');
    let word = |c: char| c.is_ascii_alphanumeric() || "-._:/@[]*".contains(c);
    if location.is_empty() || location.contains("://") || !location.chars().all(word) {
        return Err(format!("{field} '{}' is no host or host/path", text.escape_debug()));
    }
    Ok(location.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_files() {
        for (text, words) in [
            ("x = ", "line 1"),
            ("\n\n[[registry]]\nlocation = 1", "line 4: invalid type"),
            ("[registries.search]\nregistries = []", "version 1"),
            ("[[registry]]\ninsecure = true", "neither prefix nor location"),
            ("[[registry]]\nlocation = \"https://a.io\"", "location 'https://a.io'"),
            ("[[registry]]\nprefix = \"a.*.io\"\nlocation = \"b.io\"", "a * only stands"),
            ("[[registry]]\nprefix = \"a.io\"", "location ''"),
            ("[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]", "mirror location ''"),
            (
                "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"b.io\"\npull-from-mirror = \"x\"",
                "pull-from-mirror 'x'",
            ),
            (
                "[[registry]]\nlocation = \"a.io\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b.io\"\npull-from-mirror = \"all\"",
                "both set for 'a.io'",
            ),
            (
                "[[registry]]\nlocation = \"a.io\"\n[[registry]]\nlocation = \"a.io\"\nblocked = true",
                "two [[registry]] of prefix 'a.io'",
            ),
            ("short-name-mode = \"maybe\"", "short-name-mode 'maybe'"),
            ("credential-helpers = [\"../x\"]", "credential-helpers '../x'"),
            ("credential-helpers = [\"\"]", "credential-helpers ''"),
            ("unqualified-search-registries = [\"https://a.io\"]", "unqualified-search-registries"),
            ("[aliases]\n\"a.io/x\" = \"b.io/x\"", "'a.io/x' is no short name"),
            ("[aliases]\nx = \"library/x\"", "names no registry"),
            ("[aliases]\nx = \"a.io/x:1\"", "neither tag nor digest"),
            ("[aliases]\n\"x:1\" = \"a.io/x\"", "neither tag nor digest"),
        ] {
            let error = parse(Path::new("r.conf"), text).err().unwrap().to_string();
            assert!(error.starts_with("r.conf: ") && error.contains(words), "{error} for {text}");
        }
    }
}
