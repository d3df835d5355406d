//! `imagectl copy`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::limits::LimitArguments;
use super::platform::PlatformArguments;
use super::say;
use super::short_name::Candidates;
use super::transfer::TransferArguments;
use crate::archive::{self, Format, NewFile, Source};
use crate::error::{Error, Result};
use crate::image::Choice;
use crate::layer::Limits;
use crate::reference::Reference;
use crate::registry::Config;
use crate::store::{Store, StoredImage};
use crate::{pull, push};

#[derive(Debug, Args)]
pub struct Copy {
    /// From where: docker://NAME, oci:DIR, oci-archive:FILE or docker-archive:FILE; of these, the
    /// only image. A bare name is docker://
    #[arg(value_name = "SOURCE", verbatim_doc_comment)]
    source: String,
    /// To where, likewise; directories and files are new
    #[arg(value_name = "TARGET")]
    target: String,
    #[command(flatten)]
    platform: PlatformArguments,
    #[command(flatten)]
    transfer: TransferArguments,
    #[command(flatten)]
    limits: LimitArguments,
}

/// One end of a copy.
enum Place {
    /// A name, not looked at yet: only what is pulled may be short.
    Registry(String),
    Directory(PathBuf),
    Archive(PathBuf, Format),
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let path = |text: &str| PathBuf::from(text);
        Ok(match text.split_once(':') {
            Some(("oci", rest)) => Self::Directory(path(rest)),
            Some(("oci-archive", rest)) => Self::Archive(path(rest), Format::OciArchive),
            Some(("docker-archive", rest)) => Self::Archive(path(rest), Format::Docker),
            _ => {
                Reference::parse(text)?;
                Self::Registry(text.to_owned())
            }
        })
    }
}

/// What both ends need.
struct Way {
    registry: Config,
    choice: Choice,
    transfer: TransferArguments,
    limits: Limits,
}

impl Copy {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let (source, target) = (Place::parse(&self.source)?, Place::parse(&self.target)?);
        let way = Way {
            registry: self.transfer.config()?,
            choice: self.platform.choice()?,
            transfer: self.transfer,
            limits: self.limits.limits()?,
        };
        // A store for the way: what is only passed on leaves nothing in the user's own.
        let session = store.begin()?;
        let between = Store::open(&session.fresh("copy"))?.with_bounds(store.bounds());
        let image = bring(&between, source, &way)?;
        let digest = image.descriptor.digest;
        give(&between, image, target, way)?;
        say(out, format_args!("{} {digest}", self.target))
    }
}

fn bring(between: &Store, source: Place, way: &Way) -> Result<StoredImage> {
    let load = |source: Source| -> Result<()> {
        let request = archive::Request {
            choice: way.choice.clone(),
            name: None,
            limits: way.limits,
            unpack: false,
        };
        archive::load(between, source, &request).map(drop)
    };
    match source {
        Place::Registry(name) => {
            let candidates = Candidates::of(&way.registry.registries, &name)?;
            let request = pull::Request {
                candidates: candidates.names.clone(),
                choice: way.choice.clone(),
                registry: way.registry.clone(),
                unpack: false,
                parallel: way.transfer.parallel,
                limits: way.limits,
            };
            pull::pull(between, &request, way.transfer.progress())?;
            candidates.pulled();
        }
        Place::Directory(path) => load(Source::Directory(path))?,
        Place::Archive(path, _) => {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            load(Source::Archive(path.display().to_string(), Box::new(file)))?;
        }
    }
    let images = between.images()?;
    match images.as_slice() {
        [image] => Ok(image.clone()),
        images => Err(Error::Argument {
            option: "SOURCE",
            reason: format!(
                "there are {} images; load and push the one that is meant",
                images.len()
            ),
        }),
    }
}

fn give(between: &Store, image: StoredImage, target: Place, way: Way) -> Result<()> {
    let write = |path: &Path, format| -> Result<()> {
        let file = NewFile::create(path)?;
        let sink = BufWriter::new(file.file());
        archive::save(between, std::slice::from_ref(&image), format, way.limits, sink)?;
        file.finish()
    };
    match target {
        Place::Directory(path) => {
            archive::save_directory(between, std::slice::from_ref(&image), &path)
        }
        Place::Archive(path, format) => write(&path, format),
        Place::Registry(target) => {
            let target = Reference::parse(&target)?;
            let parallel = way.transfer.parallel;
            let registry = way.registry;
            let request = push::Request { image, target, registry, parallel };
            push::push(between, &request, way.transfer.progress()).map(drop)
        }
    }
}
