//! `imagectl bundle`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::limits::LimitArguments;
use super::process::ProcessArguments;
use super::{say, stored};
use crate::bundle::{self, Options};
use crate::error::Result;
use crate::reference::Reference;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct BundleCommand {
    /// The image [default: the one pulled last]
    #[arg(value_name = "REF")]
    reference: Option<String>,
    /// The bundle's directory, new or empty [default: the image's short name, here]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Give the bundle files of its own instead of an overlay over the store
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    process: ProcessArguments,
    /// The command to run instead of the image's
    #[arg(last = true, value_name = "COMMAND")]
    args: Vec<String>,
    #[command(flatten)]
    limits: LimitArguments,
}

impl BundleCommand {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let image = stored(store, self.reference.as_deref())?;
        let directory = match self.directory {
            Some(directory) => directory,
            None => PathBuf::from(Reference::parse(image.name())?.short_name()),
        };
        let limits = self.limits.limits()?;
        let settings = self.process.settings(self.args)?;
        let options = Options { copy: self.copy, settings, limits };
        let created = bundle::create(store, &image, &directory, &options)?;
        say(out, format_args!("{} {}", created.path.display(), created.image))
    }
}
