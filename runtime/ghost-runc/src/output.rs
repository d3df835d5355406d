//! What the commands print: one module a form.

pub mod json;
pub mod state;
pub mod table;

use std::io::Write;

use crate::error::Error;

/// Writes the text to standard output, and nothing more.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Output { source: source.into() })
}
