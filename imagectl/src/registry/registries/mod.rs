//! containers-registries.conf(5): which registries stand for which names, and what may be done with them.
//! Read as podman and skopeo read it. Version 1 of the format is refused.

mod aliases;
mod file;
mod places;
mod short_name;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::reference::Reference;

pub use short_name::{Ambiguous, Meaning};

/// What all files say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Where names without a registry are looked for, in this order.
    search: Vec<String>,
    mode: ShortNameMode,
    /// Where credentials are looked for, in this order; empty for the auth files.
    credential_stores: Vec<CredentialStore>,
    /// Full repositories by short name.
    aliases: BTreeMap<String, Reference>,
    entries: Vec<Entry>,
}

/// What is done with a name that several registries may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ShortNameMode {
    /// Somebody at a terminal chooses; where nobody is, it is refused.
    Enforcing,
    /// Somebody chooses; where nobody is, one after the other is tried.
    #[default]
    Permissive,
    /// One after the other is tried.
    Disabled,
}

/// An entry of `credential-helpers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialStore {
    /// The auth files of podman and Docker: `containers-auth.json`.
    AuthFiles,
    /// `docker-credential-NAME`.
    Helper(String),
}

/// A `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// What a name must begin with: a host, a host with a path, or `*.` and a domain.
    prefix: String,
    /// What is put in the prefix' place.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    /// Where it is written.
    file: PathBuf,
}

/// A `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    serves: Serves,
}

/// For which names a mirror is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    All,
    Digests,
    Tags,
}

/// A place that may have an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The image's name there.
    pub reference: Reference,
    /// Certificates need not be right there, and plain HTTP will do.
    pub insecure: bool,
}

impl Registries {
    /// Reads the files where containers-registries.conf(5) has them.
    ///
    /// # Errors
    /// [`Error::Document`] naming the file and what is wrong with it, or [`Error::Io`].
    pub fn load() -> Result<Self> {
        let registries =
            places::files()?.iter().try_fold(Self::default(), |all, (path, text)| {
                Ok::<_, Error>(all.over(file::parse(path, text)?))
            })?;
        registries.with_noted_aliases()
    }

    /// Where credentials are looked for, in this order.
    #[must_use]
    pub fn credential_stores(&self) -> &[CredentialStore] {
        match self.credential_stores.as_slice() {
            [] => &[CredentialStore::AuthFiles],
            stores => stores,
        }
    }

    /// Puts what a later file says over what is known.
    fn over(mut self, later: file::Parsed) -> Self {
        self.search = later.search.unwrap_or(self.search);
        self.mode = later.mode.unwrap_or(self.mode);
        self.credential_stores = later.credential_stores.unwrap_or(self.credential_stores);
        self.put_aliases(later.aliases);
        self.entries.retain(|entry| later.entries.iter().all(|new| new.prefix != entry.prefix));
        self.entries.extend(later.entries);
        self
    }

    fn put_aliases(&mut self, aliases: BTreeMap<String, Option<Reference>>) {
        for (name, target) in aliases {
            match target {
                Some(target) => drop(self.aliases.insert(name, target)),
                None => drop(self.aliases.remove(&name)),
            }
        }
    }

    /// The places to pull an image from, mirrors first.
    ///
    /// # Errors
    /// [`Error::Document`] if its registry is blocked, or if a name makes no sense at the place.
    pub fn sources(&self, reference: &Reference) -> Result<Vec<Source>> {
        let Some((entry, matched)) = self.entry(&reference.to_string())? else {
            return Ok(vec![Source { reference: reference.clone(), insecure: false }]);
        };
        let mirrors = entry.mirrors.iter().filter(|mirror| match mirror.serves {
            Serves::All => true,
            Serves::Digests => reference.digest.is_some(),
            Serves::Tags => reference.digest.is_none(),
        });
        let mut sources: Vec<Source> = mirrors
            .map(|mirror| {
                let reference = entry.moved(reference, matched, &mirror.location)?;
                Ok(Source { reference, insecure: mirror.insecure })
            })
            .collect::<Result<_>>()?;
        let own = match &entry.location {
            Some(location) => entry.moved(reference, matched, location)?,
            None => reference.clone(),
        };
        sources.push(Source { reference: own, insecure: entry.insecure });
        Ok(sources)
    }

    /// Need the certificates of a registry, or of an image's, not be right? What is pushed goes where its
    /// name says: mirrors and locations are for pulls.
    ///
    /// # Errors
    /// [`Error::Document`] if it is blocked.
    pub fn insecure(&self, name: &str) -> Result<bool> {
        Ok(self.entry(name)?.is_some_and(|(entry, _)| entry.insecure))
    }

    /// The entry with the longest prefix of the name, and how much of the name that is.
    fn entry(&self, name: &str) -> Result<Option<(&Entry, usize)>> {
        let matching = self.entries.iter().filter_map(|entry| Some((entry, entry.matches(name)?)));
        match matching.max_by_key(|(_, length)| *length) {
            Some((entry, _)) if entry.blocked => Err(Error::Document {
                what: name.to_owned(),
                reason: format!("{} is blocked by {}", entry.prefix, entry.file.display()),
            }),
            found => Ok(found),
        }
    }
}

