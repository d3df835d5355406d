//! `linux.cgroupsPath` of a container in a systemd scope: `slice:prefix:name`. Pure.

use std::path::{Path, PathBuf};

use super::Manager;
use crate::{Error, Result};

/// The part of a scope's name before the container's id, where `linux.cgroupsPath` is absent.
const PREFIX: &str = "ghost-runc";
/// The longest name of a unit.
const LONGEST: usize = 255;

/// What the names of the unit and of its slice are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub slice: String,
    pub unit: String,
    /// What the container is called, for the description.
    pub container: String,
}

impl Names {
    /// Takes the value apart. The slice may be empty, and so may the prefix.
    pub fn new(path: Option<&Path>, id: &str, manager: Manager) -> Result<Names> {
        let default = match manager {
            Manager::System => "system.slice",
            Manager::User => "user.slice",
        };
        let given = path.filter(|path| !path.as_os_str().is_empty());
        let Some(path) = given else {
            return Names::of(default, PREFIX, id, Path::new(id));
        };
        let invalid = |reason| Error::ScopePath { path: path.into(), reason };
        let text = path.to_str().ok_or_else(|| invalid("is not text"))?;
        let parts: Vec<&str> = text.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(invalid("is not of the form slice:prefix:name"));
        };
        Names::of(if slice.is_empty() { default } else { slice }, prefix, name, path)
    }

    fn of(slice: &str, prefix: &str, name: &str, path: &Path) -> Result<Names> {
        let invalid = |reason| Error::ScopePath { path: path.into(), reason };
        if name.is_empty() {
            return Err(invalid("has no name in it"));
        }
        if name.ends_with(".slice") {
            return Err(invalid("names a slice, which can't hold processes itself"));
        }
        let unit = format!("{prefix}-{name}.scope");
        // systemd would refuse others too, but only once the container's process is there.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        if unit.len() > LONGEST || !unit.bytes().all(allowed) {
            return Err(invalid("does not make a valid name of a unit"));
        }
        if expand(slice).is_none() {
            return Err(invalid("does not begin with a valid name of a slice"));
        }
        Ok(Names { slice: slice.into(), unit, container: name.into() })
    }

    /// The scope's cgroup below the manager's own.
    pub fn path(&self) -> PathBuf {
        expand(&self.slice).unwrap_or_default().join(&self.unit)
    }
}

/// The cgroup of a slice: `a-b.slice` is in `a.slice`, and `-.slice` is the root.
fn expand(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice")?;
    let mut path = PathBuf::from("/");
    if name == "-" {
        return Some(path);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if slice.len() > LONGEST || !name.bytes().all(allowed) {
        return None;
    }
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        prefix += part;
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Result<Names> {
        Names::new(Some(Path::new(path)), "id", Manager::System)
    }

    #[test]
    fn a_path_names_a_slice_and_a_scope() {
        for (path, slice, unit, cgroup) in [
            ("", "system.slice", "ghost-runc-id.scope", "/system.slice/ghost-runc-id.scope"),
            (
                "machine.slice:libpod:1",
                "machine.slice",
                "libpod-1.scope",
                "/machine.slice/libpod-1.scope",
            ),
            (":cri:1", "system.slice", "cri-1.scope", "/system.slice/cri-1.scope"),
            ("-.slice:a:1", "-.slice", "a-1.scope", "/a-1.scope"),
            (
                "a-b-c.slice::1",
                "a-b-c.slice",
                "-1.scope",
                "/a.slice/a-b.slice/a-b-c.slice/-1.scope",
            ),
        ] {
            let names = names(path).unwrap();
            assert_eq!((&*names.slice, &*names.unit), (slice, unit), "{path}");
            assert_eq!(names.path(), Path::new(cgroup), "{path}");
        }
        let user = Names::new(None, "id", Manager::User).unwrap();
        assert_eq!(user.path(), Path::new("/user.slice/ghost-runc-id.scope"));
    }

    #[test]
    fn what_is_malformed_is_named() {
        for path in [
            "/a/b",
            "a",
            "a.slice:b",
            "a.slice:b:c:d",
            "a.slice:b:",
            "a.slice:b:c.slice",
            "a:b:c",
            ".slice:b:c",
            "a--b.slice:b:c",
            "-a.slice:b:c",
            "a/b.slice:b:c",
            "../a.slice:b:c",
            "a.slice:b:c/d",
            "a.slice:b:c d",
            &format!("a.slice:b:{}", "c".repeat(250)),
        ] {
            let error = names(path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.cgroupsPath {path:?} ")), "{error}");
        }
    }
}
