//! Mounts of the user's, as `--volume` and `--mount` write them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Options of a mount that are the kernel's or the runtime's own.
const OPTIONS: [&str; 28] = [
    "ro",
    "rw",
    "bind",
    "rbind",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "diratime",
    "nodiratime",
    "sync",
    "async",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
    "idmap",
];
const PROPAGATION: [&str; 8] =
    ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];

/// A mount for config.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    destination: String,
    kind: &'static str,
    source: PathBuf,
    options: Vec<String>,
}

impl Mount {
    /// Reads `SOURCE:DESTINATION[:OPTION,…]`. A relative source is below `here`.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn volume(text: &str, here: &Path) -> Result<Self> {
        let bad = |reason: &str| Error::Argument {
            option: "--volume",
            reason: format!("'{}': {reason}", text.escape_debug()),
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, options) = match parts[..] {
            [source, destination] => (source, destination, ""),
            [source, destination, options] => (source, destination, options),
            _ => return Err(bad("is not SOURCE:DESTINATION[:OPTION,…]")),
        };
        let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
        if let Some(unknown) = options.iter().find(|option| !OPTIONS.contains(option)) {
            return Err(bad(&format!("'{}' is no option of a mount", unknown.escape_debug())));
        }
        Self::bind(source, destination, &options, here).map_err(|reason| bad(&reason))
    }

    /// Reads `type=bind|tmpfs,source=…,destination=…,…`, as podman and Docker take it.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn described(text: &str, here: &Path) -> Result<Self> {
        let bad = |reason: String| Error::Argument {
            option: "--mount",
            reason: format!("'{}': {reason}", text.escape_debug()),
        };
        let fields = Fields::parse(text).map_err(bad)?;
        match fields.kind {
            "bind" => {
                let source = fields.source.ok_or_else(|| bad("has no source".to_owned()))?;
                let options: Vec<&str> = fields.options.iter().map(String::as_str).collect();
                Self::bind(source, fields.destination, &options, here).map_err(bad)
            }
            "tmpfs" if fields.source.is_some() => Err(bad("a tmpfs has no source".to_owned())),
            "tmpfs" => {
                let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
                options.extend(fields.options.into_iter().filter(|option| option != "rbind"));
                Ok(Self {
                    destination: absolute(fields.destination).map_err(bad)?,
                    kind: "tmpfs",
                    source: PathBuf::from("tmpfs"),
                    options,
                })
            }
            other => Err(bad(format!("type '{}' is not bind or tmpfs", other.escape_debug()))),
        }
    }

    fn bind(
        source: &str,
        destination: &str,
        options: &[&str],
        here: &Path,
    ) -> Result<Self, String> {
        if source.is_empty() {
            return Err("has no source".to_owned());
        }
        let source = here.join(source);
        std::fs::symlink_metadata(&source)
            .map_err(|error| format!("the source {}: {error}", source.display()))?;
        let mut all: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        if !options.contains(&"bind") && !options.contains(&"rbind") {
            all.insert(0, "rbind".to_owned());
        }
        if !options.iter().any(|option| PROPAGATION.contains(option)) {
            all.push("rprivate".to_owned());
        }
        Ok(Self { destination: absolute(destination)?, kind: "bind", source, options: all })
    }

    /// Adds the mount to a config, in the place of one that has the same destination.
    pub fn add_to(&self, spec: &mut Value) -> Result<()> {
        let source = self.source.to_str().ok_or_else(|| Error::Argument {
            option: "--volume",
            reason: format!("{} is not UTF-8, which config.json must be", self.source.display()),
        })?;
        let mount = json!({
            "destination": self.destination,
            "type": self.kind,
            "source": source,
            "options": self.options,
        });
        if let Some(mounts) = spec["mounts"].as_array_mut() {
            mounts.retain(|other| other["destination"] != mount["destination"]);
            mounts.push(mount);
        }
        Ok(())
    }
}

fn absolute(path: &str) -> Result<String, String> {
    match path {
        "" => Err("has no destination".to_owned()),
        "/" => Err("the destination is the root itself".to_owned()),
        path if !path.starts_with('/') => {
            Err(format!("the destination '{}' is not absolute", path.escape_debug()))
        }
        path if path.split('/').any(|part| part == "..") => {
            Err(format!("the destination '{}' has a '..'", path.escape_debug()))
        }
        path => Ok(path.trim_end_matches('/').to_owned()),
    }
}

