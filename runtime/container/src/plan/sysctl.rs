//! `linux.sysctl`: kernel parameters of the container's own namespaces.

use oci_spec::runtime::Linux;

use super::{Namespaces, namespace};
use crate::error::Error;
use crate::report::each;

/// One parameter.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sysctl {
    /// Below /proc/sys.
    pub path: String,
    /// As the configuration has it.
    pub key: String,
    pub value: String,
}

/// Those of the configuration, in the order of their paths.
pub(crate) fn plan(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<Sysctl>, Error> {
    let given = linux.sysctl().iter().flatten();
    let mut list = each(given.map(|(key, value)| plan_one(key, value, namespaces)))?;
    list.sort_unstable();
    Ok(list)
}

fn plan_one(key: &str, value: &str, namespaces: &Namespaces) -> Result<Sysctl, Error> {
    let field = || format!("linux.sysctl[{key}]");
    let path = path_of(key);
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(Error::invalid(field(), "not the name of a sysctl"));
    }
    if path == "kernel/hostname" {
        return Err(Error::invalid(field(), "is what the field hostname is for"));
    }
    let (needed, name) = namespace::of_sysctl(&path)
        .ok_or_else(|| Error::invalid(field(), "is not in a separate kernel namespace"))?;
    if !namespaces.has(needed) {
        return Err(Error::invalid(field(), format!("not allowed without a {name} namespace")));
    }
    Ok(Sysctl { path, key: key.to_owned(), value: value.to_owned() })
}

/// `/` separates as well as `.`, as in sysctl(8): the first one decides.
fn path_of(key: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.conf.eth0/7.x", "net/ipv4/conf/eth0.7/x"),
            ("net/ipv4/conf/eth0.7/x", "net/ipv4/conf/eth0.7/x"),
            ("x", "x"),
        ] {
            assert_eq!(path_of(key), path);
        }
    }
}
