//! What every command is given: the global flags as they apply.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use container::Store;
use nix::unistd::geteuid;

use crate::cli::Globals;
use crate::error::Error;

/// The surroundings of one command.
pub struct Context {
    /// `--root`: where container state lives.
    given_root: Option<PathBuf>,
    /// Whether systemd is to make the cgroups of new containers. Of those that are there, the saved
    /// state says who made theirs.
    pub systemd_cgroup: bool,
}

impl Context {
    /// Checks the root directory that was given.
    pub fn new(globals: &Globals) -> Result<Context, Error> {
        let given_root = globals.root.as_deref().map(given_root).transpose()?;
        Ok(Context { given_root, systemd_cgroup: globals.systemd_cgroup })
    }

    /// Where container state lives. The directory of an unprivileged caller is made.
    pub fn root(&self) -> Result<PathBuf, Error> {
        match &self.given_root {
            Some(root) => Ok(root.clone()),
            None => default_root(),
        }
    }

    /// Whether `--root` named it.
    pub fn root_is_given(&self) -> bool {
        self.given_root.is_some()
    }

    /// The containers below the root directory.
    pub fn store(&self) -> Result<Store, Error> {
        self.root().map(Store::new)
    }
}

fn given_root(given: &Path) -> Result<PathBuf, Error> {
    let root = absolute(given)?;
    if root == Path::new("/") { Err(Error::RootIsSlash) } else { Ok(root) }
}

fn default_root() -> Result<PathBuf, Error> {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) if belongs_to_user() => {
            let root = Path::new(&dir).join("ghost-runc");
            make_sticky(&root)?;
            Ok(root)
        }
        None if !geteuid().is_root() => Err(Error::NoRuntimeDir),
        _ => Ok(PathBuf::from("/run/ghost-runc")),
    }
}

/// The path from / on without `.` and `..`, by its text alone, as Go's filepath.Abs does it.
pub fn absolute(path: &Path) -> Result<PathBuf, Error> {
    use std::path::Component;
    let mut clean = PathBuf::new();
    let from = match path.is_absolute() {
        true => PathBuf::new(),
        false => {
            std::env::current_dir().map_err(|source| Error::file("getwd for", path, source))?
        }
    };
    for component in from.join(path).components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Ok(clean)
}

/// Whether `$XDG_RUNTIME_DIR` is to be used: not by the real root, but by anyone else, and by the
/// root of a user namespace unless it calls itself root.
fn belongs_to_user() -> bool {
    if !geteuid().is_root() {
        return true;
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    !map.is_empty() && !whole && std::env::var_os("USER").is_none_or(|user| user != "root")
}

/// Files in `$XDG_RUNTIME_DIR` may be cleaned away unless they are sticky.
fn make_sticky(root: &Path) -> Result<(), Error> {
    let failed = |action| move |source| Error::file(action, root, source);
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed("mkdir"))?;
    std::fs::set_permissions(root, Permissions::from_mode(0o1700)).map_err(failed("chmod"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (given, clean) in [("/a/../b/./c", "/b/c"), ("/../..", "/"), ("/", "/")] {
            assert_eq!(absolute(Path::new(given)).unwrap(), Path::new(clean), "{given}");
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new("x")).unwrap(), here.join("x"));
        assert_eq!(absolute(Path::new("")).unwrap(), here);
    }

    #[test]
    fn a_root_that_is_slash_is_refused() {
        assert!(matches!(given_root(Path::new("/run/..")), Err(Error::RootIsSlash)));
    }
}
