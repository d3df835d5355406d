//! Docker's and podman's auth files: where they are, and which of their entries serves an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::{Credential, CredentialStore, credential_helper};
use crate::error::{Error, Result};
use crate::reference::{DOCKER_HUB, Reference};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, AuthEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// Docker's own files leave the padding out at times.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Finds the credential for an image: the first that the stores of registries.conf's `credential-helpers`
/// have, which are the auth files unless it says otherwise. A store that fails counts only if none has any.
///
/// # Errors
/// [`Error::Credentials`] for a file that can't be read or parsed, or a helper that fails.
pub fn find_credential(
    reference: &Reference,
    authfile: Option<&Path>,
    stores: &[CredentialStore],
) -> Result<Option<Credential>> {
    let mut failure = None;
    for store in stores {
        let found = match store {
            CredentialStore::AuthFiles => in_files(reference, authfile),
            CredentialStore::Helper(name) => credential_helper::get(name, &reference.registry),
        };
        match found {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Looks into the files in the order of podman and skopeo: `--authfile` or `REGISTRY_AUTH_FILE` alone if
/// given, else podman's files, then Docker's.
fn in_files(reference: &Reference, authfile: Option<&Path>) -> Result<Option<Credential>> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(path) = authfile.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE")) {
        return look_into(&path, reference, true);
    }
    let home = variable("HOME");
    let candidates = [
        variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")).or_else(|| {
            let uid = rustix::process::getuid().as_raw();
            Some(PathBuf::from(format!("/run/containers/{uid}/auth.json")))
        }),
        variable("XDG_CONFIG_HOME")
            .or_else(|| home.as_ref().map(|home| home.join(".config")))
            .map(|dir| dir.join("containers/auth.json")),
        variable("DOCKER_CONFIG")
            .or_else(|| home.as_ref().map(|home| home.join(".docker")))
            .map(|dir| dir.join("config.json")),
    ];
    for path in candidates.into_iter().flatten() {
        if let Some(credential) = look_into(&path, reference, false)? {
            return Ok(Some(credential));
        }
    }
    match home {
        Some(home) => look_into_old(&home.join(".dockercfg"), reference),
        None => Ok(None),
    }
}

/// Reads a file as JSON; `None` if it is not there.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bad = |reason: String| Error::Credentials { path: path.to_owned(), reason };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    // serde's message may quote a value, and so a secret: only the place is told.
    let parsed = serde_json::from_slice(&bytes)
        .map_err(|e| bad(format!("not valid JSON at line {} column {}", e.line(), e.column())))?;
    Ok(Some(parsed))
}

fn look_into(path: &Path, reference: &Reference, required: bool) -> Result<Option<Credential>> {
    match read::<AuthFile>(path)? {
        Some(file) => credential_of(path, &file, reference),
        None if !required => Ok(None),
        None => Err(Error::Credentials {
            path: path.to_owned(),
            reason: std::io::Error::from(rustix::io::Errno::NOENT).to_string(),
        }),
    }
}

/// Docker's oldest form: entries alone.
fn look_into_old(path: &Path, reference: &Reference) -> Result<Option<Credential>> {
    let Some(auths) = read(path)? else { return Ok(None) };
    credential_of(path, &AuthFile { auths, ..AuthFile::default() }, reference)
}

fn credential_of(
    path: &Path,
    file: &AuthFile,
    reference: &Reference,
) -> Result<Option<Credential>> {
    let bad =
        |reason: &str| Error::Credentials { path: path.to_owned(), reason: reason.to_owned() };
    match choose(file, reference) {
        Choice::Entry(entry) => decode(entry).map_err(bad),
        Choice::Helper(helper, server) => credential_helper::get(helper, &server),
        Choice::None => Ok(None),
    }
}

enum Choice<'a> {
    Entry(&'a AuthEntry),
    Helper(&'a str, String),
    None,
}

/// The entry for the longest prefix of the image's name, down to the host.
fn choose<'a>(file: &'a AuthFile, reference: &Reference) -> Choice<'a> {
    let host = reference.registry.as_str();
    for (key, helper) in &file.cred_helpers {
        if normal_host(key) == host {
            return Choice::Helper(helper, key.clone());
        }
    }
    let full = format!("{host}/{}", reference.repository);
    let mut prefix = full.as_str();
    loop {
        // Names below the host are podman's; URLs with a path behind the host are Docker's.
        let exact = file.auths.get(prefix);
        let by_host = || {
            let mut entries = file.auths.iter();
            entries.find(|(key, _)| prefix == host && normal_host(key) == host).map(|(_, e)| e)
        };
        match exact.or_else(by_host) {
            Some(entry) if *entry != AuthEntry::default() => return Choice::Entry(entry),
            _ => {}
        }
        match prefix.rsplit_once('/') {
            Some((shorter, _)) if shorter.len() >= host.len() => prefix = shorter,
            _ => break,
        }
    }
    if file.creds_store.is_empty() {
        return Choice::None;
    }
    let server = match host {
        DOCKER_HUB => "https://index.docker.io/v1/",
        host => host,
    };
    Choice::Helper(&file.creds_store, server.to_owned())
}

