//! Entry paths: what an archive may name, in one normal form.

use crate::error::{Error, Result};

/// The longest path, in bytes: the kernel's PATH_MAX without the NUL.
const PATH_LIMIT: usize = 4095;
/// The deepest path, in components: deeper ones are made to exhaust those who walk them.
const DEPTH_LIMIT: usize = 256;
/// The longest component, in bytes: the kernel's NAME_MAX.
const NAME_LIMIT: usize = 255;

/// A path below the rootfs: components joined by single slashes, none of them `.` or `..`. Empty
/// for the rootfs itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Checks and normalises a path out of an archive. An absolute one begins at the rootfs, as it
    /// does for every other client: ko writes all its entries so, and kaniko the targets of hard links.
    ///
    /// # Errors
    /// [`Error::Refused`] for an empty path, `..`, NUL, and what the kernel can't name.
    pub fn parse(raw: &[u8]) -> Result<Self> {
        if raw.is_empty() {
            return Err(Error::refused("the path is empty"));
        }
        if raw.contains(&0) {
            return Err(Error::refused("the path holds a NUL"));
        }
        if raw.len() > PATH_LIMIT {
            return Err(Error::refused(format!("the path is longer than {PATH_LIMIT} bytes")));
        }
        let mut path = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(Error::refused("the path has a '..'")),
                _ if part.len() > NAME_LIMIT => {
                    return Err(Error::refused(format!(
                        "a name is longer than {NAME_LIMIT} bytes"
                    )));
                }
                _ => {}
            }
            if depth > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(part);
            depth += 1;
        }
        if depth > DEPTH_LIMIT {
            return Err(Error::refused(format!("the path is deeper than {DEPTH_LIMIT} levels")));
        }
        Ok(Self(path))
    }

    /// The rootfs itself.
    #[must_use]
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Is this the rootfs itself?
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty())
    }

    /// Directory and last component. The rootfs has neither and gives two empty slices.
    #[must_use]
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (b"", &self.0),
        }
    }

    /// The path of the directory that this one is in.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.split().0.to_vec())
    }

    /// The path of `name` in this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        match self.0.as_slice() {
            b"" => Self(name.to_vec()),
            dir => Self([dir, b"/", name].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form() {
        for (raw, path) in [
            ("a/b", "a/b"),
            ("./a/b/", "a/b"),
            ("a//b/./c", "a/b/c"),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("/etc/x", "etc/x"),
            ("//etc//x", "etc/x"),
            ("...", "..."),
            ("a/..b", "a/..b"),
        ] {
            assert_eq!(
                EntryPath::parse(raw.as_bytes()).unwrap().as_bytes(),
                path.as_bytes(),
                "{raw}"
            );
        }
    }

    #[test]
    fn refused_paths() {
        let long_name = "n".repeat(256);
        let long_path = "p/".repeat(2048);
        let deep = "d/".repeat(257);
        for raw in [
            "", "..", "../x", "a/../x", "a/..", "/../x", "/..", "a\0b", &long_name, &long_path,
            &deep,
        ] {
            let error = EntryPath::parse(raw.as_bytes());
            assert!(matches!(error, Err(Error::Refused { .. })), "{raw}");
        }
    }
}
