//! Uploads: blobs in chunks, or by a mount from another repository, and then the manifest.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::Registry;
use super::transport::{Request, shown};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Descriptor;

/// A blob is sent in pieces of this size: one is sent again when it gets lost, and so many are in
/// memory as uploads run at once.
const CHUNK: u64 = 8 << 20;

/// How a blob came to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Present,
    /// It was in another repository.
    Mounted,
    /// It was sent.
    Sent,
}

impl Registry {
    /// Brings a blob into the repository, from the repository `other` of the same registry if it is there.
    ///
    /// # Errors
    /// Those of sending, or [`Error::Io`] of reading the blob.
    pub async fn upload(
        &self,
        descriptor: &Descriptor,
        blob: File,
        other: Option<&str>,
        progress: impl Fn(u64),
    ) -> Result<Uploaded> {
        if self.has_blob(descriptor).await? {
            return Ok(Uploaded::Present);
        }
        let digest = descriptor.digest.to_string();
        let uploads = self.path("blobs", "uploads/");
        if let Some(other) = other {
            let path = format!("{uploads}?mount={digest}&from={other}");
            let mount =
                Request { method: Method::POST, ..Request::get("mount the blob at", &path) };
            // Not every registry can, and not everybody may: then it is sent.
            if let Ok(response) = self.transport.send(&mount).await {
                if response.status() == StatusCode::CREATED {
                    return Ok(Uploaded::Mounted);
                }
                let url = location(&response)?;
                return self.send_blob(descriptor, blob, url, progress).await;
            }
        }
        let begin = Request { method: Method::POST, ..Request::get("begin to send to", &uploads) };
        let response = self.transport.send(&begin).await?;
        let url = location(&response)?;
        self.send_blob(descriptor, blob, url, progress).await
    }

    /// Is the blob in the repository?
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let path = self.path("blobs", &descriptor.digest.to_string());
        let request = Request { method: Method::HEAD, ..Request::get("look for", &path) };
        match self.transport.send(&request).await {
            Ok(_) => Ok(true),
            Err(Error::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends the blob to where the registry wants it.
    async fn send_blob(
        &self,
        descriptor: &Descriptor,
        mut blob: File,
        mut url: Url,
        progress: impl Fn(u64),
    ) -> Result<Uploaded> {
        const ACTION: &str = "send the blob to";
        let mut sent = 0;
        while descriptor.size - sent > CHUNK {
            let chunk = read(&mut blob, CHUNK, descriptor)?;
            let mut headers = octets();
            let range = format!("{sent}-{}", sent + CHUNK - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(reqwest::header::CONTENT_RANGE, range);
            }
            let request = Request {
                method: Method::PATCH,
                url: Some(&url),
                headers,
                body: chunk,
                ..Request::get(ACTION, "")
            };
            let response = self.transport.send(&request).await?;
            let next = location(&response)?;
            url = next;
            sent += CHUNK;
            progress(CHUNK);
        }
        let rest = descriptor.size - sent;
        let body = read(&mut blob, rest, descriptor)?;
        url.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        let request = Request {
            method: Method::PUT,
            url: Some(&url),
            headers: octets(),
            body,
            ..Request::get(ACTION, "")
        };
        self.transport.send(&request).await?;
        progress(rest);
        Ok(Uploaded::Sent)
    }

    /// Puts a manifest under a tag or its digest. Its blobs must be there.
    ///
    /// # Errors
    /// Those of sending; [`Error::WrongDigest`] if the registry made another manifest of it.
    pub async fn put_manifest(
        &self,
        version: &str,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let path = self.path("manifests", version);
        let mut headers = HeaderMap::new();
        if let Ok(media_type) = HeaderValue::from_str(&descriptor.media_type) {
            headers.insert(CONTENT_TYPE, media_type);
        }
        let request = Request {
            method: Method::PUT,
            headers,
            body: bytes.into(),
            ..Request::get("send the manifest to", &path)
        };
        let response = self.transport.send(&request).await?;
        let header = response.headers().get("docker-content-digest");
        match header.and_then(|value| value.to_str().ok()).map(Digest::parse) {
            Some(Ok(found)) if found != descriptor.digest => Err(Error::WrongDigest {
                what: format!("manifest {version}"),
                expected: descriptor.digest,
                found,
            }),
            _ => Ok(()),
        }
    }
}

fn octets() -> HeaderMap {
    let octets = HeaderValue::from_static("application/octet-stream");
    HeaderMap::from_iter([(CONTENT_TYPE, octets)])
}

/// Where the next request of an upload goes.
fn location(response: &Response) -> Result<Url> {
    let header = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    header.and_then(|text| response.url().join(text).ok()).ok_or_else(|| Error::Protocol {
        url: shown(response.url()),
        reason: "names no place to send the blob to".into(),
    })
}

/// Reads the blob's next bytes.
fn read(blob: &mut File, length: u64, descriptor: &Descriptor) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let path = || format!("blob {}", descriptor.digest);
    blob.take(length).read_to_end(&mut bytes).map_err(Error::io("read", path()))?;
    match bytes.len() as u64 == length {
        true => Ok(bytes.into()),
        false => Err(Error::WrongSize {
            what: path(),
            expected: descriptor.size,
            found: descriptor.size - length + bytes.len() as u64,
            more: false,
        }),
    }
}
