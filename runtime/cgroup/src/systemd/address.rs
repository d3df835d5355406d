//! Where the buses that lead to systemd are. Looks at the environment and at who asks; connects to nothing.

use std::path::{Path, PathBuf};

use super::Manager;

/// A socket to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Of a bus.
    Path(PathBuf),
    /// Of a bus, without a file.
    Abstract(Vec<u8>),
    /// systemd's own, with no bus between: it is there when the bus is not.
    Private(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Path(path) | Address::Private(path) => path.display().fmt(out),
            Address::Abstract(name) => write!(out, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// The addresses to try for a manager, in order.
///
/// An engine may have left a rootless runtime nothing but XDG_RUNTIME_DIR in its environment.
pub(crate) fn of(manager: Manager, variable: impl Fn(&str) -> Option<String>) -> Vec<Address> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let (given, bus, private) = match manager {
        Manager::System => (
            variable("DBUS_SYSTEM_BUS_ADDRESS"),
            PathBuf::from("/run/dbus/system_bus_socket"),
            PathBuf::from("/run/systemd/private"),
        ),
        Manager::User => {
            let dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
            let dir = dir.unwrap_or_else(|| format!("/run/user/{}", caller()).into());
            (variable("DBUS_SESSION_BUS_ADDRESS"), dir.join("bus"), dir.join("systemd/private"))
        }
    };
    match given {
        Some(given) => parse(&given, bus.parent().unwrap_or(Path::new("/"))),
        None => vec![Address::Path(bus), Address::Private(private)],
    }
}

/// The caller's user, as the host numbers it: a rootless exec is in the container's user namespace when
/// it asks for its process to be moved.
fn caller() -> u32 {
    let uid = nix::unistd::geteuid().as_raw();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    outside(&map, uid).unwrap_or(uid)
}

/// What a user ID of a namespace with this uid_map is outside of it.
fn outside(map: &str, uid: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside, size) =
            (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = uid.checked_sub(inside).filter(|offset| *offset < size)?;
        outside.checked_add(offset)
    })
}

/// Parses a list of D-Bus addresses, leaving out those that are no Unix sockets.
fn parse(list: &str, runtime_dir: &Path) -> Vec<Address> {
    list.split(';').filter_map(|one| parse_one(one, runtime_dir)).collect()
}

fn parse_one(address: &str, runtime_dir: &Path) -> Option<Address> {
    use std::os::unix::ffi::OsStringExt;
    let pairs = address.strip_prefix("unix:")?;
    pairs.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescape(value)?;
        match key {
            "path" => Some(Address::Path(std::ffi::OsString::from_vec(value).into())),
            "abstract" => Some(Address::Abstract(value)),
            "runtime" if value == b"yes" => Some(Address::Path(runtime_dir.join("bus"))),
            _ => None,
        }
    })
}

/// Undoes the escapes of an address: a percent sign and two hexadecimal digits.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manager: Manager, variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
        };
        of(manager, variable).iter().map(Address::to_string).collect()
    }

    #[test]
    fn without_a_variable_systemds_own_socket_is_the_last_resort() {
        assert_eq!(
            found(Manager::System, &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no")]),
            ["/run/dbus/system_bus_socket", "/run/systemd/private"]
        );
        assert_eq!(
            found(Manager::User, &[("XDG_RUNTIME_DIR", "/run/user/7")]),
            ["/run/user/7/bus", "/run/user/7/systemd/private"]
        );
        assert_eq!(found(Manager::User, &[])[0], format!("/run/user/{}/bus", caller()));
    }

    #[test]
    fn a_user_is_the_one_that_the_host_knows() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        for (uid, host) in [(0, Some(1000)), (1, Some(100_000)), (1000, Some(100_999))] {
            assert_eq!(outside(map, uid), host, "{uid}");
        }
        assert_eq!(outside(map, 65_537), None);
        assert_eq!(outside("0 0 4294967295\n", 7), Some(7));
        assert_eq!(outside("", 7), None);
    }

    #[test]
    fn a_variable_names_the_only_buses() {
        for (value, addresses) in [
            ("unix:path=/a%20b,guid=12", &["/a b"][..]),
            ("tcp:host=x;unix:abstract=c%2c", &["@c,"]),
            ("unix:path=/a;unix:path=/b", &["/a", "/b"]),
            ("unix:runtime=yes", &["/run/user/7/bus"]),
            ("unix:path=/a%2", &[]),
            ("nonsense", &[]),
        ] {
            let variables =
                [("DBUS_SESSION_BUS_ADDRESS", value), ("XDG_RUNTIME_DIR", "/run/user/7")];
            assert_eq!(found(Manager::User, &variables), addresses, "{value}");
        }
    }
}
