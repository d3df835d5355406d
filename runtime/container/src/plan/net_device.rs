//! Network devices of the host that the container gets.

use oci_spec::runtime::Linux;

use super::{Namespaces, flag};
use crate::error::Error;
use crate::report::Report;

/// IFNAMSIZ of <linux/if.h>, which counts the terminating NUL.
const NAME_SIZE: usize = 16;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container.
    pub name: String,
}

impl NetDevice {
    /// Its place in config.json.
    pub fn field(&self) -> String {
        format!("linux.netDevices[{}]", self.host)
    }
}

/// Checks `linux.netDevices`; the list is sorted by the names on the host.
pub(crate) fn plan(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<NetDevice>, Error> {
    let devices = list(linux);
    if devices.is_empty() {
        return Ok(devices);
    }
    let mut report = Report::default();
    if !namespaces.has(flag::NET) {
        report.add(
            "linux.netDevices",
            "unable to move network devices without a private NET namespace",
        );
    } else if !nix::unistd::geteuid().is_root() {
        report.add("linux.netDevices", "only root can move network devices");
    }
    for (index, device) in devices.iter().enumerate() {
        if let Some(why) = refusal(&device.host) {
            report.add(device.field(), format!("{:?} is not a device name: {why}", device.host));
        }
        let field = format!("{}.name", device.field());
        if device.name != device.host
            && let Some(why) = refusal(&device.name)
        {
            report.add(field, format!("{:?} is not a device name: {why}", device.name));
        } else if let Some(first) = devices[..index].iter().find(|one| one.name == device.name) {
            let reason = format!("{:?} is the name of {} already", device.name, first.field());
            report.add(field, reason);
        }
    }
    report.finish(Some(devices))
}

/// Those that have valid names.
pub(crate) fn valid(linux: &Linux) -> Vec<NetDevice> {
    let mut devices = list(linux);
    devices.retain(|one| refusal(&one.host).is_none() && refusal(&one.name).is_none());
    devices
}

fn list(linux: &Linux) -> Vec<NetDevice> {
    let given = linux.net_devices().iter().flatten();
    let mut devices: Vec<NetDevice> = given
        .map(|(host, device)| {
            let name = device.name().as_ref().filter(|name| !name.is_empty());
            NetDevice { host: host.clone(), name: name.unwrap_or(host).clone() }
        })
        .collect();
    devices.sort_unstable_by(|a, b| a.host.cmp(&b.host));
    devices
}

/// What the kernel's dev_valid_name() refuses, and `%`, with which it makes up a name.
fn refusal(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() >= NAME_SIZE {
        Some("it is longer than 15 bytes")
    } else if name == "." || name == ".." {
        Some("it is reserved")
    } else if name.contains(['/', ':', '%', '\0']) || name.contains(|c: char| c.is_whitespace()) {
        Some("it has one of '/', ':', '%' or a space in it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_kernel_takes() {
        for name in ["eth0", "a", "123456789012345", "enp0s31f6", "ä"] {
            assert_eq!(refusal(name), None, "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a:0", "eth%d", "1234567890123456", "a\tb"] {
            assert!(refusal(name).is_some(), "{name:?}");
        }
    }
}
