//! Whiteouts: names by which a layer deletes what lower layers hold.

use super::path::EntryPath;
use crate::error::{Error, Result};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Housekeeping of AUFS that old image builders left in layers. It was never part of an image.
const AUFS: [&[u8]; 3] = [b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh.plnk"];

/// What an entry's path means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The entry itself.
    Plain,
    /// Lower layers' file or directory of this path is gone.
    Whiteout(EntryPath),
    /// What lower layers hold in this directory is gone.
    Opaque(EntryPath),
    /// Nothing.
    Ignored,
}

/// Reads a path's meaning.
///
/// # Errors
/// [`Error::Refused`] for names that are reserved but mean nothing, and for whiteouts of `.`, `..`
/// or no name at all.
pub fn classify(path: &EntryPath) -> Result<Meaning> {
    let (directory, name) = path.split();
    for part in directory.split(|b| *b == b'/') {
        if AUFS.contains(&part) {
            return Ok(Meaning::Ignored);
        }
        if part.starts_with(PREFIX) {
            return Err(Error::refused("a whiteout is no directory"));
        }
    }
    let Some(target) = name.strip_prefix(PREFIX) else { return Ok(Meaning::Plain) };
    if AUFS.contains(&name) {
        return Ok(Meaning::Ignored);
    }
    if name == OPAQUE {
        return Ok(Meaning::Opaque(path.parent()));
    }
    match target {
        b"" | b"." | b".." => Err(Error::refused("a whiteout of no file")),
        _ if target.starts_with(PREFIX) => Err(Error::refused("a whiteout of a reserved name")),
        _ => Ok(Meaning::Whiteout(path.parent().join(target))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn meanings() {
        for (text, meaning) in [
            ("a", Meaning::Plain),
            ("a/.whatever", Meaning::Plain),
            ("a/.wh", Meaning::Plain),
            (".wh.a", Meaning::Whiteout(path("a"))),
            ("a/.wh.b", Meaning::Whiteout(path("a/b"))),
            ("a/.wh....", Meaning::Whiteout(path("a/..."))),
            ("a/.wh..wh..opq", Meaning::Opaque(path("a"))),
            (".wh..wh..opq", Meaning::Opaque(EntryPath::root())),
            (".wh..wh.aufs", Meaning::Ignored),
            (".wh..wh.plnk/1.2", Meaning::Ignored),
        ] {
            assert_eq!(classify(&path(text)).unwrap(), meaning, "{text}");
        }
    }

    #[test]
    fn refused_whiteouts() {
        for text in [".wh.", ".wh..", ".wh...", "a/.wh..", ".wh..wh.x", ".wh..wh..opq2", ".wh.a/b"]
        {
            assert!(classify(&path(text)).is_err(), "{text}");
        }
    }
}
