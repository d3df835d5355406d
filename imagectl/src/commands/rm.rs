//! `imagectl rm`.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::say;
use crate::error::Result;
use crate::reference::Reference;
use crate::store::{Collection, Store};

#[derive(Debug, Args)]
pub struct Rm {
    /// The images
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
}

impl Rm {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let references: Vec<Reference> =
            self.references.iter().map(|text| Reference::parse(text)).collect::<Result<_>>()?;
        // All or none: a wrong name is found before anything is removed.
        for reference in &references {
            store.image(Some(reference))?;
        }
        for reference in &references {
            store.remove_image(&reference.to_string())?;
            say(out, format_args!("removed {reference}"))?;
        }
        // Somebody may still want to go on with a transfer of today.
        let how = Collection { partials: Duration::from_secs(86400), ..Collection::default() };
        if store.collect_garbage(how)?.is_none() {
            say(out, format_args!("another imagectl is at work: the next rm frees the space"))?;
        }
        Ok(())
    }
}
