//! The options of `bundle` that say how the process runs.

use std::path::PathBuf;

use clap::Args;

use crate::bundle::{Capabilities, Mount, Network, Resources, Seccomp, Settings};
use crate::error::{Error, Result};
use crate::user_namespace;

#[derive(Debug, Args)]
pub struct ProcessArguments {
    /// Set a variable of the environment; NAME alone takes the caller's
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The user instead of the image's: names of the image, or numbers
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The working directory instead of the image's
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Give the process a terminal
    #[arg(long, short)]
    tty: bool,
    /// The host name [default: the image's short name]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Limit memory, in bytes or with k, m, g, t (powers of 1024)
    #[arg(long, short, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit CPU time to that of so many CPUs, as in 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Limit the number of processes and threads; -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids: Option<i64>,
    /// Bind a file or directory: SOURCE:DESTINATION[:ro,noexec,rslave,…]
    #[arg(long, short, value_name = "MOUNT")]
    volume: Vec<String>,
    /// Mount: type=bind|tmpfs,source=…,destination=…[,readonly][,bind-propagation=…]
    /// [,tmpfs-size=…][,tmpfs-mode=…]
    #[arg(long, value_name = "MOUNT", verbatim_doc_comment)]
    mount: Vec<String>,
    /// Let nobody write to the rootfs
    #[arg(long)]
    read_only: bool,
    /// Add capabilities, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Drop capabilities, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// The seccomp profile: a file's, default, or unconfined
    #[arg(long, value_name = "PROFILE", default_value = "default")]
    seccomp: String,
    /// The network: none, host, or the path of a namespace
    #[arg(long, value_name = "NETWORK", default_value = "none")]
    network: String,
    /// Make the bundle for a user without root: a user namespace with the caller's IDs. Implied for
    /// who is not root
    #[arg(long)]
    rootless: bool,
    /// Add an annotation
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
}

impl ProcessArguments {
    pub fn settings(self, args: Vec<String>) -> Result<Settings> {
        let here = std::env::current_dir().map_err(Error::io("open", PathBuf::from(".")))?;
        if let Some(cwd) = self.cwd.as_ref().filter(|cwd| !cwd.starts_with('/')) {
            let reason = format!("'{}' is not absolute", cwd.escape_debug());
            return Err(Error::Argument { option: "--cwd", reason });
        }
        let mut mounts = Vec::new();
        for text in &self.volume {
            mounts.push(Mount::volume(text, &here)?);
        }
        for text in &self.mount {
            mounts.push(Mount::described(text, &here)?);
        }
        Ok(Settings {
            env: self.env.iter().map(|text| Settings::variable(text)).collect::<Result<_>>()?,
            user: self.user,
            cwd: self.cwd,
            tty: self.tty,
            hostname: self.hostname,
            args,
            resources: Resources::parse(self.memory.as_deref(), self.cpus.as_deref(), self.pids)?,
            mounts,
            read_only: self.read_only,
            capabilities: Capabilities::parse(&self.cap_add, &self.cap_drop)?,
            seccomp: Seccomp::parse(&self.seccomp),
            network: Network::parse(&self.network)?,
            annotations: self
                .annotation
                .iter()
                .map(|text| Settings::annotation(text))
                .collect::<Result<_>>()?,
            rootless: self.rootless
                || !rustix::process::geteuid().is_root()
                || user_namespace::maps().is_some(),
        })
    }
}
