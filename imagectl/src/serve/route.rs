//! From a request to the store's answer, by the distribution specification.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::body::Incoming;
use super::http::{Answer, Body, Request};
use super::receive::Receiving;
use super::referrers;
use super::uploads::Uploads;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::Document;
use crate::reference::Reference;
use crate::store::{Store, StoredImage};

/// Answers; what the store can't give becomes an answer too. Without `uploads` nothing is written.
pub fn answer(
    store: &Store,
    uploads: Option<&Uploads>,
    request: &Request,
    body: &mut Incoming<'_>,
) -> Answer {
    let receiving = uploads.map(|uploads| Receiving { store, uploads });
    let found = match (&receiving, request.method.as_str()) {
        (_, "GET" | "HEAD") => find(store, receiving.as_ref(), request),
        (None, _) => return unsupported("the store is only read here"),
        (Some(receiving), _) => match request.path.strip_prefix("/v2/") {
            Some(path) => match receiving.answer(request, path, body) {
                Ok(None) => return unsupported("this can't be done with the store"),
                result => result,
            },
            None => Ok(None),
        },
    };
    match found {
        Ok(Some(answer)) => answer,
        Ok(None) => refusal(404, "NOT_FOUND", "there is no such thing in the store"),
        // What it is lies in the store's files, and is not the client's to know.
        Err(_) => refusal(500, "UNKNOWN", "the store failed"),
    }
}

fn unsupported(message: &str) -> Answer {
    let mut answer = refusal(405, "UNSUPPORTED", message);
    answer.headers.push(("Allow", "GET, HEAD".to_owned()));
    answer
}

/// An answer that says no.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    Answer { status, ..document(&body) }
}

/// An answer of JSON; its first header is the content type.
pub fn document(body: &Value) -> Answer {
    Answer {
        status: 200,
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("Docker-Distribution-API-Version", "registry/2.0".to_owned()),
        ],
        body: Body::Bytes(body.to_string().into_bytes()),
    }
}

fn find(
    store: &Store,
    receiving: Option<&Receiving<'_>>,
    request: &Request,
) -> Result<Option<Answer>> {
    let Some(path) = request.path.strip_prefix("/v2") else { return Ok(None) };
    if matches!(path, "" | "/") {
        return Ok(Some(document(&json!({}))));
    }
    // Nothing goes while it is looked up; what is open then stays readable.
    let _held = store.hold()?;
    let path = path.trim_start_matches('/');
    if path == "_catalog" {
        let names = store.images()?.iter().flat_map(repositories).collect::<BTreeSet<_>>();
        return Ok(Some(page(request, "repositories", names, json!({}))));
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        let images = store.images()?;
        let tags: BTreeSet<String> = of(&images, name).filter_map(|(_, tag)| tag).collect();
        let found = of(&images, name).next().is_some();
        return Ok(found.then(|| page(request, "tags", tags, json!({ "name": name }))));
    }
    if let Some((name, version)) = path.rsplit_once("/manifests/") {
        return manifest(store, name, version);
    }
    if let Some((name, digest)) = path.rsplit_once("/referrers/") {
        let digest = Digest::parse(digest).ok();
        return digest.map(|about| referrers::list(store, request, name, &about)).transpose();
    }
    if let (Some(receiving), Some((name, id))) = (receiving, path.rsplit_once("/blobs/uploads/")) {
        return Ok(receiving.status(name, id));
    }
    match path.rsplit_once("/blobs/") {
        Some((_, digest)) => blob(store, digest),
        None => Ok(None),
    }
}

/// A list, or the part of it that the request asks for with `n` and `last`.
fn page(request: &Request, key: &str, names: BTreeSet<String>, mut body: Value) -> Answer {
    let last = request.parameter("last").unwrap_or_default();
    let mut names: Vec<String> =
        names.into_iter().filter(|name| last.is_empty() || *name > last).collect();
    let limit = request.parameter("n").and_then(|n| n.parse::<usize>().ok());
    let more = limit.filter(|limit| names.len() > *limit);
    names.truncate(limit.unwrap_or(usize::MAX));
    let next = more
        .zip(names.last())
        .map(|(limit, last)| format!("<{}?n={limit}&last={last}>; rel=\"next\"", request.path));
    body[key] = json!(names);
    let mut answer = document(&body);
    answer.headers.extend(next.map(|next| ("Link", next)));
    answer
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
pub fn of<'a>(
    images: &'a [StoredImage],
    name: &'a str,
) -> impl Iterator<Item = (&'a StoredImage, Option<String>)> {
    images.iter().rev().filter_map(move |image| {
        let reference = Reference::parse(image.name()).ok()?;
        repositories(image).iter().any(|own| own == name).then_some((image, reference.tag))
    })
}

/// A manifest or index by tag, or by digest what any image of the repository leads to.
fn manifest(store: &Store, name: &str, version: &str) -> Result<Option<Answer>> {
    let images = store.images()?;
    let mut of = of(&images, name);
    let found = match Digest::parse(version) {
        Ok(digest) => of.find_map(|(image, _)| {
            let mut found = None;
            // What can't be read is not what was asked for.
            let _ = store.walk(&image.descriptor, &mut |descriptor, _| {
                if descriptor.digest == digest {
                    found = Some(descriptor.clone());
                }
                Ok(())
            });
            found
        }),
        Err(_) => of
            .find(|(_, tag)| tag.as_deref() == Some(version))
            .map(|(image, _)| image.descriptor.clone()),
    };
    let Some(descriptor) = found.filter(|descriptor| store.has_blob(descriptor)) else {
        return Ok(None);
    };
    let bytes = store.read_document(&descriptor)?;
    let document = Document::parse("the manifest", &descriptor.media_type, &bytes)?;
    let kind = document.own_media_type(&descriptor.media_type);
    Ok(Some(Answer {
        status: 200,
        headers: vec![
            ("Content-Type", kind.to_owned()),
            ("Docker-Content-Digest", descriptor.digest.to_string()),
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
