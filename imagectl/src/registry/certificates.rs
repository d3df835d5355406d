//! Certificates for one registry, where podman and Docker look for them: `*.crt` are authorities to trust
//! beside the system's, `NAME.cert` with `NAME.key` is what the client shows of itself.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use crate::error::{Error, Result};

/// What a registry's directory holds.
#[derive(Default)]
pub struct Certificates {
    pub roots: Vec<Certificate>,
    pub identity: Option<Identity>,
}

impl Certificates {
    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.identity.is_none()
    }
}

/// Reads the directory named, or the first of the usual ones that has one for the host.
///
/// # Errors
/// [`Error::Credentials`] for a file that can't be read or is no certificate, and for a certificate
/// without its key.
pub fn find(host: &str, directory: Option<&Path>) -> Result<Certificates> {
    if let Some(directory) = directory {
        return read(directory);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let own = home.map(|home| home.join(".config/containers/certs.d"));
    let usual = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    // A host has no slash, and is never "..": it was checked as part of a name.
    let mut places = own.into_iter().chain(usual).map(|place| place.join(host));
    match places.find(|place| place.is_dir()) {
        Some(directory) => read(&directory),
        None => Ok(Certificates::default()),
    }
}

fn read(directory: &Path) -> Result<Certificates> {
    let bad = |path: &Path, reason: &str| Error::Credentials {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let load = |path: &Path| std::fs::read(path).map_err(|error| bad(path, &error.to_string()));
    let mut certificates = Certificates::default();
    let entries = std::fs::read_dir(directory).map_err(|e| bad(directory, &e.to_string()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in &paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                let roots = Certificate::from_pem_bundle(&load(path)?);
                let roots = roots.map_err(|_| bad(path, "no certificate in PEM"))?;
                certificates.roots.extend(roots);
            }
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(bad(path, "has no .key beside it"));
                }
                let pem = [load(path)?, b"\n".to_vec(), load(&key)?].concat();
                // No cause: it could quote the key.
                let identity = Identity::from_pem(&pem);
                let identity = identity.map_err(|_| bad(path, "no certificate and key in PEM"))?;
                certificates.identity = Some(identity);
            }
            Some("key") if !path.with_extension("cert").exists() => {
                return Err(bad(path, "has no .cert beside it"));
            }
            _ => {}
        }
    }
    Ok(certificates)
}
