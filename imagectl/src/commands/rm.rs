//! `imagectl rm`.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::{say, stored};
use crate::error::Result;
use crate::store::{Collection, Store, StoredImage};

#[derive(Debug, Args)]
pub struct Rm {
    /// The images
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
}

impl Rm {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        // All or none: a wrong name is found before anything is removed.
        let images: Vec<StoredImage> =
            self.references.iter().map(|name| stored(store, Some(name))).collect::<Result<_>>()?;
        for image in &images {
            store.remove_image(image.name())?;
            say(out, format_args!("removed {}", image.name().escape_debug()))?;
        }
        // Somebody may still want to go on with a transfer of today.
        let how = Collection { partials: Duration::from_secs(86400), ..Collection::default() };
        if store.collect_garbage(how)?.is_none() {
            say(out, format_args!("another imagectl is at work: the next rm frees the space"))?;
        }
        Ok(())
    }
}
