//! The real binary against a registry of the test's own. Needs root: owners, devices and overlays.

mod archive;
mod auth;
mod bundle;
mod hostile;
mod manifests;
mod peers;
mod pull;
mod registry;
mod sandbox;
mod store;
mod transfer;
