//! Uploads: blobs in chunks, or by a mount from another repository, and then the manifest.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::Registry;
use super::transport::{Request, shown};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Descriptor;

/// A blob is sent in pieces of this size: one is sent again when it gets lost, and so many are in
/// memory as uploads run at once.
const CHUNK: u64 = 8 << 20;
/// The largest piece that a registry may ask for.
const CHUNK_LIMIT: u64 = 128 << 20;

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
                let place = Place::of(&response)?;
                return self.send_blob(descriptor, blob, place, progress).await;
            }
        }
        let place = self.begin().await?;
        self.send_blob(descriptor, blob, place, progress).await
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

    /// Begins an upload.
    async fn begin(&self) -> Result<Place> {
        let uploads = self.path("blobs", "uploads/");
        let begin = Request { method: Method::POST, ..Request::get("begin to send to", &uploads) };
        Place::of(&self.transport.send(&begin).await?)
    }

    /// Sends the blob to where the registry wants it, and goes on where that breaks off.
    async fn send_blob(
        &self,
        descriptor: &Descriptor,
        mut blob: File,
        mut place: Place,
        progress: impl Fn(u64),
    ) -> Result<Uploaded> {
        let (mut shown, mut attempt) = (0, 0);
        loop {
            let before = place.sent;
            let sent = self.go_on(descriptor, &mut blob, &mut place).await;
            // What is sent again was shown already.
            progress(place.sent.saturating_sub(shown));
            shown = shown.max(place.sent);
            match sent {
                Ok(true) => return Ok(Uploaded::Sent),
                Ok(false) => attempt = 0,
                Err(error) if attempt < self.transport.retries() && may_go_on(&error) => {
                    tokio::time::sleep(self.transport.pause(&error, attempt)).await;
                    match self.found_again(&place).await {
                        Some(found) if found.sent <= descriptor.size => place = found,
                        // The answer to the last piece may be all that got lost.
                        _ if self.has_blob(descriptor).await? => return Ok(Uploaded::Sent),
                        _ => place = self.begin().await?,
                    }
                    // Somebody who forgets all of it again and again is asked no more often.
                    attempt = if place.sent > before { 0 } else { attempt + 1 };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the next piece; `true` with the last.
    async fn go_on(
        &self,
        descriptor: &Descriptor,
        blob: &mut File,
        place: &mut Place,
    ) -> Result<bool> {
        let rest = descriptor.size - place.sent;
        let last = rest <= place.chunk;
        let length = rest.min(place.chunk);
        let body = read(blob, place.sent, length, descriptor)?;
        let (mut url, mut headers) = (place.url.clone(), octets());
        if last {
            url.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        }
        // Whoever sends all of it at once needs to say no range.
        if length > 0 && !(last && place.sent == 0) {
            let range = format!("{}-{}", place.sent, place.sent + length - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(CONTENT_RANGE, range);
            }
        }
        let request = Request {
            method: if last { Method::PUT } else { Method::PATCH },
            url: Some(&url),
            headers,
            body,
            // A part of it may have come: what is sent next is decided when that is known.
            once: true,
            ..Request::get("send the blob to", "")
        };
        let response = self.transport.send(&request).await?;
        place.sent += length;
        if !last {
            place.url = location(&response)?;
        }
        Ok(last)
    }

    /// Asks how far the upload is; `None` if nobody knows it any more.
    async fn found_again(&self, place: &Place) -> Option<Place> {
        let status = Request { url: Some(&place.url), ..Request::get("ask for the upload at", "") };
        let response = self.transport.send(&status).await.ok()?;
        let range = response.headers().get(RANGE)?.to_str().ok()?;
        let (_, end) = range.trim_start_matches("bytes=").split_once('-')?;
        // Of nothing they say 0-0 too.
        let sent = end.trim().parse::<u64>().ok()?.checked_add(1).filter(|sent| *sent > 1);
        let url = location(&response).unwrap_or_else(|_| place.url.clone());
        Some(Place { url, sent: sent.unwrap_or(0), chunk: place.chunk })
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

/// Where an upload is.
struct Place {
    /// Where its next piece goes.
    url: Url,
    /// How many bytes the registry has.
    sent: u64,
    /// How large a piece is, in bytes.
    chunk: u64,
}

impl Place {
    /// Where the answer says that a new upload goes.
    fn of(response: &Response) -> Result<Self> {
        let least = response.headers().get("oci-chunk-min-length");
        let least = least.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let chunk = least.unwrap_or(0).clamp(CHUNK, CHUNK_LIMIT);
        Ok(Self { url: location(response)?, sent: 0, chunk })
    }
}

/// May the upload succeed, once it is known how far it is?
fn may_go_on(error: &Error) -> bool {
    match error {
        // Gone, or at another byte than was thought.
        Error::Status { status, .. } if matches!(status.as_u16(), 404 | 416) => true,
        error => error.is_temporary(),
    }
}

/// Reads a piece of the blob.
fn read(blob: &mut File, from: u64, length: u64, descriptor: &Descriptor) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let path = || format!("blob {}", descriptor.digest);
    blob.seek(SeekFrom::Start(from)).map_err(Error::io("seek in", path()))?;
    blob.take(length).read_to_end(&mut bytes).map_err(Error::io("read", path()))?;
    match bytes.len() as u64 == length {
        true => Ok(bytes.into()),
        false => Err(Error::WrongSize {
            what: path(),
            expected: descriptor.size,
            found: from + bytes.len() as u64,
            more: false,
        }),
    }
}
