//! The options of every command that talks to a registry.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::error::Result;
use crate::registry::{Config, Credential};

#[derive(Debug, Args)]
pub struct ConnectionArguments {
    /// Show the registry these credentials
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,
    /// Look for credentials in this file alone
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Trust *.crt in this directory too, and show NAME.cert with NAME.key
    /// [default: HOST in ~/.config/containers/certs.d, /etc/containers/certs.d or /etc/docker/certs.d]
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    cert_dir: Option<PathBuf>,
    /// Check the registry's certificate; with false, plain HTTP is tried too
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

impl ConnectionArguments {
    pub fn config(self) -> Result<Config> {
        Ok(Config {
            tls_verify: self.tls_verify,
            credential: self.creds.as_deref().map(Credential::parse).transpose()?,
            authfile: self.authfile,
            cert_dir: self.cert_dir,
            ..Config::default()
        })
    }
}
