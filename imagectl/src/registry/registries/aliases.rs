//! `short-name-aliases.conf`: what people chose where a short name could mean several images. podman and
//! skopeo keep theirs there too.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::{Registries, file, places};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::store::write_atomically;

const NAME: &str = "containers/short-name-aliases.conf";

/// Where it is: one for root, one for each other user.
fn place() -> Option<PathBuf> {
    // The root of a user namespace is some other user.
    if rustix::process::geteuid().is_root() && crate::user_namespace::has_all_ids() {
        return Some(PathBuf::from("/var/cache").join(NAME));
    }
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME");
    let cache = cache.or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join(NAME))
}

/// A name without a target is one that no earlier file's alias counts for.
type Aliases = BTreeMap<String, Option<Reference>>;

fn load() -> Result<Aliases> {
    let Some(path) = place() else { return Ok(Aliases::new()) };
    match places::read(&path)? {
        Some((path, text)) => Ok(file::parse(&path, &text)?.aliases),
        None => Ok(Aliases::new()),
    }
}

impl Registries {
    /// Puts the aliases that people chose over those that files give.
    pub(super) fn with_noted_aliases(mut self) -> Result<Self> {
        self.put_aliases(load()?);
        Ok(self)
    }
}

/// Notes that the short name, without tag and digest, means the image's repository.
///
/// # Errors
/// [`Error::Io`], or [`Error::Document`] for what is there and makes no sense.
pub(super) fn note(name: &str, image: &Reference) -> Result<()> {
    let Some(path) = place() else { return Ok(()) };
    let mut aliases = load()?;
    aliases.insert(name.to_owned(), Some(image.clone()));
    let mut text = "[aliases]\n".to_owned();
    for (name, target) in &aliases {
        let target = target.as_ref().map(Reference::name).unwrap_or_default();
        // Names of images hold nothing that TOML would have escaped, and a string takes what comes.
        let _ = writeln!(text, "  \"{name}\" = \"{target}\"");
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(Error::io("make the directory", directory))?;
    }
    write_atomically(&path, text.as_bytes())
}
