//! `imagectl push`.

use std::io::Write;

use clap::Args;

use super::connection::ConnectionArguments;
use super::say;
use crate::error::Result;
use crate::progress::Progress;
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
    connection: ConnectionArguments,
    /// How many blobs to send at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    parallel: usize,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

impl Push {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let reference = Reference::parse(&self.reference)?;
        let target = match &self.target {
            Some(target) => Reference::parse(target)?,
            None => reference.clone(),
        };
        let request = Request {
            image: store.image(Some(&reference))?,
            target,
            registry: self.connection.config()?,
            parallel: self.parallel,
        };
        let digest = push::push(store, &request, Progress::new(self.quiet))?;
        say(out, format_args!("{} {digest}", request.target))
    }
}
