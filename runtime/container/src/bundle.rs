//! A bundle: a directory with a config.json, see bundle.md of the runtime-spec.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;

use crate::error::{Context, Error};

/// A loaded bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The directory, absolute and without symbolic links.
    pub path: PathBuf,
    /// Its config.json.
    pub spec: Spec,
}

impl Bundle {
    /// Reads `config.json` of the directory. Syntax and types are checked, values are not.
    pub fn load(dir: &Path) -> Result<Bundle, Error> {
        let path = dir.canonicalize().context(|| format!("bundle {}", dir.display()))?;
        let spec = load_json(&path.join("config.json"))?;
        Ok(Bundle { path, spec })
    }

    /// Reads a file that holds the `process` object alone, as `exec --process` takes it.
    pub fn load_process(file: &Path) -> Result<Process, Error> {
        load_json(file)
    }

    /// The container's root directory on the host.
    pub fn rootfs(&self) -> Result<PathBuf, Error> {
        let Some(root) = self.spec.root() else {
            return Err(Error::invalid("root", "missing"));
        };
        if root.path().as_os_str().is_empty() {
            return Err(Error::invalid("root.path", "empty"));
        }
        Ok(self.path.join(root.path()))
    }
}

fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read(path).context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).map_err(|_| explain::<T>(path, &text))
}

/// Parses again, slower, to find the field that did not parse.
fn explain<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Error {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let (field, error) = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => {
            let field = error.path().to_string();
            let unknown = field.split('.').any(|part| part.is_empty() || part == "?");
            (if unknown { String::new() } else { field + ": " }, error.into_inner())
        }
        // The value is whole: what follows it is not.
        Ok(_) => match reader.end() {
            Err(error) => (String::new(), error),
            Ok(()) => {
                return Error::system(
                    format!("parse {}", path.display()),
                    nix::errno::Errno::EINVAL,
                );
            }
        },
    };
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Error::Parse { path: path.to_owned(), line, column, field, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_line_column_and_field() {
        for (text, line, field) in [
            ("{\n  \"ociVersion\": 1\n}", 2, "ociVersion: "),
            (
                "{\n\"ociVersion\": \"1.0\",\n\"process\": {\"cwd\": \"/\", \"args\": 3}}",
                3,
                "process.args: ",
            ),
            ("{\"ociVersion\": \"1.0\",\n", 2, ""),
            ("{\"ociVersion\": \"1.0\"}\nx", 2, ""),
        ] {
            match explain::<Spec>(Path::new("c"), text.as_bytes()) {
                Error::Parse { line: l, field: f, .. } => {
                    assert_eq!((l, f.as_str()), (line, field), "{text}")
                }
                other => panic!("{text}: {other}"),
            }
        }
    }
}
