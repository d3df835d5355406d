//! A registry client: manifests and blobs of one repository, to and fro.

mod auth_file;
mod blob;
mod certificates;
mod challenge;
mod credential;
mod credential_helper;
mod http_date;
mod login;
mod manifest;
mod pause;
mod registries;
mod token;
mod transport;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::reference::{DOCKER_HUB, Reference};

pub use auth_file::find_credential;
pub use blob::{PieceSender, Pieces, pieces};
pub use credential::Credential;
pub use login::{login, logout};
pub use manifest::Fetched;
pub use registries::{Ambiguous, CredentialStore, Meaning, Registries, Source};
pub use upload::Uploaded;

use transport::Transport;

/// How to talk to a registry.
#[derive(Clone, Debug)]
pub struct Config {
    /// Check certificates, and never speak plain HTTP. Without a word, `registries` decides.
    pub tls_verify: Option<bool>,
    /// What registries.conf says.
    pub registries: Registries,
    /// `user:password` from the command line, before all files.
    pub credential: Option<Credential>,
    /// The only auth file to look into.
    pub authfile: Option<PathBuf>,
    /// Where the registry's certificates are, instead of the usual places.
    pub cert_dir: Option<PathBuf>,
    /// How often a request or a broken blob is tried again.
    pub retries: u32,
    /// The pause before the first retry; it doubles with each.
    pub backoff: Duration,
    /// How long a connection may give no byte.
    pub stall: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tls_verify: None,
            registries: Registries::default(),
            credential: None,
            authfile: None,
            cert_dir: None,
            retries: 4,
            backoff: Duration::from_millis(250),
            stall: Duration::from_secs(30),
        }
    }
}

/// What is to be done with a repository, and so what to ask a token for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    /// Reading.
    Pull,
    /// Writing, and reading from a repository to mount blobs from.
    Push {
        /// That repository.
        mount: Option<String>,
    },
}

/// Docker Hub's API is not at the host of its names.
fn api_host(registry: &str) -> &str {
    match registry {
        DOCKER_HUB => "registry-1.docker.io",
        host => host,
    }
}

/// One repository of a registry.
pub struct Registry {
    transport: Transport,
    repository: String,
}

impl Registry {
    /// Prepares to pull an image named `meant` from `source`; nothing is sent yet.
    ///
    /// # Errors
    /// [`crate::Error::Credentials`] for an auth file that can't be read, or
    /// [`crate::Error::Client`].
    pub fn to_pull(meant: &Reference, source: &Source, config: &Config) -> Result<Self> {
        // What the user gave is for the registry that he named, and for no mirror of it.
        let own = source.reference.registry == meant.registry;
        let credential = config.credential.clone().filter(|_| own);
        Self::new(source, credential, config, Access::Pull)
    }

    /// Prepares to push `reference`, and to mount blobs from another repository.
    ///
    /// # Errors
    /// As [`Self::to_pull`], and [`crate::Error::Document`] if the registry is blocked.
    pub fn to_push(reference: &Reference, mount: Option<String>, config: &Config) -> Result<Self> {
        let insecure = config.registries.insecure(&reference.to_string())?;
        let source = Source { reference: reference.clone(), insecure };
        Self::new(&source, config.credential.clone(), config, Access::Push { mount })
    }

    fn new(
        source: &Source,
        credential: Option<Credential>,
        config: &Config,
        access: Access,
    ) -> Result<Self> {
        let reference = &source.reference;
        let credential = match credential {
            Some(credential) => Some(credential),
            None => {
                let stores = config.registries.credential_stores();
                find_credential(reference, config.authfile.as_deref(), stores)?
            }
        };
        let own = &reference.repository;
        let scope = match access {
            Access::Pull => format!("repository:{own}:pull"),
            Access::Push { mount: None } => format!("repository:{own}:pull,push"),
            Access::Push { mount: Some(other) } => {
                format!("repository:{own}:pull,push repository:{other}:pull")
            }
        };
        let tls_verify = config.tls_verify.unwrap_or(!source.insecure);
        let host = api_host(&reference.registry);
        let transport = Transport::new(host, scope, credential, tls_verify, config)?;
        Ok(Self { transport, repository: reference.repository.clone() })
    }

    fn path(&self, kind: &str, version: &str) -> String {
        format!("/v2/{}/{kind}/{version}", self.repository)
    }
}