/// The fields of `--mount`.
struct Fields<'a> {
    kind: &'a str,
    source: Option<&'a str>,
    destination: &'a str,
    options: Vec<String>,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut fields = Self { kind: "bind", source: None, destination: "", options: Vec::new() };
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            };
            let needed = || value.filter(|v| !v.is_empty()).ok_or(format!("'{key}' has no value"));
            match key {
                "type" => fields.kind = needed()?,
                "source" | "src" => fields.source = Some(needed()?),
                "destination" | "dst" | "target" => fields.destination = needed()?,
                "readonly" | "ro" => match value {
                    None | Some("true" | "1") => fields.options.push("ro".to_owned()),
                    Some("false" | "0") => {}
                    Some(other) => return Err(format!("'{key}' is '{}'", other.escape_debug())),
                },
                "bind-propagation" if PROPAGATION.contains(&needed()?) => {
                    fields.options.push(needed()?.to_owned());
                }
                "tmpfs-size" => fields.options.push(format!("size={}", plain(needed()?)?)),
                "tmpfs-mode" => fields.options.push(format!("mode={}", plain(needed()?)?)),
                option if value.is_none() && OPTIONS.contains(&option) => {
                    fields.options.push(option.to_owned());
                }
                _ => return Err(format!("'{}' is not known", field.escape_debug())),
            }
        }
        Ok(fields)
    }
}

/// A number, perhaps with a unit.
fn plain(text: &str) -> Result<&str, String> {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%') {
        true => Ok(text),
        false => Err(format!("'{}' is no number", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(mount: &Mount) -> Value {
        let mut spec = json!({ "mounts": [{ "destination": "/tmp" }] });
        mount.add_to(&mut spec).unwrap();
        spec["mounts"].as_array().unwrap().last().unwrap().clone()
    }

    #[test]
    fn volumes() {
        for (text, source, destination, options) in [
            ("/etc:/x", "/etc", "/x", json!(["rbind", "rprivate"])),
            ("/etc:/x/:ro,rslave", "/etc", "/x", json!(["rbind", "ro", "rslave"])),
            ("etc:/x:bind,nodev", "/etc", "/x", json!(["bind", "nodev", "rprivate"])),
        ] {
            let expected = json!({ "type": "bind", "source": source, "destination": destination,
                "options": options });
            assert_eq!(value(&Mount::volume(text, Path::new("/")).unwrap()), expected, "{text}");
        }
        for (text, word) in [
            ("/etc", "is not SOURCE"),
            ("/etc:/x:ro:rw", "is not SOURCE"),
            ("/etc:x", "not absolute"),
            ("/etc:/", "root itself"),
            ("/etc:/x/../y", "'..'"),
            (":/x", "no source"),
            ("/etc:/x:z", "'z' is no option"),
            ("/nowhere:/x", "No such file"),
        ] {
            let error = Mount::volume(text, Path::new("/")).unwrap_err().to_string();
            assert!(error.starts_with("--volume") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn long_mounts() {
        for (text, expected) in [
            (
                "type=tmpfs,dst=/tmp,tmpfs-size=64m,tmpfs-mode=1777,noexec",
                json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/tmp",
                    "options": ["nosuid", "nodev", "size=64m", "mode=1777", "noexec"] }),
            ),
            (
                "src=/etc,target=/x,readonly,bind-propagation=rslave",
                json!({ "type": "bind", "source": "/etc", "destination": "/x",
                    "options": ["rbind", "ro", "rslave"] }),
            ),
        ] {
            assert_eq!(value(&Mount::described(text, Path::new("/")).unwrap()), expected, "{text}");
        }
        for (text, word) in [
            ("", "not known"),
            ("dst=/x", "no source"),
            ("src=/etc", "no destination"),
            ("type=nfs,src=/etc,dst=/x", "not bind or tmpfs"),
            ("type=tmpfs,src=a,dst=/x", "no source"),
            ("src=/etc,dst=/x,ro=maybe", "'ro' is 'maybe'"),
            ("src=/etc,dst=/x,color=red", "'color=red' is not known"),
            ("type=tmpfs,dst=/x,tmpfs-size=1,upperdir=/", "not known"),
            ("src,dst=/x", "'src' has no value"),
        ] {
            let error = Mount::described(text, Path::new("/")).unwrap_err().to_string();
            assert!(error.starts_with("--mount") && error.contains(word), "{error}");
        }
    }
}
