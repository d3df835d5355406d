//! Pushes, by the distribution specification: uploads at once and in chunks, mounts, manifests.

use std::io::Read;

use super::body::Incoming;
use super::http::{Answer, Body, Request};
use super::referrers;
use super::route::refusal;
use super::uploads::{Upload, Uploads};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, Document, Platform};
use crate::reference::Reference;
use crate::store::Store;

/// What a push works on.
pub struct Receiving<'a> {
    pub store: &'a Store,
    pub uploads: &'a Uploads,
}

fn done(status: u16, headers: Vec<(&'static str, String)>) -> Answer {
    Answer { status, headers, body: Body::Bytes(Vec::new()) }
}

fn no_upload() -> Answer {
    refusal(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
}

impl Receiving<'_> {
    /// Answers what is no GET and no HEAD. `path` is what follows `/v2/`.
    ///
    /// # Errors
    /// Those of the store, and of the connection.
    pub fn answer(
        &self,
        request: &Request,
        path: &str,
        body: &mut Incoming<'_>,
    ) -> Result<Option<Answer>> {
        if let Some((name, upload)) = path.rsplit_once("/blobs/uploads") {
            if Reference::parse(&format!("localhost/{name}")).is_err() {
                return Ok(Some(refusal(400, "NAME_INVALID", "no name of a repository")));
            }
            let answer = match (request.method.as_str(), upload.trim_start_matches('/')) {
                ("POST", "") => self.begin(request, name, body)?,
                (_, "") => return Ok(None),
                ("PATCH", id) => self.go_on(request, name, id, body)?,
                ("PUT", id) => self.end(request, name, id, body)?,
                ("DELETE", id) => match self.uploads.take(id) {
                    Some(_) => done(204, Vec::new()),
                    None => no_upload(),
                },
                _ => return Ok(None),
            };
            return Ok(Some(answer));
        }
        match (request.method.as_str(), path.rsplit_once("/manifests/")) {
            ("PUT", Some((name, version))) => self.manifest(request, name, version, body).map(Some),
            _ => Ok(None),
        }
    }

    /// How far an upload is.
    pub fn status(&self, name: &str, id: &str) -> Option<Answer> {
        let upload = self.uploads.take(id)?;
        let answer = progress(204, name, id, &upload);
        self.uploads.put_back(id, upload);
        Some(answer)
    }

    /// Begins an upload, which a mount or a body may also end.
    fn begin(&self, request: &Request, name: &str, body: &mut Incoming<'_>) -> Result<Answer> {
        // Every repository of the store has all its blobs.
        let mount = request.parameter("mount").and_then(|text| Digest::parse(&text).ok());
        if let Some(digest) = mount {
            self.uploads.keep(&digest)?;
            if self.store.blob_path(&digest).exists() {
                return Ok(created(name, "blobs", &digest));
            }
            self.uploads.named([&digest]);
        }
        let Some(mut upload) = self.uploads.begin()? else {
            return Ok(refusal(429, "TOOMANYREQUESTS", "too many uploads at once"));
        };
        if let Some(digest) = request.parameter("digest") {
            upload.append(body).map_err(Error::step("receive the blob"))?;
            return self.finish(upload, name, &digest);
        }
        let id = self.uploads.name(upload)?;
        let Some(upload) = self.uploads.take(&id) else { return Ok(no_upload()) };
        let answer = progress(202, name, &id, &upload);
        self.uploads.put_back(&id, upload);
        Ok(answer)
    }

    /// The upload that the request goes on with; the answer, if it is not there or elsewhere.
    fn take(&self, request: &Request, name: &str, id: &str) -> Result<Upload, Answer> {
        let upload = self.uploads.take(id).ok_or_else(no_upload)?;
        if request.begins_at.is_none_or(|at| at == upload.size()) {
            return Ok(upload);
        }
        let answer = progress(416, name, id, &upload);
        self.uploads.put_back(id, upload);
        Err(answer)
    }

    fn go_on(
        &self,
        request: &Request,
        name: &str,
        id: &str,
        body: &mut Incoming<'_>,
    ) -> Result<Answer> {
        let mut upload = match self.take(request, name, id) {
            Ok(upload) => upload,
            Err(answer) => return Ok(answer),
        };
        let appended = upload.append(body);
        let answer = progress(202, name, id, &upload);
        self.uploads.put_back(id, upload);
        appended.map_err(Error::step("receive the blob"))?;
        Ok(answer)
    }

    fn end(
        &self,
        request: &Request,
        name: &str,
        id: &str,
        body: &mut Incoming<'_>,
    ) -> Result<Answer> {
        let Some(digest) = request.parameter("digest") else {
            return Ok(refusal(400, "DIGEST_INVALID", "the digest is missing"));
        };
        let mut upload = match self.take(request, name, id) {
            Ok(upload) => upload,
            Err(answer) => return Ok(answer),
        };
        if let Err(error) = upload.append(body) {
            self.uploads.put_back(id, upload);
            return Err(Error::step("receive the blob")(error));
        }
        self.finish(upload, name, &digest)
    }

    fn finish(&self, upload: Upload, name: &str, digest: &str) -> Result<Answer> {
        let invalid = || refusal(400, "DIGEST_INVALID", "the bytes have another digest");
        let Ok(digest) = Digest::parse(digest) else { return Ok(invalid()) };
        match self.uploads.finish(upload, &digest)? {
            true => Ok(created(name, "blobs", &digest)),
            false => Ok(invalid()),
        }
    }

    /// Takes a manifest or index, and makes an image of it.
    fn manifest(
        &self,
        request: &Request,
        name: &str,
        version: &str,
        body: &mut Incoming<'_>,
    ) -> Result<Answer> {
        let invalid = |code, message: &str| Ok(refusal(400, code, message));
        let bounds = self.store.bounds();
        let mut bytes = Vec::new();
        body.take(bounds.document.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(Error::step("receive the manifest"))?;
        if bytes.len() as u64 > bounds.document {
            return Ok(refusal(
                413,
                "SIZE_INVALID",
                &format!("the manifest {}", bounds.too_large()),
            ));
        }
        let digest = Digest::of(&bytes);
        let separator = if version.contains(':') { '@' } else { ':' };
        // What is pushed here is nobody else's: a push can't put an image into a registry's place.
        let full = format!("localhost/{name}{separator}{version}");
        let Ok(reference) = Reference::parse(&full) else {
            return invalid("NAME_INVALID", "no name of an image");
        };
        if reference.digest.is_some_and(|named| named != digest) {
            return invalid("DIGEST_INVALID", "the manifest has another digest");
        }
        let document = match Document::parse("the manifest", &request.content_type, &bytes) {
            Ok(document) => document,
            Err(error) => return invalid("MANIFEST_INVALID", &error.chain()),
        };
        let parts: Vec<Descriptor> = match &document {
            Document::Manifest(manifest) => {
                manifest.layers.iter().chain([&manifest.config]).cloned().collect()
            }
            Document::Index(index) => index.manifests.clone(),
        };
        self.uploads.keep(&digest)?;
        if let Some(missing) = parts.iter().find(|part| !self.store.has_blob(part)) {
            self.uploads.named([&digest]);
            let message = format!("{} is not here", missing.digest);
            return Ok(refusal(404, "MANIFEST_BLOB_UNKNOWN", &message));
        }
        self.store.write_document(&digest, &bytes)?;
        let size = bytes.len() as u64;
        let media_type = document.own_media_type(&request.content_type);
        let mut descriptor = Descriptor::new(media_type, digest, size);
        if let Document::Manifest(manifest) = &document {
            // An artifact's config tells no platform.
            let image = manifest.check_image("manifest").and_then(|()| self.store.config(manifest));
            descriptor.platform = image.ok().as_ref().map(Platform::of);
        }
        self.store.add_image(&reference.to_string(), &digest, descriptor)?;
        // What has a name now needs no entry by its digest.
        let named = if reference.tag.is_some() { Some(digest) } else { None };
        let inner = match &document {
            Document::Index(index) => index.manifests.iter().map(|d| d.digest).collect(),
            Document::Manifest(_) => Vec::new(),
        };
        for digest in inner.iter().chain(&named) {
            self.store.remove_image(&format!("localhost/{name}@{digest}"))?;
        }
        self.uploads.named(parts.iter().map(|part| &part.digest).chain([&digest]));
        let mut answer = created(name, "manifests", &digest);
        let subject = referrers::subject(&bytes).map(|about| ("OCI-Subject", about.to_string()));
        answer.headers.extend(subject);
        Ok(answer)
    }
}

fn created(name: &str, kind: &str, digest: &Digest) -> Answer {
    done(
        201,
        vec![
            ("Location", format!("/v2/{name}/{kind}/{digest}")),
            ("Docker-Content-Digest", digest.to_string()),
        ],
    )
}

/// Where an upload goes on.
fn progress(status: u16, name: &str, id: &str, upload: &Upload) -> Answer {
    done(
        status,
        vec![
            ("Location", format!("/v2/{name}/blobs/uploads/{id}")),
            ("Range", format!("0-{}", upload.size().saturating_sub(1))),
            ("Docker-Upload-UUID", id.to_owned()),
        ],
    )
}
