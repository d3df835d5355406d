//! Names without a registry: which full names they may mean.

use super::{Registries, ShortNameMode};
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
        let end = text.find([':', '@']).unwrap_or(text.len());
        if let Some(alias) = self.aliases.get(&text[..end]) {
            return Ok(vec![Reference { tag, digest, ..alias.clone() }]);
        }
        match self.search.as_slice() {
            [] => Ok(vec![plain]),
            hosts => hosts.iter().map(|host| Reference::parse(&format!("{host}/{text}"))).collect(),
        }
    }

    /// The names to pull `text` by, one after the other.
    ///
    /// # Errors
    /// [`Error::Document`] if there are several and `short-name-mode` wants somebody to choose, or those of
    /// [`Self::names`].
    pub fn candidates(&self, text: &str) -> Result<Vec<Reference>> {
        let names = self.names(text)?;
        match self.mode {
            ShortNameMode::Enforcing if names.len() > 1 => {
                let all: Vec<String> = names.iter().map(ToString::to_string).collect();
                Err(Error::Document {
                    what: format!("short name '{}'", text.escape_debug()),
                    reason: format!(
                        "may be {}, and short-name-mode is enforcing: write the whole name",
                        all.join(" or ")
                    ),
                })
            }
            _ => Ok(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Registries, file};

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
            assert_eq!(search.candidates(text).unwrap(), names);
        }
        let none = Registries::default().names("x").unwrap();
        assert_eq!(none[0].to_string(), "docker.io/library/x:latest");
        let enforcing = registries(
            "short-name-mode = \"enforcing\"\nunqualified-search-registries = [\"a.io\", \"b.io\"]",
        );
        let error = enforcing.candidates("x").unwrap_err().to_string();
        assert!(error.contains("may be a.io/x:latest or b.io/x:latest"), "{error}");
        assert_eq!(enforcing.names("x").unwrap().len(), 2);
        // An alias that a later file takes back.
        let taken = search.over(file::parse(Path::new("s"), "[aliases]\nalpine = \"\"").unwrap());
        assert_eq!(taken.names("alpine").unwrap().len(), 2);
    }
}
