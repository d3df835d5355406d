//! `imagectl serve`.

use std::io::Write;

use clap::Args;

use super::say;
use crate::error::{Error, Result};
use crate::serve;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; everybody who can reach that may pull, and push if it is writable
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: String,
    /// Take pushes too; what is pushed as x:1 becomes the image localhost/x:1
    #[arg(long)]
    writable: bool,
}

impl Serve {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        serve::serve(store, &self.listen, self.writable, |address| {
            say(out, format_args!("listening at {address}"))?;
            out.flush().map_err(Error::step("write the result"))
        })
    }
}
