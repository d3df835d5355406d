//! Logging in and out: a registry's credentials in an auth file, or with the helper that the file names.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::auth_file::{ask_helper, normal_host, run_helper};
use super::transport::{Request, Transport};
use super::{Config, Credential};
use crate::error::{Error, Result};
use crate::reference::DOCKER_HUB;
use crate::store::write_atomically;

/// Shows the registry the credential and keeps it if the registry takes it. Gives the place.
///
/// # Errors
/// Those of sending; [`Error::Credentials`] for a file that can't be changed.
pub fn login(registry: &str, credential: &Credential, config: &Config) -> Result<PathBuf> {
    check(registry, credential, config)?;
    let path = place(config.authfile.as_deref())?;
    let mut file = load(&path)?;
    let Credential::Password { user, password } = credential else {
        return Err(bad(&path, "only a user's password can be kept"));
    };
    if let Some(helper) = helper(&file, registry) {
        let input = json!({ "ServerURL": server(registry), "Username": user, "Secret": password });
        run_helper(&helper, "store", &input.to_string())?;
        return Ok(PathBuf::from(format!("docker-credential-{helper}")));
    }
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    entries(&path, &mut file)?.insert(registry.to_owned(), json!({ "auth": auth }));
    store(&path, &file)?;
    Ok(path)
}

/// Forgets a registry's credential, or all. Gives the place; `None` if there was nothing to forget.
///
/// # Errors
/// [`Error::Credentials`] for a file that can't be changed.
pub fn logout(registry: Option<&str>, authfile: Option<&Path>) -> Result<Option<PathBuf>> {
    let path = place(authfile)?;
    let mut file = load(&path)?;
    if let Some(registry) = registry
        && let Some(helper) = helper(&file, registry)
    {
        return match ask_helper(&helper, &server(registry))? {
            Some(_) => {
                run_helper(&helper, "erase", &server(registry))?;
                Ok(Some(PathBuf::from(format!("docker-credential-{helper}"))))
            }
            None => Ok(None),
        };
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
