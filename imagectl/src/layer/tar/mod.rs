//! A strict streaming reader of tar archives: V7, ustar, star, GNU and PAX.
//!
//! Bytes in, entries out; no file system here. Where archive and PAX records contradict each other
//! in a way that readers resolve differently, the archive is refused.

mod header;
mod number;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::{Entry, Kind, Reader};
pub use sparse::Sparse;
pub use writer::Writer;

/// The block that everything in an archive is padded to, in bytes.
const BLOCK: usize = 512;
/// The largest PAX header, GNU long name or sparse map, in bytes; Go's limit.
const EXTENSION_LIMIT: u64 = 1 << 20;
/// The most extension headers in front of an entry: writers have one of each kind, and a few comments.
const EXTENSIONS_LIMIT: usize = 16;
