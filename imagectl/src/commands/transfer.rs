//! The options of every command that brings blobs from a registry or to one.

use clap::Args;

use super::connection::ConnectionArguments;
use crate::error::Result;
use crate::progress::Progress;
use crate::registry::Config;

#[derive(Debug, Args)]
pub struct TransferArguments {
    #[command(flatten)]
    connection: ConnectionArguments,
    /// How many connections bring blobs at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub parallel: usize,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

impl TransferArguments {
    pub fn config(&self) -> Result<Config> {
        self.connection.config()
    }

    pub fn progress(&self) -> Progress {
        Progress::new(self.quiet)
    }
}
