//! The command line: arguments to calls, results to text. One file a command.

mod ask;
mod bundle;
mod completion;
mod connection;
mod copy;
mod df;
mod diff;
mod gc;
mod import;
mod inspect;
mod limits;
mod list;
mod list_format;
mod load;
mod login;
mod mount;
mod platform;
mod process;
mod pull;
mod push;
mod result;
mod rm;
mod save;
mod serve;
mod short_name;
mod tag;
mod transfer;
mod unbundle;
mod unpack;
mod unshare;
mod verify;

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::bundle::IdMaps;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registry::Registries;
use crate::store::{Store, StoredImage};

/// Pulls OCI images, keeps them in an OCI layout and unpacks them into bundles.
#[derive(Debug, Parser)]
#[command(name = "imagectl", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Where images are kept: an OCI image layout.
    /// [default: /var/lib/imagectl for root, else $XDG_DATA_HOME/imagectl]
    #[arg(long, global = true, value_name = "DIR", verbatim_doc_comment)]
    store: Option<PathBuf>,
    #[command(flatten)]
    bounds: limits::BoundArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring an image from a registry into the store
    Pull(pull::Pull),
    /// Bring an image from the store to a registry
    Push(push::Push),
    /// Bring an image from a registry, layout or archive to another, past the store
    Copy(copy::Copy),
    /// Note a registry's credentials, once it takes them
    Login(login::Login),
    /// Forget a registry's credentials
    Logout(login::Logout),
    /// Be a registry that the store's images are pulled from, and others pushed to
    Serve(serve::Serve),
    /// Print a shell's completion script
    Completion(completion::Completion),
    /// Write the manual pages
    Man(completion::Man),
    /// List the store's images
    #[command(visible_alias = "images")]
    List(list::List),
    /// Tell what an image is made of
    Inspect(inspect::Inspect),
    /// Give an image further names
    Tag(tag::Tag),
    /// Bring the images of an archive or layout into the store
    Load(load::Load),
    /// Write images as an archive or layout
    Save(save::Save),
    /// Make an image of a rootfs
    Import(import::Import),
    /// Make an image of what changed in a bundle
    Commit(import::Commit),
    /// Hash every blob anew
    Verify(verify::Verify),
    /// Tell what the store takes up
    Df(df::Df),
    /// Remove what no image and no bundle needs
    Gc(gc::Gc),
    /// Remove the images that no bundle stands on, and what they alone needed
    Prune(gc::Prune),
    /// Remove images, and what no other image or bundle needs
    Rm(rm::Rm),
    /// Make a bundle: a rootfs and a config.json for an OCI runtime
    Bundle(bundle::BundleCommand),
    /// Unmount and remove a bundle
    Unbundle(unbundle::Unbundle),
    /// Mount an image's tree, or list what is mounted
    Mount(mount::MountCommand),
    /// Unmount what was mounted
    #[command(visible_alias = "umount")]
    Unmount(mount::Unmount),
    /// List what changed in a bundle or a mounted tree
    Diff(diff::Diff),
    /// Unpack an image's files into a directory
    Unpack(unpack::Unpack),
    /// Run a command where a user without root can mount images and own their files
    Unshare(unshare::Unshare),
}

impl Arguments {
    /// The namespace that the command is better run in: where files of others are made or removed by
    /// who isn't root, or an overlay is mounted.
    #[must_use]
    pub fn user_namespace(&self) -> Option<IdMaps> {
        let wanted = match &self.command {
            Command::Bundle(_) | Command::Unbundle(_) | Command::Unpack(_) => true,
            Command::Unmount(_) | Command::Unshare(_) => true,
            // Unpacked layers have the owners that they have in a namespace.
            Command::Diff(_) | Command::Commit(_) => true,
            Command::Rm(_) | Command::Gc(_) | Command::Prune(_) => true,
            _ => false,
        };
        let root = rustix::process::geteuid().is_root();
        (wanted && !root).then(|| IdMaps::ranges().unwrap_or_else(IdMaps::single))
    }
}

/// Runs a command; what it has to say goes to `out`.
///
/// # Errors
/// The command's.
pub fn run(arguments: Arguments, out: &mut dyn Write) -> Result<()> {
    let Arguments { store, bounds, command } = arguments;
    let open = || -> Result<Store> {
        let bounds = bounds.bounds()?;
        let path = store.clone().map_or_else(Store::default_path, Ok)?;
        Ok(Store::open(&path)?.with_bounds(bounds))
    };
    match command {
        Command::Pull(command) => command.run(&open()?, out),
        Command::Push(command) => command.run(&open()?, out),
        Command::Copy(command) => command.run(&open()?, out),
        Command::Login(command) => command.run(out),
        Command::Logout(command) => command.run(out),
        Command::Serve(command) => command.run(&open()?, out),
        Command::Completion(command) => command.run(out),
        Command::Man(command) => command.run(),
        Command::List(command) => command.run(&open()?, out),
        Command::Inspect(command) => command.run(&open()?, out),
        Command::Tag(command) => command.run(&open()?, out),
        Command::Load(command) => command.run(&open()?, out),
        Command::Save(command) => command.run(&open()?, out),
        Command::Import(command) => command.run(&open()?, out),
        Command::Commit(command) => command.run(&open()?, out),
        Command::Verify(command) => command.run(&open()?, out),
        Command::Df(command) => command.run(&open()?, out),
        Command::Gc(command) => command.run(&open()?, out),
        Command::Prune(command) => command.run(&open()?, out),
        Command::Rm(command) => command.run(&open()?, out),
        Command::Bundle(command) => command.run(&open()?, out),
        Command::Unbundle(command) => command.run(out),
        Command::Mount(command) => command.run(&open()?, out),
        Command::Unmount(command) => command.run(&open()?, out),
        Command::Diff(command) => command.run(&open()?, out),
        Command::Unpack(command) => command.run(&open()?, out),
        Command::Unshare(command) => command.run(),
    }
}

/// The stored image that a name means, or the one pulled last.
fn stored(store: &Store, name: Option<&str>) -> Result<StoredImage> {
    let Some(name) = name else { return store.image(None) };
    let mut names = Registries::load()?.names(name)?.into_iter();
    // There is always one.
    let first = names.next().as_ref().map_or_else(|| store.image(None), |n| store.image(Some(n)));
    match first {
        Err(Error::NoImage { .. }) => {}
        result => return result,
    }
    let plain = Reference::parse(name)?;
    names.chain([plain]).find_map(|name| store.image(Some(&name)).ok()).map_or(first, Ok)
}

/// Writes one line of a command's result.
fn say(out: &mut dyn Write, line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(out, "{line}").map_err(Error::step("write the result"))
}

/// Writes a command's result as JSON, for people too.
fn say_json(out: &mut dyn Write, value: &serde_json::Value) -> Result<()> {
    say(out, format_args!("{value:#}"))
}
