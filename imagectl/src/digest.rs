//! Content digests: the strict `sha256:<64 lower-case hex>` form, and hashing while streaming.

use std::fmt;

use crate::error::{Error, Result};

/// A SHA-256 digest. Of the other algorithms that the image-spec registers, registries and layouts in the
/// wild use none; they are refused. A digest is also a file name, so nothing but hex digits may ever
/// follow the colon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Parses `sha256:` and 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`Error::Digest`] for anything else, with the text as found.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason| Error::Digest { text: printable(text), reason };
        let hex = text.strip_prefix("sha256:").ok_or_else(|| match text.split_once(':') {
            Some(("sha384" | "sha512" | "blake3", _)) => {
                bad("of all algorithms sha256 alone is supported")
            }
            _ => bad("not a sha256 digest"),
        })?;
        if hex.len() != 64 {
            return Err(bad("sha256 has 64 hex digits"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let nibble = |digit: u8| match digit {
                b'0'..=b'9' => Ok(digit - b'0'),
                b'a'..=b'f' => Ok(digit - b'a' + 10),
                _ => Err(bad("sha256 is written in lower-case hex digits")),
            };
            *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hex digits: the name of a file under `blobs/sha256`.
    #[must_use]
    pub fn hex(&self) -> String {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The first 12 hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

/// Text of others cut to a length that fits an error line, without control characters.
fn printable(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_default).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// SHA-256 of a stream.
pub struct Hasher(ring::digest::Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parses_and_prints_back() {
        assert_eq!(Digest::parse(EMPTY).unwrap().to_string(), EMPTY);
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    #[test]
    fn refuses_what_is_not_a_sha256_digest() {
        let upper = EMPTY.replace("e3b0", "E3B0");
        let long = format!("{EMPTY}0");
        let wide = format!("sha256:{}", "é".repeat(32));
        for text in [
            "",
            "sha256:",
            "sha256:../../x",
            &EMPTY[..70],
            &long,
            &upper,
            &wide,
            "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
        for (algorithm, digits) in [("sha384", 96), ("sha512", 128), ("blake3", 64)] {
            let text = format!("{algorithm}:{}", "0".repeat(digits));
            let error = Digest::parse(&text).unwrap_err().to_string();
            assert!(error.ends_with(": of all algorithms sha256 alone is supported"), "{error}");
        }
    }
}
