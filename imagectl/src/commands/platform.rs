//! The options that say which of an index's images is meant.

use clap::Args;

use crate::error::Result;
use crate::image::{Choice, Platform};

#[derive(Debug, Args)]
pub struct PlatformArguments {
    /// Take the image for another platform: os/arch or os/arch/variant
    #[arg(long)]
    platform: Option<String>,
    /// Take an index with its images for all platforms
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
}

impl PlatformArguments {
    pub fn choice(&self) -> Result<Choice> {
        Ok(match &self.platform {
            Some(text) => Choice::One(Platform::parse(text)?),
            None if self.all_platforms => Choice::All,
            None => Choice::Host,
        })
    }
}
