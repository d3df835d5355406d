//! `imagectl login` and `imagectl logout`.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::ask::{LINE_LIMIT, line};
use super::connection::ConnectionArguments;
use super::say;
use crate::error::{Error, Result};
use crate::reference::{DOCKER_HUB, Reference};
use crate::registry::{self, Credential, Registries};

#[derive(Debug, Args)]
pub struct Login {
    /// The registry, as in quay.io or localhost:5000
    #[arg(value_name = "REGISTRY", default_value = DOCKER_HUB)]
    registry: String,
    /// The user's name
    #[arg(long, short, value_name = "USER")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
pub struct Logout {
    /// The registry, as in quay.io or localhost:5000
    #[arg(value_name = "REGISTRY", default_value = DOCKER_HUB)]
    registry: String,
    /// Forget all registries
    #[arg(long, short)]
    all: bool,
    /// Forget what this file has
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

impl Login {
    pub fn run(self, out: &mut dyn Write) -> Result<()> {
        let registry = host(&self.registry)?;
        let mut config = self.connection.config()?;
        let credential = match config.credential.take() {
            Some(credential) => credential,
            None => ask(self.username, self.password_stdin)?,
        };
        let place = registry::login(&registry, &credential, &config)?;
        say(out, format_args!("logged in to {registry}, noted in {}", place.display()))
    }
}

impl Logout {
    pub fn run(self, out: &mut dyn Write) -> Result<()> {
        let registry = host(&self.registry)?;
        let named = (!self.all).then_some(registry.as_str());
        let registries = Registries::load()?;
        let stores = registries.credential_stores();
        let places = registry::logout(named, self.authfile.as_deref(), stores)?;
        if places.is_empty() {
            return say(out, format_args!("there was nothing to forget"));
        }
        places
            .iter()
            .try_for_each(|place| say(out, format_args!("forgotten in {}", place.display())))
    }
}

/// The registry as image names write it.
fn host(text: &str) -> Result<String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let reference = Reference::parse(&format!("{}/x", host.unwrap_or(text)))?;
    match reference.repository.as_str() {
        "x" | "library/x" => Ok(reference.registry),
        _ => Err(Error::Argument {
            option: "REGISTRY",
            reason: format!("'{}' is no registry's host", text.escape_debug()),
        }),
    }
}

fn ask(user: Option<String>, password_stdin: bool) -> Result<Credential> {
    let bad = |option, reason: &str| Error::Argument { option, reason: reason.into() };
    let user = match user {
        Some(user) if !user.is_empty() && !user.contains(':') => user,
        Some(_) => return Err(bad("--username", "must be a name without a colon")),
        None if std::io::stdin().is_terminal() => line("User name: ", true)?,
        None => return Err(bad("--username", "needed, for there is no terminal to ask at")),
    };
    let password = match password_stdin {
        true => {
            let mut text = String::new();
            std::io::stdin()
                .take(LINE_LIMIT)
                .read_to_string(&mut text)
                .map_err(Error::step("read the password"))?;
            text.trim_end_matches(['\n', '\r']).to_owned()
        }
        false if std::io::stdin().is_terminal() => line("Password: ", false)?,
        false => {
            return Err(bad("--password-stdin", "needed, for there is no terminal to ask at"));
        }
    };
    match password.is_empty() {
        true => Err(bad("--password-stdin", "the password is empty")),
        false => Ok(Credential::Password { user, password }),
    }
}
