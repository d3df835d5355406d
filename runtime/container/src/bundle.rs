//! A bundle: a directory with a config.json, see bundle.md of the runtime-spec.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, Os, Violation, list};
use crate::json_path;
use crate::json_tree::Node;
use crate::place;
use crate::respell::respell;
use crate::type_errors::{self, Broken};

/// A loaded bundle.
#[derive(Debug)]
pub struct Bundle {
    /// The directory, absolute and without symbolic links.
    pub path: PathBuf,
    /// Its config.json.
    pub spec: Spec,
    /// The bytes it was read from, for the lines of errors.
    text: Vec<u8>,
    /// Capabilities that nobody knows, which `spec` is without.
    pub(crate) unknown: Vec<Violation>,
}

impl Bundle {
    /// Reads `config.json` of the directory. Syntax and types are checked. Values are not, unless a
    /// type is wrong: then the error is all that is wrong, for a cgroup that systemd makes or not.
    pub fn load(dir: &Path, systemd_cgroup: bool) -> Result<Bundle, Error> {
        let path = dir.canonicalize().context(|| format!("bundle {}", dir.display()))?;
        let file = path.join("config.json");
        let contents = match read(&file) {
            // The words "no such file" would be taken for the program's.
            Err(Error::System { source: Os(Errno::ENOENT), .. }) => {
                return Err(Error::NoConfig { path: file });
            }
            contents => contents?,
        };
        match contents {
            (text, Ok(spec)) => Ok(Bundle { path, spec, text, unknown: Vec::new() }),
            (text, Err(error)) => {
                explain(type_errors::all(&file, &text, error), path, text, systemd_cgroup)
            }
        }
    }

    /// Reads a file that holds the `process` object alone, as `exec --process` takes it, and warns of
    /// unknown capabilities.
    pub fn load_process(file: &Path) -> Result<Process, Error> {
        let (text, process) = read::<Process>(file)?;
        let process = process.or_else(|error| {
            let (process, unknown) = type_errors::all(file, &text, error).value()?;
            warn(&unknown);
            Ok::<Process, Error>(process)
        })?;
        if process.io_priority().is_some() {
            has_class(find(&text, "ioPriority.class"))?;
        }
        Ok(process)
    }

    /// Refuses `process.ioPriority` without its class, which oci-spec would make up.
    pub(crate) fn check_io_priority(&self) -> Result<(), Error> {
        let process = self.spec.process().as_ref();
        match process.and_then(|process| process.io_priority().as_ref()) {
            Some(_) => has_class(self.text_at(IO_CLASS)),
            None => Ok(()),
        }
    }

    /// Warns of the capabilities that the container goes without because nobody knows them, as the
    /// runtime-spec demands.
    pub fn warn(&self) {
        warn(&self.unknown);
    }

    /// Adds to several errors the lines of config.json that they are about.
    pub(crate) fn locate(&self, error: Error) -> Error {
        let Error::Many(mut found) = error else { return error };
        found.iter_mut().for_each(|violation| violation.locate(self));
        Error::Many(found)
    }

    /// The line of config.json, counted from 1, that a place is on.
    pub(crate) fn line(&self, path: &str) -> Option<usize> {
        Some(Node::read(&self.text)?.line(&self.text, path)).filter(|_| !path.is_empty())
    }

    /// What config.json has at this path, be it a field that oci-spec knows or not.
    pub(crate) fn text_at(&self, path: &str) -> Option<&[u8]> {
        find(&self.text, path)
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

const IO_CLASS: &str = "process.ioPriority.class";

/// What a JSON document has at this path.
fn find<'a>(text: &'a [u8], path: &str) -> Option<&'a [u8]> {
    let names = json_path::names(path);
    let tree = Node::read(text)?;
    let chain = tree.along(&names);
    let found = chain.last().filter(|_| chain.len() == names.len())?;
    Some(&text[found.value.range.clone()])
}

fn has_class(text: Option<&[u8]>) -> Result<(), Error> {
    text.map(drop).ok_or_else(|| Error::invalid(IO_CLASS, "missing"))
}

/// The bytes of a file, and what they say.
fn read<T: DeserializeOwned>(
    path: &Path,
) -> Result<(Vec<u8>, Result<T, serde_json::Error>), Error> {
    let text = fs::read(path).context(|| format!("read {}", path.display()))?;
    match serde_json::from_slice(&text) {
        Ok(value) => Ok((text, Ok(value))),
        Err(_) => {
            let text = respell(text);
            let value = serde_json::from_slice(&text);
            Ok((text, value))
        }
    }
}

/// What is wrong with the types, and with the values of the rest; the bundle, if nothing is.
fn explain(
    broken: Broken<Spec>,
    path: PathBuf,
    text: Vec<u8>,
    systemd_cgroup: bool,
) -> Result<Bundle, Error> {
    let mut found = broken.errors;
    let Some(rest) = broken.rest else { return Err(Error::of(found)) };
    let bundle = Bundle { path, spec: rest.value.clone(), text, unknown: broken.unknown };
    if found.is_empty() {
        return Ok(bundle);
    }
    for mut violation in place::violations(&bundle, systemd_cgroup) {
        if violation.error.field().is_some_and(|field| rest.proves(&field)) {
            violation.locate(&bundle);
            found.push(violation);
        }
    }
    Err(Error::of(found))
}

/// One line, for logs that are read as one object.
fn warn(unknown: &[Violation]) {
    if !unknown.is_empty() {
        log::warn!("left out: {}", list(unknown));
    }
}
