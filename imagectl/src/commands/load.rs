//! `imagectl load`.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::limits::LimitArguments;
use super::list_format::ListFormat;
use super::platform::PlatformArguments;
use super::result::print_images;
use crate::archive::{self, Request, Source};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Load {
    /// An archive of docker save or of OCI, compressed or not, or an OCI layout directory
    /// [default: standard input]
    #[arg(value_name = "FILE", verbatim_doc_comment)]
    file: Option<PathBuf>,
    /// The same, as docker load takes it
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// Name the image so, if there is but one
    #[arg(long, value_name = "REF")]
    name: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
    #[command(flatten)]
    platform: PlatformArguments,
    #[command(flatten)]
    limits: LimitArguments,
}

impl Load {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let file = self.file.or(self.input).filter(|path| path.as_os_str() != "-");
        let source = match file {
            Some(path) if path.is_dir() => Source::Directory(path),
            Some(path) => {
                let file = File::open(&path).map_err(Error::io("open", &path))?;
                Source::Archive(path.display().to_string(), Box::new(file))
            }
            None if std::io::stdin().is_terminal() => {
                return Err(Error::Argument {
                    option: "FILE",
                    reason: "no file is given, and standard input is a terminal".into(),
                });
            }
            None => Source::Archive("on standard input".into(), Box::new(std::io::stdin())),
        };
        let request = Request {
            choice: self.platform.choice()?,
            name: self.name.as_deref().map(Reference::parse).transpose()?,
            limits: self.limits.limits()?,
            unpack: rustix::process::geteuid().is_root(),
        };
        let loaded = archive::load(store, source, &request)?;
        let images = loaded.into_iter().map(|image| (image.name, image.digest));
        print_images(out, self.format, images)
    }
}
