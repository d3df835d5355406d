//! Short names that several registries may have: somebody chooses, if somebody is there.

use std::io::{IsTerminal, Write};

use super::ask::line;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registry::{Ambiguous, Meaning, Registries};

/// The names to pull by, one after the other.
pub struct Candidates {
    pub names: Vec<Reference>,
    /// What was chosen among; it is noted once the chosen one is pulled.
    chosen: Option<Ambiguous>,
}

impl Candidates {
    /// What `text` may mean.
    pub fn of(registries: &Registries, text: &str) -> Result<Self> {
        let choice = match registries.meaning(text)? {
            Meaning::Names(names) => return Ok(Self { names, chosen: None }),
            Meaning::Choice(choice) => choice,
        };
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Ok(Self { names: choice.without_asking()?, chosen: None });
        }
        let mut errors = std::io::stderr();
        let mut tell = |text: String| {
            errors.write_all(text.as_bytes()).map_err(Error::step("ask at the terminal"))
        };
        tell(format!("{} may be:\n", text.escape_debug()))?;
        for (at, name) in choice.names.iter().enumerate() {
            tell(format!("{:3}  {name}\n", at + 1))?;
        }
        let answer = line(&format!("Which one, 1 to {}? ", choice.names.len()), true)?;
        let number = answer.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match number.and_then(|at| choice.names.get(at)).cloned() {
            Some(name) => Ok(Self { names: vec![name], chosen: Some(choice) }),
            None => {
                Err(choice.refused(format!("'{}' is none of the numbers", answer.escape_debug())))
            }
        }
    }

    /// Notes what was chosen, once it was pulled.
    pub fn pulled(&self) {
        if let (Some(choice), [name]) = (&self.chosen, self.names.as_slice()) {
            // The image is there; who can't note it is asked again.
            let _ = choice.note(name);
        }
    }
}
