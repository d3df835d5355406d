//! `imagectl unbundle`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::say;
use crate::bundle;
use crate::error::Result;

#[derive(Debug, Args)]
pub struct Unbundle {
    /// The bundles
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
}

impl Unbundle {
    pub fn run(self, out: &mut dyn Write) -> Result<()> {
        for directory in &self.directories {
            bundle::remove(directory)?;
            say(out, format_args!("removed {}", directory.display()))?;
        }
        Ok(())
    }
}
