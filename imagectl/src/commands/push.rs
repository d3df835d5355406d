//! `imagectl push`.

use std::io::Write;

use clap::Args;

use super::transfer::TransferArguments;
use super::{say, stored};
use crate::error::Result;
use crate::push::{self, Request};
use crate::reference::Reference;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Push {
    /// The image
    #[arg(value_name = "REF")]
    reference: String,
    /// The name to push it under [default: its own]
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Push {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let image = stored(store, Some(&self.reference))?;
        let target = Reference::parse(self.target.as_deref().unwrap_or(image.name()))?;
        let (registry, parallel) = (self.transfer.config()?, self.transfer.parallel);
        let request = Request { image, target, registry, parallel };
        let digest = push::push(store, &request, self.transfer.progress())?;
        say(out, format_args!("{} {digest}", request.target))
    }
}
