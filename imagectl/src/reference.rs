//! Image names as people write them, brought to their full form by Docker Hub's rules.

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// The registry that a name without a host means.
pub const DOCKER_HUB: &str = "docker.io";

/// A full image name: `host/repository`, and a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host and optional port, as in `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub registry: String,
    /// Path inside the registry, as in `library/alpine`.
    pub repository: String,
    /// The tag; `latest` where neither tag nor digest was written.
    pub tag: Option<String>,
    /// The digest, which decides where a tag is written too.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Parses a name such as `alpine`, `ghcr.io/org/app:1.2`, `[::1]:5000/x@sha256:…`.
    ///
    /// # Errors
    /// [`Error::Reference`] saying which rule the name breaks, or [`Error::Digest`].
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason| Error::Reference { text: text.escape_debug().to_string(), reason };
        let name = text.strip_prefix("docker://").unwrap_or(text);
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest)?)),
            None => (name, None),
        };
        let (registry, rest) = split_registry(name);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if let Some(registry) = registry {
            check_registry(registry).map_err(bad)?;
        }
        check_path(path).map_err(bad)?;
        if let Some(tag) = tag {
            check_tag(tag).map_err(bad)?;
        }
        if registry.is_none() && path.len() == 64 && path.bytes().all(is_lower_hex) {
            return Err(bad("64 hex digits are an image ID, not a name"));
        }
        let registry = match registry {
            None | Some("index.docker.io") => DOCKER_HUB,
            Some(registry) => registry,
        };
        let repository = if registry == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let tag = match (tag, digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// Does the text name no registry, so that it may mean any?
    #[must_use]
    pub fn is_short(text: &str) -> bool {
        split_registry(text).0.is_none()
    }

    /// The name without tag and digest: `docker.io/library/alpine`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What the registry's manifest URL ends in: the digest if there is one, else the tag.
    #[must_use]
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }

    /// The last part of the repository: `alpine` of `docker.io/library/alpine`.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The first component is a host if it has a dot, a port or brackets, is `localhost`, or has an
/// upper-case letter (a repository never has one).
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '['])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let port = if let Some(inner) = registry.strip_prefix('[') {
        let (address, port) = inner.split_once(']').ok_or("the registry's [ has no ]")?;
        address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| "the registry's brackets hold no IPv6 address")?;
        match port {
            "" => None,
            _ => Some(port.strip_prefix(':').ok_or("the registry's ] is followed by no port")?),
        }
    } else {
        let (host, port) = match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        };
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !host.split('.').all(label) {
            return Err("the registry is no host name");
        }
        port
    };
    match port {
        Some(port) if port.parse::<u16>().is_err() || !port.bytes().all(|b| b.is_ascii_digit()) => {
            Err("the registry's port is no number from 0 to 65535")
        }
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the repository is empty");
    }
    if path.len() > 255 {
        return Err("the repository is longer than 255 characters");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository must be lower case");
    }
    match path.split('/').all(is_path_component) {
        true => Ok(()),
        false => {
            Err("the repository's parts are a-z and 0-9, parted by one '.', '_', '__' or '-'s")
        }
    }
}

/// `[a-z0-9]+` runs joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = part.as_bytes();
    loop {
        let run = rest.iter().take_while(|b| alphanumeric(**b)).count();
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|b| !alphanumeric(**b)).count();
        let valid = matches!(&rest[..separator], b"." | b"_" | b"__")
            || rest[..separator].iter().all(|b| *b == b'-');
        if !valid {
            return false;
        }
        rest = &rest[separator..];
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if valid { Ok(()) } else { Err("a tag is up to 128 of A-Z a-z 0-9 _ . -, not begun by . or -") }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn full_names() {
        let long = format!("x@sha256:{HEX}");
        let both = format!("quay.io/a/b:t@sha256:{HEX}");
        let long_full = format!("docker.io/library/x@sha256:{HEX}");
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("library/alpine", "docker.io/library/alpine:latest"),
            ("org/app", "docker.io/org/app:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
            ("docker://alpine", "docker.io/library/alpine:latest"),
            ("docker.io/org/app:1", "docker.io/org/app:1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"),
            ("[::1]:5000/x:t", "[::1]:5000/x:t"),
            ("[fe80::1]/x", "[fe80::1]/x:latest"),
            ("ghcr.io/x", "ghcr.io/x:latest"),
            ("UPPER/x", "UPPER/x:latest"),
            ("host:80/x:80", "host:80/x:80"),
            ("a-b/c__d.e--f", "docker.io/a-b/c__d.e--f:latest"),
            ("x:5000", "docker.io/library/x:5000"),
            (&long, &long_full),
            (&both, &both),
        ] {
            assert_eq!(Reference::parse(text).map(|r| r.to_string()).unwrap(), full, "{text}");
            let again = Reference::parse(full).unwrap();
            assert_eq!(again, Reference::parse(text).unwrap(), "{full} parses back");
        }
    }

    #[test]
    fn refused_names() {
        let upper = format!("x@sha256:{}", HEX.to_uppercase());
        let long_tag = format!("x:{}", "t".repeat(129));
        let long_path = "x".repeat(256);
        for text in [
            "",
            ":",
            "x:",
            "x:-t",
            "x:t t",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "../x",
            "a/../b",
            "localhost:99999/x",
            "localhost:+1/x",
            "[::1/x",
            "[zz]/x",
            "[::1]5000/x",
            "ho st.io/x",
            ".io/x",
            "x@sha256:12",
            "x@sha512:12",
            "x@",
            HEX,
            &upper,
            &long_tag,
            &long_path,
            "x\n",
            "user:pw@host.io/x",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?} must be refused");
        }
    }
}
