//! A bundle: a directory with a config.json, see bundle.md of the runtime-spec.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;

use crate::error::{Context, Error};
use crate::json_path;

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
    serde_json::from_slice(&text).map_err(|error| explain(path, &text, &error))
}

/// Says which field did not parse.
fn explain(path: &Path, text: &[u8], error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    // The column is that of the value's last byte, or the one after it.
    let offset = json_path::offset(text, line, column).saturating_sub(1);
    let mut field = json_path::at(text, offset);
    if !field.is_empty() {
        field.push_str(": ");
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    // oci-spec's words for a capability it doesn't know: "no variant for CAP_X (converted to X)".
    let message = match message.strip_prefix("no variant for ") {
        Some(rest) => format!("unknown capability {}", rest.split(' ').next().unwrap_or_default()),
        None => message.to_owned(),
    };
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
            let error = serde_json::from_slice::<Spec>(text.as_bytes()).unwrap_err();
            match explain(Path::new("c"), text.as_bytes(), &error) {
                Error::Parse { line: l, field: f, .. } => {
                    assert_eq!((l, f.as_str()), (line, field), "{text}")
                }
                other => panic!("{text}: {other}"),
            }
        }
    }
}
