//! Manifests and indexes, OCI and Docker, told apart by what they hold and refused when they could
//! be read as both.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Descriptor, media_type};
use crate::error::{Error, Result};

/// An image manifest: a config and layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// What it is, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<Box<str>>,
    /// Where the image config is.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index or manifest list: images for several platforms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    /// The images, or further indexes.
    pub manifests: Vec<Descriptor>,
}

/// What a manifest URL may answer with.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several images.
    Index(Index),
}

/// The fields that decide what a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: String,
    config: Option<serde_json::Value>,
    layers: Option<serde_json::Value>,
    manifests: Option<serde_json::Value>,
    fs_layers: Option<serde_json::Value>,
}

impl Manifest {
    /// Refuses an artifact that is no image. `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Document`] saying what it is instead.
    pub fn check_image(&self, what: &str) -> Result<()> {
        let refuse = |reason| Err(Error::Document { what: what.to_owned(), reason });
        let config_type = self.config.media_type.as_str();
        if !matches!(config_type, media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
            let kind = self.artifact_type.as_deref().unwrap_or(config_type);
            return refuse(format!(
                "this is an artifact ('{}'), not an image: it can't be unpacked or run",
                kind.escape_debug()
            ));
        }
        match self.layers.iter().find(|layer| !media_type::is_layer(&layer.media_type)) {
            Some(layer) => refuse(format!(
                "layer {} has the media type '{}', which is no archive of files",
                layer.digest,
                layer.media_type.escape_debug()
            )),
            None => Ok(()),
        }
    }

    /// The manifest's media type, `named` if that is one: some registries say application/json, and
    /// then the config tells the family.
    #[must_use]
    pub fn own_media_type(&self, named: &str) -> &'static str {
        match named.split(';').next().unwrap_or("").trim() {
            media_type::OCI_MANIFEST => media_type::OCI_MANIFEST,
            media_type::DOCKER_MANIFEST => media_type::DOCKER_MANIFEST,
            _ if self.config.media_type == media_type::DOCKER_CONFIG => media_type::DOCKER_MANIFEST,
            _ => media_type::OCI_MANIFEST,
        }
    }
}

impl Index {
    /// The index's media type, `named` if that is one; else its images tell the family.
    #[must_use]
    pub fn own_media_type(&self, named: &str) -> &'static str {
        let docker = |d: &Descriptor| d.media_type == media_type::DOCKER_MANIFEST;
        match named.split(';').next().unwrap_or("").trim() {
            media_type::OCI_INDEX => media_type::OCI_INDEX,
            media_type::DOCKER_LIST => media_type::DOCKER_LIST,
            _ if self.manifests.iter().any(docker) => media_type::DOCKER_LIST,
            _ => media_type::OCI_INDEX,
        }
    }
}

impl Document {
    /// The document's media type, `named` if that is one.
    #[must_use]
    pub fn own_media_type(&self, named: &str) -> &'static str {
        match self {
            Self::Manifest(manifest) => manifest.own_media_type(named),
            Self::Index(index) => index.own_media_type(named),
        }
    }

    /// Reads a manifest or index. `what` names it in errors; `content_type` is the registry's or
    /// the descriptor's word for it, empty if there is none.
    ///
    /// # Errors
    /// [`Error::Json`] or [`Error::Document`]: a document with both `layers` and `manifests`
    /// (CVE-2021-41190), one whose media type says something else than its content, or a schema 1
    /// manifest.
    pub fn parse(what: &str, content_type: &str, bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: &str| {
            Err(Error::Document { what: what.to_owned(), reason: reason.to_owned() })
        };
        let shape: Shape = from_json(what, bytes)?;
        if shape.schema_version == Some(1) || shape.fs_layers.is_some() {
            return refuse(
                "Docker schema 1 images have no digests to trust; have the image pushed anew",
            );
        }
        if shape.schema_version != Some(2) {
            return refuse("schemaVersion is not 2");
        }
        let is_manifest = shape.layers.is_some() || shape.config.is_some();
        if is_manifest && shape.manifests.is_some() {
            return refuse("holds both layers and manifests");
        }
        // Charset and the like may follow a content type; a media type has nothing to follow it.
        let content_type = content_type.split(';').next().unwrap_or("").trim();
        for named in [shape.media_type.as_str(), content_type] {
            match named {
                media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST if !is_manifest => {
                    return refuse("its media type says manifest, but it holds no layers");
                }
                media_type::OCI_INDEX | media_type::DOCKER_LIST if is_manifest => {
                    return refuse("its media type says index, but it holds layers");
                }
                _ => {}
            }
        }
        if shape.manifests.is_some() {
            return Ok(Self::Index(from_json(what, bytes)?));
        }
        if !is_manifest {
            return refuse("holds neither layers nor manifests");
        }
        Ok(Self::Manifest(from_json(what, bytes)?))
    }
}

/// Reads JSON, naming the document on failure.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { what: what.to_owned(), source })
}

/// Go writes absent lists and maps as null.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(media_type: &str) -> serde_json::Value {
        json!({ "mediaType": media_type, "size": 1,
            "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" })
    }

    fn parse(content_type: &str, value: &serde_json::Value) -> Result<Document> {
        let document = Document::parse("m", content_type, value.to_string().as_bytes())?;
        match &document {
            Document::Manifest(manifest) => manifest.check_image("m")?,
            Document::Index(_) => {}
        }
        Ok(document)
    }

    fn manifest() -> serde_json::Value {
        json!({ "schemaVersion": 2, "config": descriptor(media_type::OCI_CONFIG),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")] })
    }

    #[test]
    fn manifest_and_index() {
        assert!(matches!(parse("", &manifest()), Ok(Document::Manifest(_))));
        let index =
            json!({ "schemaVersion": 2, "manifests": [descriptor(media_type::OCI_MANIFEST)] });
        assert!(matches!(parse(media_type::OCI_INDEX, &index), Ok(Document::Index(_))));
        let charset = "application/vnd.oci.image.index.v1+json; charset=utf-8";
        assert!(matches!(parse(charset, &index), Ok(Document::Index(_))));
    }

    #[test]
    fn refused_documents() {
        let mut both = manifest();
        both["manifests"] = json!([]);
        let mut artifact = manifest();
        artifact["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        let mut odd_layer = manifest();
        odd_layer["layers"][0]["mediaType"] = json!("application/wasm");
        let mut old = manifest();
        old["schemaVersion"] = json!(1);
        let mut bad_digest = manifest();
        bad_digest["config"]["digest"] = json!("sha256:../../etc/passwd");
        let mut negative = manifest();
        negative["config"]["size"] = json!(-1);
        for (value, word) in [
            (both, "both layers and manifests"),
            (artifact, "artifact"),
            (odd_layer, "no archive"),
            (old, "schema 1"),
            (bad_digest, "not valid"),
            (negative, "not valid"),
            (json!({ "schemaVersion": 2 }), "neither"),
            (json!({ "schemaVersion": 2, "layers": [] }), "not valid"),
            (json!([]), "not valid"),
        ] {
            let error = parse("", &value).unwrap_err().chain();
            assert!(error.contains(word), "{error} for {value}");
        }
        assert!(parse(media_type::DOCKER_LIST, &manifest()).is_err());
        let index = json!({ "schemaVersion": 2, "manifests": [] });
        assert!(parse(media_type::OCI_MANIFEST, &index).is_err());
    }
}
