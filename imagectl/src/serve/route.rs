//! From a request to the store's answer, by the distribution specification.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::http::{Answer, Body, Request};
use crate::digest::Digest;
use crate::error::Result;
use crate::reference::Reference;
use crate::store::{Store, StoredImage};

/// Answers; what the store can't give becomes an answer too.
pub fn answer(store: &Store, request: &Request) -> Answer {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        let Answer { mut headers, body, .. } =
            refusal("UNSUPPORTED", "the store is only read here");
        headers.push(("Allow", "GET, HEAD".to_owned()));
        return Answer { status: 405, headers, body };
    }
    match find(store, &request.path) {
        Ok(Some(answer)) => answer,
        Ok(None) => refusal("NOT_FOUND", "there is no such thing in the store"),
        // What it is lies in the store's files, and is not the client's to know.
        Err(_) => Answer { status: 500, ..refusal("UNKNOWN", "the store can't be read") },
    }
}

fn refusal(code: &str, message: &str) -> Answer {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    Answer { status: 404, ..document(&body) }
}

fn document(body: &Value) -> Answer {
    Answer {
        status: 200,
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("Docker-Distribution-API-Version", "registry/2.0".to_owned()),
        ],
        body: Body::Bytes(body.to_string().into_bytes()),
    }
}

fn find(store: &Store, path: &str) -> Result<Option<Answer>> {
    let Some(path) = path.strip_prefix("/v2") else { return Ok(None) };
    if matches!(path, "" | "/") {
        return Ok(Some(document(&json!({}))));
    }
    // Nothing goes while it is looked up; what is open then stays readable.
    let _held = store.hold()?;
    let path = path.trim_start_matches('/');
    if path == "_catalog" {
        let names = store.images()?.iter().flat_map(repositories).collect::<BTreeSet<_>>();
        return Ok(Some(document(&json!({ "repositories": names }))));
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        let images = store.images()?;
        let tags: BTreeSet<String> = of(&images, name).filter_map(|(_, tag)| tag).collect();
        let found = of(&images, name).next().is_some();
        return Ok(found.then(|| document(&json!({ "name": name, "tags": tags }))));
    }
    if let Some((name, version)) = path.rsplit_once("/manifests/") {
        return manifest(store, name, version);
    }
    match path.rsplit_once("/blobs/") {
        Some((_, digest)) => blob(store, digest),
        None => Ok(None),
    }
}

/// The names that an image is served under: with its registry in front, if a path can have that, and
/// without.
fn repositories(image: &StoredImage) -> Vec<String> {
    let Ok(name) = Reference::parse(image.name()) else { return Vec::new() };
    let full = format!("{}/{}", name.registry, name.repository);
    let mut names = vec![name.repository];
    if !name.registry.contains([':', '[']) {
        names.push(full);
    }
    names
}

/// The images of a repository with their tags, the last pulled first.
fn of<'a>(
    images: &'a [StoredImage],
    name: &'a str,
) -> impl Iterator<Item = (&'a StoredImage, Option<String>)> {
    images.iter().rev().filter_map(move |image| {
        let reference = Reference::parse(image.name()).ok()?;
        repositories(image).iter().any(|own| own == name).then_some((image, reference.tag))
    })
}

fn manifest(store: &Store, name: &str, version: &str) -> Result<Option<Answer>> {
    let images = store.images()?;
    let digest = Digest::parse(version).ok();
    let found = of(&images, name).find(|(image, tag)| match digest {
        Some(digest) => image.descriptor.digest == digest,
        None => tag.as_deref() == Some(version),
    });
    let Some((image, _)) = found else { return Ok(None) };
    let bytes = store.read_document(&image.descriptor)?;
    let kind = store.manifest(image)?.own_media_type(&image.descriptor.media_type);
    Ok(Some(Answer {
        status: 200,
        headers: vec![
            ("Content-Type", kind.to_owned()),
            ("Docker-Content-Digest", image.descriptor.digest.to_string()),
        ],
        body: Body::Bytes(bytes),
    }))
}

fn blob(store: &Store, digest: &str) -> Result<Option<Answer>> {
    let Ok(digest) = Digest::parse(digest) else { return Ok(None) };
    let file = match store.open_blob(&digest) {
        Err(crate::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        result => result?,
    };
    let path = store.blob_path(&digest);
    let size = file.metadata().map_err(crate::Error::io("stat", path))?.len();
    Ok(Some(Answer {
        status: 200,
        headers: vec![
            ("Content-Type", "application/octet-stream".to_owned()),
            ("Docker-Content-Digest", digest.to_string()),
            ("Accept-Ranges", "bytes".to_owned()),
        ],
        body: Body::File(file, size),
    }))
}
