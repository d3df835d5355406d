//! What the caller of `bundle` wants otherwise than image and defaults have it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::capabilities::Capabilities;
use super::defaults;
use super::mounts::Mount;
use super::seccomp::Seccomp;
use crate::error::{Error, Result};

/// The period that CPU time is measured out in, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// The kernel's least share of a period, in microseconds.
const CPU_LEAST: f64 = 1_000.0;

/// Which network the container has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A namespace of its own with nothing in it.
    #[default]
    None,
    /// The host's.
    Host,
    /// A namespace that is there already.
    Path(PathBuf),
}

impl Network {
    /// Reads the option's value.
    ///
    /// # Errors
    /// [`Error::Argument`] for what is neither a word known nor an absolute path.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            path if path.starts_with('/') => Ok(Self::Path(PathBuf::from(path))),
            other => Err(Error::Argument {
                option: "--network",
                reason: format!(
                    "'{}' is not host, none or a namespace's absolute path",
                    other.escape_debug()
                ),
            }),
        }
    }
}

/// Limits of the container's control group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// CPU time a period, in microseconds.
    pub quota: Option<u64>,
    /// Processes and threads; -1 for no limit.
    pub pids: Option<i64>,
}

impl Resources {
    /// Reads the options' values.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn parse(memory: Option<&str>, cpus: Option<&str>, pids: Option<i64>) -> Result<Self> {
        let bad = |option, reason: String| Error::Argument { option, reason };
        let memory = memory.map(|text| bytes(text).map_err(|r| bad("--memory", r))).transpose()?;
        let quota = cpus.map(|text| share(text).map_err(|r| bad("--cpus", r))).transpose()?;
        match pids {
            Some(count) if count < -1 || count == 0 => {
                Err(bad("--pids", format!("{count} is neither a number of processes nor -1")))
            }
            _ => Ok(Self { memory, quota, pids }),
        }
    }
}

/// A number of bytes; letters are powers of 1024, as with podman and Docker.
fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let units = [("b", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40)];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, unit)| Some((lower.strip_suffix(letter)?, *unit)))
        .unwrap_or((&lower, 1_u64));
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| (1..=i64::MAX.unsigned_abs()).contains(bytes))
        .ok_or_else(|| format!("'{}' is no size such as 512m or 2g", text.escape_debug()))
}

/// Microseconds a period of a number of CPUs.
fn share(text: &str) -> Result<u64, String> {
    let bad = || format!("'{}' is no number of CPUs such as 1.5", text.escape_debug());
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let cpus = text.parse::<f64>().ok().filter(|_| plain).ok_or_else(bad)?;
    #[allow(clippy::cast_precision_loss)]
    let share = (cpus * CPU_PERIOD as f64).round();
    if !(CPU_LEAST..1e12).contains(&share) {
        return Err(format!("'{}' is less than 0.01 or too much", text.escape_debug()));
    }
    // In range, and whole.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(share as u64)
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Variables that are set, `NAME=value`.
    pub env: Vec<String>,
    /// The user instead of the image's.
    pub user: Option<String>,
    /// The working directory instead of the image's.
    pub cwd: Option<String>,
    /// Give the process a terminal.
    pub tty: bool,
    /// The host name instead of the image's short name.
    pub hostname: Option<String>,
    /// The command instead of the image's; empty for the image's own.
    pub args: Vec<String>,
    /// Limits.
    pub resources: Resources,
    /// Further mounts.
    pub mounts: Vec<Mount>,
    /// Nobody may write to the rootfs.
    pub read_only: bool,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// System calls.
    pub seccomp: Seccomp,
    /// Network.
    pub network: Network,
    /// Notes for the runtime, which win over the image's.
    pub annotations: Vec<(String, String)>,
    /// A user namespace, for a runtime that runs without root.
    pub rootless: bool,
}

