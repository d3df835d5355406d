//! The runner's command line.

use std::path::PathBuf;

use crate::case::{Failure, Peer};

/// The text of `--help`.
pub const USAGE: &str = "Usage: conformance [OPTION…]

  --runtime PATH  the runtime under test (default: target/dist/ghost-runc)
  --as-runc       take it for runc whatever its name is
  --view VIEW     host (the cgroup mounts as they are, the default), v2 (a fresh cgroup2 mount), or
                  rootless (as host, but a user without privileges calls the runtime; only the cases
                  that say what holds for such a user too)
  --probe PATH    the static probe (default: target/dist/probe; the other small programs are beside it)
  --filter STR    only cases whose name begins with STR; may be repeated
  --slow N        multiply every time limit by N
  --list          print the cases and end
  --list-fields   print the fields that bad-values gives a bad value, and end
";

/// Which cgroup file systems the cases see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As they are mounted.
    Host,
    /// A fresh cgroup2 mount at /sys/fs/cgroup.
    V2,
    /// As they are mounted, seen by a user without privileges.
    Rootless,
}

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The runtime under test.
    pub runtime: PathBuf,
    /// Which runtime that is.
    pub peer: Peer,
    /// The cgroup view.
    pub view: View,
    /// The probe.
    pub probe: PathBuf,
    /// Beginnings of names; all cases when empty.
    pub filters: Vec<String>,
    /// The factor of every time limit.
    pub slow: u32,
    /// Only print the names.
    pub list: bool,
    /// Only print the fields that are given bad values.
    pub list_fields: bool,
    /// Only print the usage.
    pub help: bool,
}

impl Options {
    /// Read the arguments after the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            runtime: "target/dist/ghost-runc".into(),
            peer: Peer::Ghost,
            view: View::Host,
            probe: "target/dist/probe".into(),
            filters: Vec::new(),
            slow: 1,
            list: false,
            list_fields: false,
            help: false,
        };
        let mut as_runc = false;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| Failure(format!("{word} needs a value")));
            match word.as_str() {
                "--runtime" => options.runtime = value()?.into(),
                "--as-runc" => as_runc = true,
                "--probe" => options.probe = value()?.into(),
                "--filter" => options.filters.push(value()?),
                "--slow" => options.slow = value()?.parse()?,
                "--list" => options.list = true,
                "--list-fields" => options.list_fields = true,
                "--help" | "-h" => options.help = true,
                "--view" => {
                    options.view = match value()?.as_str() {
                        "host" => View::Host,
                        "v2" => View::V2,
                        "rootless" => View::Rootless,
                        other => return Err(Failure(format!("unknown view {other}"))),
                    }
                }
                _ => return Err(Failure(format!("unknown option {word}"))),
            }
        }
        options.peer = match options.runtime.file_name().and_then(|name| name.to_str()) {
            _ if as_runc => Peer::Runc,
            Some("runc") => Peer::Runc,
            Some("crun") => Peer::Crun,
            _ => Peer::Ghost,
        };
        Ok(options)
    }
}
