//! Device nodes to make in the container's /dev.

use std::path::Path;

use nix::sys::stat::SFlag;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};

use super::{Namespaces, flag, mount, mount_options, relative};
use crate::bundle::Bundle;
use crate::error::Error;
use crate::host_tree::HostTree;
use crate::report::{Report, each};

/// One node.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    /// In `linux.devices`; none for a default device.
    pub index: Option<usize>,
    /// In the container, relative to its root.
    pub path: String,
    pub kind: SFlag,
    pub major: u64,
    pub minor: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The host's node, for where nodes can't be made: in a user namespace.
    pub bind: Option<HostTree>,
}

impl DevicePlan {
    /// What making it is called, for messages.
    pub fn step(&self) -> String {
        let place = self.index.map(|index| format!("linux.devices[{index}].path: "));
        format!("{}make device /{}", place.unwrap_or_default(), self.path)
    }
}

/// What every Linux container has, see config-linux.md "Default Devices".
const DEFAULT: &[(&str, u64, u64)] = &[
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
];

/// The kernel's MINORBITS is 20, of 32 for both numbers.
const MAX_MAJOR: u64 = (1 << 12) - 1;
const MAX_MINOR: u64 = (1 << 20) - 1;

/// All of a file's mode but its type.
const PERMISSIONS: u32 = 0o7777;

/// The default devices and those of `linux.devices`, which win where both name a path.
pub(crate) fn plan(
    bundle: &Bundle,
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<Vec<DevicePlan>, Error> {
    let given = linux.devices().iter().flatten().enumerate();
    let mut devices = each(given.map(|(index, device)| plan_one(bundle, index, device)))?;
    for &(path, major, minor) in DEFAULT {
        if !devices.iter().any(|device| device.path == path) {
            let kind = SFlag::S_IFCHR;
            devices.push(DevicePlan {
                index: None,
                path: path.to_owned(),
                kind,
                major,
                minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
                bind: None,
            });
        }
    }
    if namespaces.has(flag::USER) {
        for device in devices.iter_mut().filter(|device| device.kind != SFlag::S_IFIFO) {
            let path = Path::new("/").join(&device.path);
            let changes = [mount::cut_off(mount_options::propagation::SLAVE, false).into()];
            device.bind = Some(HostTree::new(&path, false, changes)?);
        }
    }
    Ok(devices)
}

fn plan_one(bundle: &Bundle, index: usize, device: &LinuxDevice) -> Result<DevicePlan, Error> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let mut report = Report::default();
    let kind = match device.typ() {
        LinuxDeviceType::B => SFlag::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        LinuxDeviceType::P => SFlag::S_IFIFO,
        LinuxDeviceType::A => {
            report.add(field("type"), "\"a\" is not a device type");
            SFlag::S_IFCHR
        }
    };
    let mut number = |name: &str, value: i64, most: u64| {
        // oci-spec makes up one that is missing.
        if value == 0 && kind != SFlag::S_IFIFO && bundle.text_at(&field(name)).is_none() {
            return report.take(Err(Error::invalid(field(name), "missing")));
        }
        let number = u64::try_from(value).ok().filter(|number| *number <= most);
        let wrong = || Error::invalid(field(name), format!("{value} is not from 0 to {most}"));
        report.take(number.ok_or_else(wrong))
    };
    let major = number("major", device.major(), MAX_MAJOR);
    let minor = number("minor", device.minor(), MAX_MINOR);
    for (name, id) in [("uid", device.uid()), ("gid", device.gid())] {
        // To chown(2), this number says "leave it as it is".
        if id == Some(u32::MAX) {
            report.add(field(name), format!("{} is not an id", u32::MAX));
        }
    }
    // Engines send what stat(2) says of the host's node, with its type.
    let mode = device.file_mode().unwrap_or(0o666);
    if ![0, kind.bits()].contains(&(mode & !PERMISSIONS)) {
        let reason = format!("{mode} ({mode:#o}) is more than the mode of such a node");
        report.add(field("fileMode"), reason);
    }
    let path = device.path().to_string_lossy();
    if !path.starts_with('/') {
        report.add(field("path"), format!("{path:?} is not an absolute path"));
    }
    if path.contains('\0') {
        report.add(field("path"), format!("{path:?} has a NUL byte"));
    }
    report.finish(Some(DevicePlan {
        index: Some(index),
        path: relative(&path),
        kind,
        major,
        minor,
        mode: mode & PERMISSIONS,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        bind: None,
    }))
}