impl Settings {
    /// The environment's variable that the caller names, or sets.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty name, or a variable that the caller has not.
    pub fn variable(text: &str) -> Result<String> {
        let bad = |reason: &str| Error::Argument {
            option: "--env",
            reason: format!("'{}' {reason}", text.escape_debug()),
        };
        match text.split_once('=') {
            Some(("", _)) => Err(bad("has no name")),
            Some(_) => Ok(text.to_owned()),
            None if text.is_empty() => Err(bad("has no name")),
            None => match std::env::var(text) {
                Ok(value) => Ok(format!("{text}={value}")),
                Err(_) => Err(bad("has no value, neither here nor in the environment")),
            },
        }
    }

    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn annotation(text: &str) -> Result<(String, String)> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Error::Argument {
                option: "--annotation",
                reason: format!("'{}' is not NAME=VALUE", text.escape_debug()),
            }),
        }
    }

    /// Puts the settings into a config that was made of the image.
    ///
    /// # Errors
    /// [`Error::Argument`] for what config.json can't hold; the seccomp profile's.
    pub fn apply(&self, spec: &mut Value) -> Result<()> {
        if let Some(env) = spec["process"]["env"].as_array_mut() {
            for variable in &self.env {
                set_variable(env, variable);
            }
        }
        if let Some(cwd) = &self.cwd {
            spec["process"]["cwd"] = json!(cwd);
        }
        let (sets, bounding) = self.capabilities.sets(&defaults::CAPABILITIES);
        spec["process"]["capabilities"] = sets;
        if self.read_only {
            spec["root"]["readonly"] = json!(true);
        }
        for mount in &self.mounts {
            mount.add_to(spec)?;
        }
        if let Some(filter) = self.seccomp.filter(&bounding)? {
            spec["linux"]["seccomp"] = filter;
        }
        self.network(spec)?;
        self.limits(&mut spec["linux"]["resources"]);
        for (name, value) in &self.annotations {
            spec["annotations"][name] = json!(value);
        }
        Ok(())
    }

    fn network(&self, spec: &mut Value) -> Result<()> {
        let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() else { return Ok(()) };
        match &self.network {
            Network::None => {}
            Network::Host => namespaces.retain(|namespace| namespace["type"] != "network"),
            Network::Path(path) => {
                let path = path.to_str().ok_or_else(|| Error::Argument {
                    option: "--network",
                    reason: format!("{} is not UTF-8", path.display()),
                })?;
                for namespace in namespaces {
                    if namespace["type"] == "network" {
                        namespace["path"] = json!(path);
                    }
                }
            }
        }
        Ok(())
    }

    fn limits(&self, resources: &mut Value) {
        let Resources { memory, quota, pids } = self.resources;
        if let Some(memory) = memory {
            resources["memory"] = json!({ "limit": memory });
        }
        if let Some(quota) = quota {
            resources["cpu"] = json!({ "quota": quota, "period": CPU_PERIOD });
        }
        if let Some(pids) = pids {
            resources["pids"] = json!({ "limit": pids });
        }
    }
}

/// Sets a variable in the place of the image's.
fn set_variable(env: &mut Vec<Value>, variable: &str) {
    let name = |text: &str| text.split('=').next().map(str::to_owned);
    let same = |other: &&mut Value| other.as_str().and_then(name) == name(variable);
    match env.iter_mut().find(same) {
        Some(other) => *other = json!(variable),
        None => env.push(json!(variable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares() {
        for (text, value) in [("1", 1), ("64k", 65536), ("512M", 512 << 20), ("2g", 2 << 30)] {
            assert_eq!(bytes(text).unwrap(), value, "{text}");
        }
        for text in ["", "0", "-1", "1.5g", "g", "1mb", "99999999999t"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for (text, value) in [("1", 100_000), ("0.5", 50_000), ("1.25", 125_000), ("0.01", 1000)] {
            assert_eq!(share(text).unwrap(), value, "{text}");
        }
        for text in ["", "0", "-1", "x", "inf", "nan", "0.001", "1e3", "99999999999"] {
            assert!(share(text).is_err(), "{text}");
        }
        for pids in [0, -2] {
            assert!(Resources::parse(None, None, Some(pids)).is_err(), "{pids}");
        }
    }

    #[test]
    fn variables_are_set_in_place() {
        let mut env = vec![json!("A=1"), json!("B=2")];
        set_variable(&mut env, "A=3");
        set_variable(&mut env, "C=");
        assert_eq!(json!(env), json!(["A=3", "B=2", "C="]));
        assert!(Settings::variable("=x").is_err() && Settings::variable("").is_err());
        assert!(Settings::variable("NO_SUCH_VARIABLE_HERE").is_err());
    }
}
