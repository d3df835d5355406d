//! `imagectl unpack`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::limits::LimitArguments;
use super::{say, stored};
use crate::bundle;
use crate::error::Result;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Unpack {
    /// The image
    #[arg(value_name = "REF")]
    reference: String,
    /// The directory, new or empty
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    limits: LimitArguments,
}

impl Unpack {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let _held = store.hold()?;
        let image = stored(store, Some(&self.reference))?;
        let manifest = store.manifest(&image)?;
        let config = store.config(&manifest)?;
        let limits = self.limits.limits()?;
        bundle::unpack(store, image.name(), &manifest, &config, limits, &self.directory)?;
        say(out, format_args!("{} {}", self.directory.display(), image.name()))
    }
}
