//! `imagectl serve`.

use std::io::Write;

use clap::Args;

use super::say;
use crate::error::{Error, Result};
use crate::serve;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; everybody who can reach that may pull
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: String,
}

impl Serve {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        serve::serve(store, &self.listen, |address| {
            say(out, format_args!("listening at {address}"))?;
            out.flush().map_err(Error::step("write the result"))
        })
    }
}
