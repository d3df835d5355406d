//! Stands in for the `regex` crate (see `[patch.crates-io]` in the workspace's Cargo.toml).
//!
//! oci-spec matches one field, `process.execCPUAffinity`, with one pattern. An engine for patterns, even a
//! small one, would be more code in the runtime than the command line is; this knows that pattern.

use std::fmt;

/// The pattern of oci-spec: numbers and ranges of numbers, with commas between them.
const RANGES: &str = r"^(\d+(-\d+)?)(,\d+(-\d+)?)*$";

/// Matches [`RANGES`].
#[derive(Debug)]
pub struct Regex(());

/// Another pattern was asked for.
#[derive(Debug)]
pub struct Error(());

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only oci-spec's pattern for lists of CPUs is known here")
    }
}

impl std::error::Error for Error {}

impl Regex {
    /// The expression of a pattern.
    ///
    /// # Errors
    /// Of any pattern but oci-spec's.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        if pattern == RANGES { Ok(Self(())) } else { Err(Error(())) }
    }

    /// Whether `text` is a list of numbers and ranges.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        text.split(',').all(|item| match item.split_once('-') {
            Some((first, last)) => is_number(first) && is_number(last),
            None => is_number(item),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_and_ranges_match() -> Result<(), Error> {
        let regex = Regex::new(RANGES)?;
        for text in ["0", "12", "0-3", "0,2-4,7"] {
            assert!(regex.is_match(text), "{text}");
        }
        for text in ["", ",", "0,", ",0", "-", "1-", "-1", "1-2-3", "a", "0 1", "0\n"] {
            assert!(!regex.is_match(text), "{text}");
        }
        Ok(())
    }

    #[test]
    fn no_other_pattern_is_taken() {
        assert!(Regex::new("a*").is_err());
    }
}
