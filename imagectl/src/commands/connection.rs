//! The options of every command that talks to a registry.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::error::Result;
use crate::registry::{Config, Credential, Registries};

#[derive(Debug, Args)]
pub struct ConnectionArguments {
    /// Show the registry these credentials; others may read them in the list of processes, so better
    /// log in
    #[arg(long, value_name = "USER:PASSWORD", verbatim_doc_comment)]
    creds: Option<String>,
    /// Look for credentials in this file alone
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Trust *.crt in this directory too, and show NAME.cert with NAME.key
    /// [default: HOST in ~/.config/containers/certs.d, /etc/containers/certs.d or /etc/docker/certs.d]
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    cert_dir: Option<PathBuf>,
    /// Check the registry's certificate; with false, plain HTTP is tried too
    /// [default: as registries.conf says, else true]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, verbatim_doc_comment,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    tls_verify: Option<bool>,
    /// Give a connection up that carries no byte for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    stall: u64,
}

impl ConnectionArguments {
    pub fn config(&self) -> Result<Config> {
        Ok(Config {
            tls_verify: self.tls_verify,
            registries: Registries::load()?,
            credential: self.creds.as_deref().map(Credential::parse).transpose()?,
            authfile: self.authfile.clone(),
            cert_dir: self.cert_dir.clone(),
            stall: Duration::from_secs(self.stall),
            ..Config::default()
        })
    }
}
