//! Reads /proc/PID/cgroup: in which cgroup of each hierarchy a process is.

use std::path::Path;

use nix::unistd::Pid;

use crate::dir::read_path;
use crate::{Error, Result};

/// One line.
#[derive(Debug, PartialEq)]
pub(crate) struct Membership {
    /// As the kernel lists them: "cpu,cpuacct", "name=systemd", or "" for the v2 hierarchy.
    pub controllers: String,
    /// The cgroup, from the hierarchy's root (or the cgroup namespace's, then it may begin `/..`).
    pub path: String,
}

/// All hierarchies of a process, in the order of the file.
pub(crate) fn of(file: &Path) -> Result<Vec<Membership>> {
    parse(&read_path(file)?).map_err(|line| Error::Line { path: file.into(), line })
}

/// Where a process is, by controller: "cpu", "name=systemd", or "" for the v2 hierarchy.
///
/// # Errors
///
/// When /proc/PID/cgroup can't be read.
pub fn places_of(pid: Pid) -> Result<Vec<(String, String)>> {
    let mut places = Vec::new();
    for Membership { controllers, path } in of(Path::new(&format!("/proc/{pid}/cgroup")))? {
        places.extend(controllers.split(',').map(|one| (one.to_owned(), path.clone())));
    }
    Ok(places)
}

/// Parses the file; the error is the line that is not of its form.
fn parse(text: &str) -> std::result::Result<Vec<Membership>, String> {
    text.lines()
        .map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next(), fields.next()) {
                (Some(controllers), Some(path)) => {
                    Ok(Membership { controllers: controllers.into(), path: path.into() })
                }
                _ => Err(line.into()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(controllers: &str, path: &str) -> Membership {
        Membership { controllers: controllers.into(), path: path.into() }
    }

    #[test]
    fn splits_each_line_at_its_first_two_colons() {
        let text = "9:name=systemd:/a:b\n4:cpu,cpuacct:/\n0::/../x\n";
        let expected = [line("name=systemd", "/a:b"), line("cpu,cpuacct", "/"), line("", "/../x")];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn names_the_line_that_is_malformed() {
        assert_eq!(parse("0::/\n7:cpu\n").unwrap_err(), "7:cpu");
    }
}
