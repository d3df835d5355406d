//! `imagectl import` and `imagectl commit`.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::limits::LimitArguments;
use super::say;
use crate::archive::{self, Compression, Origin, Recipe};
use crate::error::{Error, Result};
use crate::image::Platform;
use crate::reference::Reference;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Import {
    /// A rootfs: a tarball, a directory, or - for a tarball on standard input
    #[arg(value_name = "ROOTFS")]
    rootfs: PathBuf,
    #[command(flatten)]
    recipe: RecipeArguments,
    /// The platform that the image is for: os/arch or os/arch/variant [default: this machine's]
    #[arg(long)]
    platform: Option<String>,
}

#[derive(Debug, Args)]
pub struct Commit {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    recipe: RecipeArguments,
}

#[derive(Debug, Args)]
struct RecipeArguments {
    /// The new image's name
    #[arg(value_name = "REF")]
    reference: String,
    /// An argument of the command to run; once for each
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// An argument of the entrypoint; once for each
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// A variable of the environment; all of them replace the image's
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The user to run as
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    workdir: Option<String>,
    /// A note
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// How to compress a layer that is made of files
    #[arg(long, value_enum, default_value = "gzip")]
    compression: Name,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    None,
    Gzip,
    Zstd,
}

impl RecipeArguments {
    fn recipe(self, platform: Platform) -> Result<Recipe> {
        let list = |list: Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
        let pair = |option: &'static str, text: &str| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Error::Argument {
                option,
                reason: format!("'{}' is not NAME=VALUE", text.escape_debug()),
            }),
        };
        for text in &self.env {
            pair("--env", text)?;
        }
        let labels: std::collections::BTreeMap<String, String> =
            self.label.iter().map(|text| pair("--label", text)).collect::<Result<_>>()?;
        let labels = if labels.is_empty() { Value::Null } else { json!(labels) };
        Ok(Recipe {
            name: Reference::parse(&self.reference)?,
            platform,
            config: json!({
                "Cmd": list(self.cmd),
                "Entrypoint": list(self.entrypoint),
                "Env": list(self.env),
                "User": self.user,
                "WorkingDir": self.workdir,
                "Labels": labels,
            }),
            compression: match self.compression {
                Name::None => Compression::None,
                Name::Gzip => Compression::Gzip,
                Name::Zstd => Compression::Zstd,
            },
            limits: self.limits.limits()?,
        })
    }
}

impl Import {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let platform = match &self.platform {
            Some(text) => Platform::parse(text)?,
            None => Platform::host(),
        };
        let recipe = self.recipe.recipe(platform)?;
        let origin = match self.rootfs {
            path if path.as_os_str() == "-" => Origin::Tarball(Box::new(std::io::stdin())),
            path if path.is_dir() => Origin::Directory(path),
            path => Origin::Tarball(Box::new(File::open(&path).map_err(Error::io("open", path))?)),
        };
        let image = archive::import(store, origin, &recipe)?;
        say(out, format_args!("{} {}", image.name, image.digest))
    }
}

impl Commit {
    pub fn run(self, store: &Store, out: &mut dyn Write) -> Result<()> {
        // The image that the bundle was made of says what it runs on.
        let recipe = self.recipe.recipe(Platform::default())?;
        let image = archive::commit(store, &self.bundle, &recipe)?;
        say(out, format_args!("{} {}", image.name, image.digest))
    }
}
