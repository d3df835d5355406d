//! `imagectl pull`.

use std::io::Write;

use clap::Args;

use super::limits::LimitArguments;
use super::platform::PlatformArguments;
use super::say;
use super::short_name::Candidates;
use super::transfer::TransferArguments;
use crate::error::Result;
use crate::pull::{self, Request};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Pull {
    /// The image, as in alpine, ghcr.io/org/app:1.2 or localhost:5000/x@sha256:…
    #[arg(value_name = "REF")]
    reference: String,
    #[command(flatten)]
    platform: PlatformArguments,
    #[command(flatten)]
    transfer: TransferArguments,
    #[command(flatten)]
    limits: LimitArguments,
}

impl Pull {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let registry = self.transfer.config()?;
        let candidates = Candidates::of(&registry.registries, &self.reference)?;
        let request = Request {
            candidates: candidates.names.clone(),
            choice: self.platform.choice()?,
            registry,
            // Owners, devices and overlayfs' marks are root's to make; others keep the blobs alone.
            unpack: rustix::process::geteuid().is_root(),
            parallel: self.transfer.parallel,
            limits: self.limits.limits()?,
        };
        let pulled = pull::pull(store, &request, self.transfer.progress())?;
        candidates.pulled();
        say(out, format_args!("{} {}", pulled.name, pulled.digest))
    }
}
