//! Questions to whoever sits at the terminal.

use std::io::{BufRead, Read, Write};

use crate::error::{Error, Result};

/// The longest answer that is read, in bytes.
pub const LINE_LIMIT: u64 = 64 << 10;

/// Asks for a line at the terminal, a secret one without showing it.
pub fn line(question: &str, echo: bool) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let mut errors = std::io::stderr();
    let step = |error| Error::Step { action: "ask at the terminal", source: error };
    let before = tcgetattr(&stdin).map_err(Error::step("ask at the terminal"))?;
    if !echo {
        let mut hidden = before.clone();
        hidden.local_modes &= !LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)
            .map_err(Error::step("ask at the terminal"))?;
    }
    let mut text = String::new();
    // Not before: whoever sees the question may answer at once.
    let asked = errors.write_all(question.as_bytes()).and_then(|()| errors.flush());
    let result = asked.and_then(|()| stdin.lock().take(LINE_LIMIT).read_line(&mut text));
    if !echo {
        // The line that was read counts, whatever the terminal shows from now on.
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
        let _ = errors.write_all(b"\n");
    }
    result.map_err(step)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
