//! Where registries.conf and its drop-ins are.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const NAME: &str = "registries.conf";
const SYSTEM: &str = "/etc/containers";

/// The files that count with their text, the ones that win last. The user's own file stands for all of
/// the system's; `CONTAINERS_REGISTRIES_CONF` stands for the one file alone.
pub fn files() -> Result<Vec<(PathBuf, String)>> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let own = variable("XDG_CONFIG_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".config")))
        .map(|directory| directory.join("containers"));
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::from(SYSTEM)];
    let own_file = own.as_deref().map(|own| read(&own.join(NAME))).transpose()?.flatten();
    match (variable("CONTAINERS_REGISTRIES_CONF"), own_file) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            files.push((path, text));
        }
        (None, Some(found)) => {
            files.push(found);
            directories.clear();
        }
        (None, None) => files.extend(read(&Path::new(SYSTEM).join(NAME))?),
    }
    directories.extend(own);
    for directory in directories {
        files.extend(drop_ins(&directory.join("registries.conf.d"))?);
    }
    Ok(files)
}

/// Reads a file that need not be there.
pub fn read(path: &Path) -> Result<Option<(PathBuf, String)>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn drop_ins(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if absent(&error) => return Ok(Vec::new()),
        result => result.map_err(Error::io("read", directory))?,
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    paths.sort();
    Ok(paths
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
