//! `imagectl tag`.

use std::io::Write;

use clap::Args;

use super::list_format::ListFormat;
use super::result::print_images;
use super::stored;
use crate::digest::Digest;
use crate::error::Result;
use crate::reference::Reference;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Tag {
    /// The image
    #[arg(value_name = "REF")]
    reference: String,
    /// Its new names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Tag {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let _held = store.hold()?;
        let image = stored(store, Some(&self.reference))?;
        let names: Vec<Reference> =
            self.names.iter().map(|name| Reference::parse(name)).collect::<Result<_>>()?;
        for name in &names {
            if let Some(digest) = name.digest
                && digest != image.descriptor.digest
            {
                let (what, expected) = (name.to_string(), digest);
                let found = image.descriptor.digest;
                return Err(crate::Error::WrongDigest { what, expected, found });
            }
        }
        let source = image.source().and_then(|text| Digest::parse(text).ok());
        let source = source.unwrap_or(image.descriptor.digest);
        for name in &names {
            store.add_image(&name.to_string(), &source, image.descriptor.clone())?;
        }
        let named = names.iter().map(|name| (name.to_string(), image.descriptor.digest));
        print_images(out, self.format, named)
    }
}
