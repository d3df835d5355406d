//! Limits on the documents that an image is found by.

use std::fmt;

/// How large documents may be, and how deep they may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a manifest, index or config.
    pub document: u64,
    /// How many indexes may lie in one another below the outermost.
    pub depth: usize,
}

impl Default for Bounds {
    /// 4 MiB, as registries have it, and 4 indexes.
    fn default() -> Self {
        Self { document: super::DOCUMENT_LIMIT, depth: 4 }
    }
}

impl Bounds {
    /// Why a document is refused that is larger than may be.
    #[must_use]
    pub fn too_large(&self) -> String {
        format!("is larger than {}; --max-manifest allows more", Size(self.document))
    }

    /// Why an index is refused that leads too deep.
    #[must_use]
    pub fn too_deep(&self) -> String {
        format!("holds indexes more than {} deep; --max-index-depth allows more", self.depth)
    }
}

struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}
