//! Manifests, indexes and configs: small documents that are read whole and checked at once.

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use super::Registry;
use super::transport::{Request, shown};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Bounds, Descriptor, media_type};

/// A document that matches its digest.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The bytes as they came.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What the registry calls them; empty if it says nothing.
    pub content_type: String,
}

impl Registry {
    /// Fetches the manifest or index of a tag or digest; `expected` is the digest it must have. `once` is
    /// for a place that is not the last to ask.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], [`Error::Protocol`] if it is larger than may be, or those of sending.
    pub async fn manifest(
        &self,
        version: &str,
        expected: Option<&Digest>,
        once: bool,
        bounds: Bounds,
    ) -> Result<Fetched> {
        let accept = [
            media_type::OCI_INDEX,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_LIST,
            media_type::DOCKER_MANIFEST,
        ]
        .join(", ");
        let path = self.path("manifests", version);
        let request = Request { accept: &accept, once, ..Request::get("get the manifest", &path) };
        let response = self.transport.send(&request).await?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or("").to_owned()
        };
        let content_type = header(CONTENT_TYPE.as_str());
        let promised = header("docker-content-digest");
        let bytes = read(response, bounds).await?;
        let digest = Digest::of(&bytes);
        // The header is the registry's own word; it must at least agree with itself.
        let promised = match (expected, promised.as_str()) {
            (Some(expected), _) => Some(*expected),
            (None, text) if text.starts_with("sha256:") => Some(Digest::parse(text)?),
            _ => None,
        };
        match promised {
            Some(expected) if expected != digest => Err(Error::WrongDigest {
                what: format!("manifest {version}"),
                expected,
                found: digest,
            }),
            _ => Ok(Fetched { bytes, digest, content_type }),
        }
    }

    /// Fetches an image config.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], [`Error::WrongSize`], [`Error::Protocol`] if it is larger than may be, or
    /// those of sending.
    pub async fn config(&self, descriptor: &Descriptor, bounds: Bounds) -> Result<Vec<u8>> {
        let path = self.path("blobs", &descriptor.digest.to_string());
        let request = Request::get("get the config", &path);
        let bytes = read(self.transport.send(&request).await?, bounds).await?;
        crate::store::check(|| format!("config {}", descriptor.digest), descriptor, &bytes)?;
        Ok(bytes)
    }
}

/// Reads a document, but no more than may be.
async fn read(mut response: Response, bounds: Bounds) -> Result<Vec<u8>> {
    let url = shown(response.url());
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|source| Error::Http {
            action: "read from",
            url: url.clone(),
            source: source.without_url(),
        })?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() as u64 + chunk.len() as u64 > bounds.document {
            let reason = format!("the document {}", bounds.too_large());
            return Err(Error::Protocol { url, reason });
        }
        bytes.extend_from_slice(&chunk);
    }
}
