//! Logging in and out: a registry's credentials in an auth file, or with the helper that the file names.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::auth_file::normal_host;
use super::credential_helper;
use super::transport::{Request, Transport};
use super::{Config, Credential, CredentialStore};
use crate::error::{Error, Result};
use crate::reference::DOCKER_HUB;
use crate::store::write_atomically;

/// Shows the registry the credential and keeps it if the registry takes it: in the first store of
/// registries.conf's `credential-helpers` that can. Gives the place.
///
/// # Errors
/// Those of sending; [`Error::Credentials`] for a store that can't keep it.
pub fn login(registry: &str, credential: &Credential, config: &Config) -> Result<PathBuf> {
    check(registry, credential, config)?;
    let mut failure = None;
    for store in config.registries.credential_stores() {
        let kept = match store {
            CredentialStore::AuthFiles => note(registry, credential, config.authfile.as_deref()),
            CredentialStore::Helper(name) => keep(name, registry, credential),
        };
        match kept {
            Ok(place) => return Ok(place),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    // There is always one store.
    Err(failure.unwrap_or(Error::Interrupted))
}

/// Keeps a credential in the auth file, or with the helper that the file names.
fn note(registry: &str, credential: &Credential, authfile: Option<&Path>) -> Result<PathBuf> {
    let path = place(authfile)?;
    let mut file = load(&path)?;
    if let Some(helper) = helper(&file, registry) {
        return keep(&helper, &server(registry), credential);
    }
    let Credential::Password { user, password } = credential else {
        return Err(bad(&path, "only a user's password can be kept"));
    };
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    entries(&path, &mut file)?.insert(registry.to_owned(), json!({ "auth": auth }));
    store(&path, &file)?;
    Ok(path)
}

/// Keeps a credential with a helper.
fn keep(helper: &str, server: &str, credential: &Credential) -> Result<PathBuf> {
    let (user, secret) = match credential {
        Credential::Password { user, password } => (user.as_str(), password),
        Credential::IdentityToken(token) => ("<token>", token),
    };
    let input = json!({ "ServerURL": server, "Username": user, "Secret": secret });
    credential_helper::run(helper, "store", &input.to_string())?;
    Ok(program(helper))
}

fn program(helper: &str) -> PathBuf {
    PathBuf::from(format!("docker-credential-{helper}"))
}

/// Forgets a registry's credential, or all, in every store. Gives the places that had any.
///
/// # Errors
/// [`Error::Credentials`] for a store that can't be changed.
pub fn logout(
    registry: Option<&str>,
    authfile: Option<&Path>,
    stores: &[CredentialStore],
) -> Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    for store in stores {
        places.extend(match store {
            CredentialStore::AuthFiles => forget(registry, authfile)?,
            CredentialStore::Helper(name) => match registry {
                Some(registry) => erase(name, registry)?,
                None => erase_all(name)?,
            },
        });
    }
    Ok(places)
}

/// Forgets what the auth file has, or the helper that it names.
fn forget(registry: Option<&str>, authfile: Option<&Path>) -> Result<Option<PathBuf>> {
    let path = place(authfile)?;
    let mut file = load(&path)?;
    if let Some(registry) = registry
        && let Some(helper) = helper(&file, registry)
    {
        return erase(&helper, &server(registry));
    }
    let entries = entries(&path, &mut file)?;
    let before = entries.len();
    entries.retain(|key, _| {
        registry.is_some_and(|registry| key != registry && normal_host(key) != registry)
    });
    if entries.len() == before {
        return Ok(None);
    }
    store(&path, &file)?;
    Ok(Some(path))
}

fn erase(helper: &str, server: &str) -> Result<Option<PathBuf>> {
    if credential_helper::get(helper, server)?.is_none() {
        return Ok(None);
    }
    credential_helper::run(helper, "erase", server)?;
    Ok(Some(program(helper)))
}

fn erase_all(helper: &str) -> Result<Option<PathBuf>> {
    let servers = credential_helper::list(helper)?;
    for server in &servers {
        credential_helper::run(helper, "erase", server)?;
    }
    Ok((!servers.is_empty()).then(|| program(helper)))
}

fn check(registry: &str, credential: &Credential, config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", PathBuf::from("the async runtime")))?;
    let host = super::api_host(registry);
    let credential = Some(credential.clone());
    let insecure = config.registries.insecure(registry)?;
    let tls_verify = config.tls_verify.unwrap_or(!insecure);
    let transport = Transport::new(host, String::new(), credential, tls_verify, config)?;
    runtime.block_on(transport.send(&Request::get("log in to", "/v2/"))).map(drop)
}

/// The one file that is written: the one named, else where podman keeps its own.
fn place(authfile: Option<&Path>) -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let path = authfile
        .map(Path::to_owned)
        .or_else(|| variable("REGISTRY_AUTH_FILE"))
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")))
        .unwrap_or_else(|| {
            let uid = rustix::process::getuid().as_raw();
            PathBuf::from(format!("/run/containers/{uid}/auth.json"))
        });
    Ok(path)
}

fn bad(path: &Path, reason: &str) -> Error {
    Error::Credentials { path: path.to_owned(), reason: reason.to_owned() }
}

fn load(path: &Path) -> Result<Value> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(json!({})),
        Err(error) => Err(bad(path, &error.to_string())),
        Ok(bytes) if bytes.is_empty() => Ok(json!({})),
        // serde's message may quote a value, and so a secret: only the place is told.
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
            bad(path, &format!("not valid JSON at line {} column {}", e.line(), e.column()))
        }),
    }
}

fn entries<'a>(path: &Path, file: &'a mut Value) -> Result<&'a mut serde_json::Map<String, Value>> {
    let object = file.as_object_mut().ok_or_else(|| bad(path, "not a JSON object"))?;
    let auths = object.entry("auths").or_insert_with(|| json!({}));
    auths.as_object_mut().ok_or_else(|| bad(path, "\"auths\" is not a JSON object"))
}

/// Nobody else may read it, and it is there whole or not at all.
fn store(path: &Path, file: &Value) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(Error::io("make the directory", directory))?;
    }
    // A link leads to the file that is meant.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| match directory {
        Some(_) => path.to_owned(),
        None => Path::new(".").join(path),
    });
    let bytes =
        serde_json::to_vec_pretty(file).map_err(|_| bad(&path, "can't be written as JSON"))?;
    write_atomically(&path, &bytes)
}

/// The helper that the file names for the registry.
fn helper(file: &Value, registry: &str) -> Option<String> {
    let named = file["credHelpers"].as_object().and_then(|helpers| {
        helpers.iter().find(|(key, _)| normal_host(key) == registry).map(|(_, helper)| helper)
    });
    let helper = named.unwrap_or(&file["credsStore"]).as_str()?;
    (!helper.is_empty()).then(|| helper.to_owned())
}

/// The name that helpers know a registry by.
fn server(registry: &str) -> String {
    match registry {
        DOCKER_HUB => "https://index.docker.io/v1/".to_owned(),
        registry => registry.to_owned(),
    }
}
