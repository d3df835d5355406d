//! The real binary against a registry of the test's own. Needs root: owners, devices and overlays.

// A test fails by panicking, and so do the parts that it is built of.
#![allow(clippy::unwrap_used)]

mod archive;
mod attacks;
mod attributes;
mod auth;
mod bombs;
mod broken;
mod bundle;
mod doors;
mod engines;
mod format;
mod hostile;
mod killed;
mod limits;
mod load;
mod local;
mod login;
mod manifests;
mod memory;
mod mounted;
mod names;
mod pages;
mod peers;
mod people;
mod platforms;
mod proxy;
mod pull;
mod push;
mod ranges;
mod registries;
mod registry;
mod resume;
mod rootless;
mod sandbox;
mod serve;
mod settings;
mod store;
mod terminal;
mod tls;
mod transfer;
mod users;
mod writable;
