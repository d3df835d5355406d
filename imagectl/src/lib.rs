//! imagectl: from an image in a registry to a bundle that an OCI runtime runs, without a daemon.
//!
//! The straight line: [`mod@reference`] names the image, [`registry`] fetches it, [`mod@pull`] leads
//! each layer through hash, [`store`] and [`layer`] in one pass, [`bundle`] makes rootfs and
//! config.json. [`commands`] is the command line over it.

pub mod archive;
pub mod bundle;
pub mod changes;
pub mod commands;
pub mod digest;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod image;
mod inside;
pub mod layer;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registry;
pub mod serve;
pub mod store;
pub mod transfer;
pub mod user_namespace;

pub use error::{Error, Result};
