//! The image config: what to run, and the digests of the uncompressed layers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::manifest::{from_json, null_is_default};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The image config, as far as unpacking and running need it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageConfig {
    /// As in `amd64`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// As in `linux`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// As in `v7`.
    #[serde(default)]
    pub variant: Option<String>,
    /// The operating system's version, on Windows.
    #[serde(default, rename = "os.version")]
    pub os_version: Option<String>,
    /// What the operating system must have.
    #[serde(default, rename = "os.features", deserialize_with = "null_is_default")]
    pub os_features: Vec<String>,
    /// Who made the image.
    #[serde(default)]
    pub author: Option<String>,
    /// When, in RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Execution,
    /// Its layers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: Rootfs,
}

/// How to run an image: the config's `config`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `user`, `uid`, `user:group`, …
    #[serde(default, deserialize_with = "null_is_default")]
    pub user: String,
    /// `80/tcp` and the like; the values are empty objects.
    #[serde(default, deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The start of the command.
    #[serde(default, deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    #[serde(default, deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Directories for data of their own; the values are empty objects.
    #[serde(default, deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// The working directory.
    #[serde(default, deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Free notes.
    #[serde(default, deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends the command.
    #[serde(default, deserialize_with = "null_is_default")]
    pub stop_signal: String,
}

/// The config's `rootfs`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Rootfs {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a config for a manifest with `layers` layers. `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Json`], or [`Error::Document`] if it names another number of layers.
    pub fn parse(what: &str, bytes: &[u8], layers: usize) -> Result<Self> {
        let config: Self = from_json(what, bytes)?;
        let found = config.rootfs.diff_ids.len();
        if found != layers {
            return Err(Error::Document {
                what: what.to_owned(),
                reason: format!("names {found} diff_ids, but the manifest has {layers} layers"),
            });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_absent() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,
            "Volumes":null,"Labels":null,"ExposedPorts":null,"User":"","Entrypoint":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config = ImageConfig::parse("c", text.as_bytes(), 0).unwrap();
        assert_eq!(config.architecture, "amd64");
        assert!(config.config.env.is_empty() && config.config.volumes.is_empty());
    }

    #[test]
    fn layer_count_must_match() {
        let text = br#"{"rootfs":{"diff_ids":[]}}"#;
        let error = ImageConfig::parse("c", text, 1).unwrap_err().to_string();
        assert!(error.contains("0 diff_ids") && error.contains("1 layers"), "{error}");
    }
}
