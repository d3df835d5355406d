//! `imagectl pull`.

use std::io::Write;

use clap::Args;

use super::connection::ConnectionArguments;
use super::limits::LimitArguments;
use super::say;
use crate::error::Result;
use crate::image::Platform;
use crate::progress::Progress;
use crate::pull::{self, Request};
use crate::reference::Reference;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Pull {
    /// The image, as in alpine, ghcr.io/org/app:1.2 or localhost:5000/x@sha256:…
    #[arg(value_name = "REF")]
    reference: String,
    /// Take the image for another platform: os/arch or os/arch/variant
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    connection: ConnectionArguments,
    /// How many layers to fetch at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    parallel: usize,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    limits: LimitArguments,
}

impl Pull {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let request = Request {
            reference: Reference::parse(&self.reference)?,
            platform: self.platform.as_deref().map(Platform::parse).transpose()?,
            registry: self.connection.config()?,
            // Owners, devices and overlayfs' marks are root's to make; others keep the blobs alone.
            unpack: rustix::process::geteuid().is_root(),
            parallel: self.parallel,
            limits: self.limits.limits()?,
        };
        let pulled = pull::pull(store, &request, Progress::new(self.quiet))?;
        say(out, format_args!("{} {}", pulled.name, pulled.digest))
    }
}