impl Entry {
    /// How much of the name the prefix covers, in bytes; `None` if it is for other names.
    fn matches(&self, name: &str) -> Option<usize> {
        let end = match self.prefix.strip_prefix('*') {
            // Any host of the domain, but nothing in a path.
            Some(domain) => {
                let at = name.find(domain)?;
                (!name[..at].contains('/')).then_some(at + domain.len())?
            }
            None => name.starts_with(&self.prefix).then_some(self.prefix.len())?,
        };
        name[end..].chars().next().is_none_or(|next| ":/@".contains(next)).then_some(end)
    }

    /// The name with `location` in the place of its first `matched` bytes.
    fn moved(&self, reference: &Reference, matched: usize, location: &str) -> Result<Reference> {
        let name = format!("{location}{}", &reference.to_string()[matched..]);
        Reference::parse(&name).map_err(|error| Error::Document {
            what: self.file.display().to_string(),
            reason: format!("location '{location}' for {reference}: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn registries(files: &[&str]) -> Registries {
        files.iter().fold(Registries::default(), |registries, text| {
            registries.over(file::parse(Path::new("r.conf"), text).unwrap())
        })
    }

    fn sources(registries: &Registries, name: &str) -> Vec<String> {
        let sources = registries.sources(&Reference::parse(name).unwrap()).unwrap();
        let show = |s: &Source| format!("{}{}", s.reference, if s.insecure { "!" } else { "" });
        sources.iter().map(show).collect()
    }

    #[test]
    fn prefixes_and_locations() {
        let registries = registries(&[r#"
            [[registry]]
            location = "quay.io"
            insecure = true
            [[registry]]
            prefix = "quay.io/org"
            location = "127.0.0.1:5000/mirror/org"
            [[registry]]
            prefix = "docker.io/library"
            location = "hub.internal/lib"
            [[registry]]
            prefix = "*.example.com"
            insecure = true
            [[registry]]
            prefix = "*.deep.example.com"
            location = "one.io/deep"
            [[registry]]
            prefix = "ghcr.io/a/b:1"
            location = "one.io/b:2"
        "#]);
        for (name, expected) in [
            ("quay.io/x", "quay.io/x:latest!"),
            ("quay.io:443/x", "quay.io:443/x:latest!"),
            ("quay.io/org/x:1", "127.0.0.1:5000/mirror/org/x:1"),
            ("quay.io/organ/x", "quay.io/organ/x:latest!"),
            ("notquay.io/x", "notquay.io/x:latest"),
            ("quay.io.evil.com/x", "quay.io.evil.com/x:latest"),
            ("alpine", "hub.internal/lib/alpine:latest"),
            ("a.example.com/x", "a.example.com/x:latest!"),
            ("a.b.example.com:5000/x", "a.b.example.com:5000/x:latest!"),
            ("example.com/x", "example.com/x:latest"),
            ("evil.io/a.example.com/x", "evil.io/a.example.com/x:latest"),
            ("a.deep.example.com/x", "one.io/deep/x:latest"),
            ("ghcr.io/a/b:1", "one.io/b:2"),
            ("ghcr.io/a/b:12", "ghcr.io/a/b:12"),
        ] {
            assert_eq!(sources(&registries, name), [expected], "{name}");
        }
    }

    #[test]
    fn mirrors_come_first() {
        let registries = registries(&[r#"
            [[registry]]
            location = "quay.io"
            [[registry.mirror]]
            location = "all.io/q"
            insecure = true
            [[registry.mirror]]
            location = "digests.io"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "tags.io"
            pull-from-mirror = "tag-only"
            [[registry]]
            location = "ghcr.io"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "d.io"
        "#]);
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            sources(&registries, "quay.io/x"),
            ["all.io/q/x:latest!", "tags.io/x:latest", "quay.io/x:latest"]
        );
        let by_digest = format!("x@sha256:{hex}");
        assert_eq!(
            sources(&registries, &format!("quay.io/{by_digest}")),
            [
                format!("all.io/q/{by_digest}!"),
                format!("digests.io/{by_digest}"),
                format!("quay.io/{by_digest}")
            ]
        );
        assert_eq!(sources(&registries, "ghcr.io/x"), ["ghcr.io/x:latest"]);
        assert_eq!(sources(&registries, &format!("ghcr.io/{by_digest}")).len(), 2);
    }

    #[test]
    fn blocked_ones_and_later_files() {
        let registries = registries(&[
            "[[registry]]\nlocation = \"a.io\"\nblocked = true\n[[registry]]\nlocation = \"b.io\"\nblocked = true",
            "[[registry]]\nlocation = \"b.io\"\n[[registry]]\nlocation = \"a.io/open\"",
        ]);
        let blocked = registries.sources(&Reference::parse("a.io/x").unwrap()).unwrap_err();
        assert_eq!(blocked.to_string(), "a.io/x:latest: a.io is blocked by r.conf");
        assert!(registries.insecure("a.io").is_err());
        assert_eq!(sources(&registries, "a.io/open/x"), ["a.io/open/x:latest"]);
        assert_eq!(sources(&registries, "b.io/x"), ["b.io/x:latest"]);
    }
}
