//! Referrers, by the distribution specification: what was pushed with another manifest as its `subject`, such as
//! signatures and lists of an image's parts.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::route::{document, of};
use crate::digest::Digest;
use crate::error::Result;
use crate::image::{Descriptor, from_json, media_type, null_is_default};
use crate::store::Store;

/// What of a manifest or index its referrers' list tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Config>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    media_type: String,
}

/// What a manifest says that it is about.
pub fn subject(bytes: &[u8]) -> Option<Digest> {
    let referrer: Referrer = from_json("the manifest", bytes).ok()?;
    referrer.subject.map(|subject| subject.digest)
}

/// Lists the repository's manifests about another; none is no failure.
pub fn list(store: &Store, request: &Request, name: &str, about: &Digest) -> Result<Answer> {
    let wanted = request.parameter("artifactType");
    let mut found: BTreeMap<Digest, Value> = BTreeMap::new();
    let images = store.images()?;
    for (image, _) in of(&images, name) {
        store.walk(&image.descriptor, &mut |descriptor, parsed| {
            // What can't be read refers to nothing.
            let (Ok(parsed), Ok(bytes)) = (parsed, store.read_document(descriptor)) else {
                return Ok(());
            };
            let Ok(referrer) = from_json::<Referrer>("the manifest", &bytes) else { return Ok(()) };
            if referrer.subject.is_none_or(|subject| subject.digest != *about) {
                return Ok(());
            }
            let config = referrer.config.map(|config| config.media_type);
            let kind = referrer.artifact_type.or(config);
            if wanted.is_some() && wanted != kind {
                return Ok(());
            }
            let mut entry = json!({
                "mediaType": parsed.own_media_type(&descriptor.media_type),
                "digest": descriptor.digest,
                "size": descriptor.size,
            });
            if let Some(kind) = kind {
                entry["artifactType"] = kind.into();
            }
            if !referrer.annotations.is_empty() {
                entry["annotations"] = json!(referrer.annotations);
            }
            found.insert(descriptor.digest, entry);
            Ok(())
        })?;
    }
    let list: Vec<Value> = found.into_values().collect();
    let index =
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": list });
    let mut answer = document(&index);
    answer.headers[0].1 = media_type::OCI_INDEX.to_owned();
    if wanted.is_some() {
        answer.headers.push(("OCI-Filters-Applied", "artifactType".to_owned()));
    }
    Ok(answer)
}
