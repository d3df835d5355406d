//! The limits' options: on documents for every command, on layers for those that unpack.

use clap::Args;

use crate::error::{Error, Result};
use crate::image::Bounds;
use crate::layer::Limits;

#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Refuse an image whose layers become larger than this, in bytes or with k, M, G, T
    /// [default: 100G]
    #[arg(long, value_name = "SIZE", verbatim_doc_comment)]
    max_size: Option<String>,
    /// Refuse a layer that becomes more than N times its compressed size, from 64 MiB on
    /// [default: 1000]
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    max_ratio: Option<u64>,
    /// Refuse an image of more files than this [default: 10000000]
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
}

impl LimitArguments {
    pub fn limits(&self) -> Result<Limits> {
        let default = Limits::default();
        Ok(Limits {
            size: match &self.max_size {
                Some(text) => size("--max-size", text)?,
                None => default.size,
            },
            ratio: self.max_ratio.unwrap_or(default.ratio),
            entries: self.max_entries.unwrap_or(default.entries),
        })
    }
}

#[derive(Debug, Args)]
pub struct BoundArguments {
    /// Refuse a manifest, index or config larger than this, in bytes or with k, M, G, T
    /// [default: 4 MiB]
    #[arg(long, global = true, value_name = "SIZE", verbatim_doc_comment)]
    max_manifest: Option<String>,
    /// Refuse indexes that lie deeper in indexes than this [default: 4]
    #[arg(long, global = true, value_name = "N")]
    max_index_depth: Option<usize>,
}

impl BoundArguments {
    pub fn bounds(&self) -> Result<Bounds> {
        let default = Bounds::default();
        Ok(Bounds {
            document: match &self.max_manifest {
                Some(text) => size("--max-manifest", text)?,
                None => default.document,
            },
            depth: self.max_index_depth.unwrap_or(default.depth),
        })
    }
}

/// A number of bytes; letters are powers of 1000.
fn size(option: &'static str, text: &str) -> Result<u64> {
    let units = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000)];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, *unit)))
        .unwrap_or((text, 1));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| Error::Argument {
        option,
        reason: format!("'{}' is no size such as 500M or 20G", text.escape_debug()),
    })
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("17", 17), ("3k", 3000), ("20G", 20_000_000_000)] {
            assert_eq!(size("--max-size", text).unwrap(), bytes, "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "1 G", "1g", "99999999999T"] {
            assert!(size("--max-size", text).is_err(), "{text}");
        }
    }
}
