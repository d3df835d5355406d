//! Stands in for the `regex` crate (see `[patch.crates-io]` in the workspace's Cargo.toml).
//!
//! oci-spec matches one field, `process.execCPUAffinity`, with it. The whole engine and its Unicode
//! tables would be 0.5 MB of the runtime's 3; regex-lite has the same interface.

pub use regex_lite::*;
