//! Names without a registry: which full names they may mean.

use super::{Registries, ShortNameMode, aliases};
use crate::error::{Error, Result};
use crate::reference::Reference;

impl Registries {
    /// All names that `text` may mean, the likeliest first: its alias alone, else one in each registry
    /// of `unqualified-search-registries`, else the one of Docker Hub.
    ///
    /// # Errors
    /// Those of [`Reference::parse`].
    pub fn names(&self, text: &str) -> Result<Vec<Reference>> {
        let plain = Reference::parse(text)?;
        if text.starts_with("docker://") || !Reference::is_short(text) {
            return Ok(vec![plain]);
        }
        let (tag, digest) = (plain.tag.clone(), plain.digest);
        if let Some(alias) = self.aliases.get(without_version(text)) {
            return Ok(vec![Reference { tag, digest, ..alias.clone() }]);
        }
        match self.search.as_slice() {
            [] => Ok(vec![plain]),
            hosts => hosts.iter().map(|host| Reference::parse(&format!("{host}/{text}"))).collect(),
        }
    }

    /// What is to be pulled by `text`.
    ///
    /// # Errors
    /// Those of [`Self::names`].
    pub fn meaning(&self, text: &str) -> Result<Meaning> {
        let names = self.names(text)?;
        Ok(match self.mode {
            ShortNameMode::Disabled => Meaning::Names(names),
            _ if names.len() < 2 => Meaning::Names(names),
            mode => Meaning::Choice(Ambiguous {
                text: text.to_owned(),
                names,
                required: mode == ShortNameMode::Enforcing,
            }),
        })
    }
}

/// What a name means to a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// These, one after the other.
    Names(Vec<Reference>),
    /// One that somebody chooses.
    Choice(Ambiguous),
}

/// A short name that several registries may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    text: String,
    /// What it may mean, the likeliest first.
    pub names: Vec<Reference>,
    required: bool,
}

impl Ambiguous {
    /// The names to try where there is nobody to choose.
    ///
    /// # Errors
    /// [`Error::Document`] if `short-name-mode` wants somebody to.
    pub fn without_asking(self) -> Result<Vec<Reference>> {
        if !self.required {
            return Ok(self.names);
        }
        let all: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        Err(self.refused(format!(
            "may be {}, and short-name-mode is enforcing: write the whole name",
            all.join(" or ")
        )))
    }

    /// An error about the name.
    #[must_use]
    pub fn refused(&self, reason: String) -> Error {
        Error::Document { what: format!("short name '{}'", self.text.escape_debug()), reason }
    }

    /// Notes what was chosen, for the next time.
    ///
    /// # Errors
    /// Those of the file with the aliases.
    pub fn note(&self, chosen: &Reference) -> Result<()> {
        aliases::note(without_version(&self.text), chosen)
    }
}

/// The name without tag and digest.
fn without_version(text: &str) -> &str {
    &text[..text.find([':', '@']).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Registries, file};
    use super::Meaning;

    fn registries(text: &str) -> Registries {
        Registries::default().over(file::parse(Path::new("r.conf"), text).unwrap())
    }

    #[test]
    fn what_short_names_mean() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let by_digest = format!("alpine@sha256:{hex}");
        let full = format!("quay.io/my/alpine@sha256:{hex}");
        let search = registries(
            "unqualified-search-registries = [\"a.io\", \"docker.io\"]\n[aliases]\nalpine = \"quay.io/my/alpine\"\n\"my/x\" = \"b.io/x\"",
        );
        for (text, expected) in [
            ("alpine", &["quay.io/my/alpine:latest"][..]),
            ("alpine:3", &["quay.io/my/alpine:3"]),
            (&by_digest, &[&full]),
            ("my/x", &["b.io/x:latest"]),
            ("x", &["a.io/x:latest", "docker.io/library/x:latest"]),
            ("other/x:1", &["a.io/other/x:1", "docker.io/other/x:1"]),
            ("docker://alpine", &["docker.io/library/alpine:latest"]),
            ("docker.io/alpine", &["docker.io/library/alpine:latest"]),
            ("localhost/x", &["localhost/x:latest"]),
        ] {
            let names = search.names(text).unwrap();
            let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{text}");
            match search.meaning(text).unwrap() {
                Meaning::Names(meant) => assert!(meant == names && names.len() == 1, "{text}"),
                Meaning::Choice(choice) => {
                    assert_eq!(choice.names, names);
                    assert_eq!(choice.without_asking().unwrap(), names);
                }
            }
        }
        let none = Registries::default().names("x").unwrap();
        assert_eq!(none[0].to_string(), "docker.io/library/x:latest");
        let enforcing = registries(
            "short-name-mode = \"enforcing\"\nunqualified-search-registries = [\"a.io\", \"b.io\"]",
        );
        let Meaning::Choice(choice) = enforcing.meaning("x").unwrap() else { panic!() };
        let error = choice.without_asking().unwrap_err().to_string();
        assert!(error.contains("may be a.io/x:latest or b.io/x:latest"), "{error}");
        assert_eq!(enforcing.names("x").unwrap().len(), 2);
        let disabled = registries(
            "short-name-mode = \"disabled\"\nunqualified-search-registries = [\"a.io\", \"b.io\"]",
        );
        assert!(matches!(disabled.meaning("x"), Ok(Meaning::Names(names)) if names.len() == 2));
        let one = registries(
            "short-name-mode = \"enforcing\"\nunqualified-search-registries = [\"a.io\"]",
        );
        assert!(matches!(one.meaning("x"), Ok(Meaning::Names(names)) if names.len() == 1));
        // An alias that a later file takes back.
        let taken = search.over(file::parse(Path::new("s"), "[aliases]\nalpine = \"\"").unwrap());
        assert_eq!(taken.names("alpine").unwrap().len(), 2);
    }
}
