//! Docker's credential helpers: programs that keep credentials, asked by name. What they are told and what
//! they say goes through pipes, never through arguments.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Credential;
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME`, by the protocol of Docker's credential helpers.
pub fn get(name: &str, server: &str) -> Result<Option<Credential>> {
    let Some(answer) = run(name, "get", server)? else { return Ok(None) };
    let answer: HelperAnswer = serde_json::from_slice(&answer).map_err(|_| no_json(name))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::IdentityToken(answer.secret),
        _ => Credential::Password { user: answer.username, password: answer.secret },
    }))
}

/// The registries that a helper has credentials for.
pub fn list(name: &str) -> Result<Vec<String>> {
    let Some(answer) = run(name, "list", "")? else { return Ok(Vec::new()) };
    let users: BTreeMap<String, String> =
        serde_json::from_slice(&answer).map_err(|_| no_json(name))?;
    Ok(users.into_keys().collect())
}

fn no_json(name: &str) -> Error {
    Error::Credentials {
        path: PathBuf::from(format!("docker-credential-{name}")),
        reason: "its answer is not JSON".into(),
    }
}

/// Can a helper have this name?
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Runs a helper with `input` on its standard input and gives what it says; `None` if it has nothing.
pub fn run(name: &str, verb: &str, input: &str) -> Result<Option<Vec<u8>>> {
    let program = format!("docker-credential-{name}");
    let bad = |reason: String| Error::Credentials { path: PathBuf::from(&program), reason };
    if !is_name(name) {
        return Err(bad("not the name of a credential helper".into()));
    }
    let output = || -> std::io::Result<std::process::Output> {
        let mut child = Command::new(&program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()) {
                // One that knows its answer without reading.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                result => result?,
            }
        }
        child.wait_with_output()
    };
    let output = output().map_err(|error| bad(error.to_string()))?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    match String::from_utf8_lossy(&output.stdout).contains("credentials not found") {
        true => Ok(None),
        false => Err(bad(format!("{}", output.status))),
    }
}
