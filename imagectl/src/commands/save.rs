//! `imagectl save`.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::limits::LimitArguments;
use super::stored;
use crate::archive::{self, Format, NewFile};
use crate::error::{Error, Result};
use crate::store::{Store, StoredImage};

#[derive(Debug, Args)]
pub struct Save {
    /// The images
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
    /// Where to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value = "docker-archive")]
    format: Name,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    DockerArchive,
    OciArchive,
    OciDir,
}

impl Save {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let _held = store.hold()?;
        let images: Vec<StoredImage> =
            self.references.iter().map(|name| stored(store, Some(name))).collect::<Result<_>>()?;
        let format = match self.format {
            Name::DockerArchive => Format::Docker,
            Name::OciArchive => Format::OciArchive,
            Name::OciDir => Format::OciDirectory,
        };
        let limits = self.limits.limits()?;
        match (self.output.filter(|path| path.as_os_str() != "-"), format) {
            (Some(path), Format::OciDirectory) => archive::save_directory(store, &images, &path),
            (None, Format::OciDirectory) => Err(Error::Argument {
                option: "--output",
                reason: "a directory must be named".into(),
            }),
            (Some(path), format) => {
                let file = NewFile::create(&path)?;
                let sink = BufWriter::new(file.file());
                archive::save(store, &images, format, limits, sink)?;
                file.finish()
            }
            (None, _) if std::io::stdout().is_terminal() => Err(Error::Argument {
                option: "--output",
                reason: "needed, for standard output is a terminal".into(),
            }),
            (None, format) => archive::save(store, &images, format, limits, BufWriter::new(out)),
        }
    }
}
