//! Descriptors: media type, digest and size of another document or of a layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Platform;
use crate::digest::Digest;

/// The media types that imagectl knows.
pub mod media_type {
    /// An OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A Docker schema 2 manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A Docker image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

    /// An OCI layer, not compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    /// Is it a layer that its maker alone may distribute, so that a registry need not have it?
    #[must_use]
    pub fn is_foreign(media_type: &str) -> bool {
        [
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ]
        .iter()
        .any(|kind| media_type.starts_with(kind))
    }

    /// Is this an archive of files that an image is made of? How it is compressed is read from
    /// its first bytes.
    #[must_use]
    pub fn is_layer(media_type: &str) -> bool {
        let oci = ["layer.v1.tar", "layer.nondistributable.v1.tar"].iter().any(|kind| {
            media_type
                .strip_prefix("application/vnd.oci.image.")
                .and_then(|rest| rest.strip_prefix(kind))
                .is_some_and(|rest| matches!(rest, "" | "+gzip" | "+zstd"))
        });
        let docker = ["diff.tar", "foreign.diff.tar"].iter().any(|kind| {
            media_type
                .strip_prefix("application/vnd.docker.image.rootfs.")
                .and_then(|rest| rest.strip_prefix(kind))
                .is_some_and(|rest| matches!(rest, "" | ".gzip" | ".zstd"))
        });
        oci || docker
    }
}

/// A pointer to bytes elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    #[serde(default)]
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// Their size in bytes.
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// In an index: what kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free notes, such as the image's name in `index.json`.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "super::manifest::null_is_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without platform and notes.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::media_type::is_layer;

    #[test]
    fn layer_media_types() {
        for yes in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert!(is_layer(yes), "{yes}");
        }
        for no in [
            "",
            "application/vnd.oci.image.layer.v1.tar+encrypted",
            "application/vnd.oci.image.layer.v1.squashfs",
            "application/vnd.wasm.content.layer.v1+wasm",
            "application/vnd.oci.empty.v1+json",
        ] {
            assert!(!is_layer(no), "{no}");
        }
    }
}