/// The host of a key such as `https://index.docker.io/v1/`, by the name that image names use. A key
/// with another path is podman's and no host.
pub(super) fn normal_host(key: &str) -> &str {
    let (key, url) = match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(rest) => (rest, true),
        None => (key, false),
    };
    let host = match key.split_once('/') {
        Some((host, path)) if url || matches!(path, "" | "v1" | "v1/" | "v2" | "v2/") => host,
        Some(_) => return "",
        None => key,
    };
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    }
}

fn decode(entry: &AuthEntry) -> Result<Option<Credential>, &'static str> {
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Credential::IdentityToken(entry.identitytoken.clone())));
    }
    if entry.auth.is_empty() {
        let (user, password) = (entry.username.clone(), entry.password.clone());
        return Ok((!user.is_empty()).then_some(Credential::Password { user, password }));
    }
    let text = BASE64.decode(entry.auth.trim()).map_err(|_| "an auth entry is not base64")?;
    let text = String::from_utf8(text).map_err(|_| "an auth entry is not text")?;
    let (user, password) = text.split_once(':').ok_or("an auth entry is not user:password")?;
    let password = password.trim_end_matches('\0');
    Ok(Some(Credential::Password { user: user.to_owned(), password: password.to_owned() }))
}

impl PartialEq for AuthEntry {
    fn eq(&self, other: &Self) -> bool {
        let fields =
            |e: &Self| [&e.auth, &e.username, &e.password, &e.identitytoken].map(Clone::clone);
        fields(self) == fields(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(file: &str, image: &str) -> Option<String> {
        let file: AuthFile = serde_json::from_str(file).unwrap();
        match choose(&file, &Reference::parse(image).unwrap()) {
            Choice::Entry(entry) => match decode(entry).unwrap() {
                Some(Credential::Password { user, password }) => Some(format!("{user}/{password}")),
                Some(Credential::IdentityToken(token)) => Some(format!("token/{token}")),
                None => None,
            },
            Choice::Helper(helper, server) => Some(format!("{helper}!{server}")),
            Choice::None => None,
        }
    }

    #[test]
    fn entries() {
        // "dTpw" is u:p, "YTpiOmM" is a:b:c without padding.
        let file = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dTpw"},
            "quay.io":{"auth":"YTpiOmM"},
            "quay.io/org":{"username":"org","password":"x"},
            "quay.io/org/app":{"auth":"dTpw","identitytoken":"t"},
            "127.0.0.1:5000":{"auth":"dTpw"},
            "https://ghcr.io":{"auth":"dTpw"},
            "empty.io":{}}}"#;
        for (image, expected) in [
            ("alpine", Some("u/p")),
            ("docker.io/org/x", Some("u/p")),
            ("quay.io/other/app", Some("a/b:c")),
            ("quay.io/organ/app", Some("a/b:c")),
            ("quay.io/org/x", Some("org/x")),
            ("quay.io/org/app:1", Some("token/t")),
            ("127.0.0.1:5000/x", Some("u/p")),
            ("127.0.0.1:5001/x", None),
            ("127.0.0.1/x", None),
            ("ghcr.io/a/b", Some("u/p")),
            ("empty.io/x", None),
            ("evil-quay.io/x", None),
        ] {
            assert_eq!(user(file, image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn helpers() {
        let file =
            r#"{"auths":{"quay.io":{}},"credHelpers":{"gcr.io":"gcloud"},"credsStore":"desktop"}"#;
        for (image, expected) in [
            ("gcr.io/x/y", "gcloud!gcr.io"),
            ("quay.io/x", "desktop!quay.io"),
            ("alpine", "desktop!https://index.docker.io/v1/"),
        ] {
            assert_eq!(user(file, image).as_deref(), Some(expected), "{image}");
        }
    }

    #[test]
    fn bad_entries() {
        for auth in ["!!", "dXA=", "//79"] {
            let entry = AuthEntry { auth: auth.into(), ..AuthEntry::default() };
            assert!(decode(&entry).is_err(), "{auth}");
        }
    }
}
