//! Network devices of the host that become the container's (`linux.netDevices`).
//!
//! ```text
//! look        every device is there, every name is free inside: nothing is touched before
//! move        one message takes a device to the other namespace and gives it its name there
//! dress       its addresses again, which the move takes from it, and up
//! back        the same in the other direction, when something fails later
//! ```

mod rtnetlink;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context, Error};
use crate::plan::NetDevice;
use rtnetlink::{Address, Rtnetlink};

/// Devices that are in the container, and how to take them back.
pub(crate) struct Moved {
    host: Rtnetlink,
    host_namespace: OwnedFd,
    /// Works in the container's namespace, and keeps that.
    inside: Rtnetlink,
    devices: Vec<Device>,
}

struct Device {
    plan: NetDevice,
    was_up: bool,
    addresses: Vec<Address>,
}

/// Moves all devices to the network namespace of process `pid`, or none of them.
pub(crate) fn move_in(devices: &[NetDevice], pid: i32) -> Result<Moved, Error> {
    let step = || format!("linux.netDevices: reach the network namespace of process {pid}");
    let own: OwnedFd = File::open("/proc/self/ns/net").context(step)?.into();
    let theirs: OwnedFd = File::open(format!("/proc/{pid}/ns/net")).context(step)?.into();
    let mut moved = Moved {
        host: Rtnetlink::open().context(step)?,
        inside: Rtnetlink::open_in(theirs.as_fd(), own.as_fd()).context(step)?,
        host_namespace: own,
        devices: Vec::new(),
    };
    let found = devices.iter().map(|plan| moved.look(plan)).collect::<Result<Vec<_>, _>>()?;
    for (index, device) in found {
        let taken = moved.take(index, &device, theirs.as_fd());
        moved.devices.push(device);
        if let Err(error) = taken {
            moved.back();
            return Err(error);
        }
    }
    Ok(moved)
}

impl Moved {
    /// The device's number on the host, and what the move would lose.
    fn look(&self, plan: &NetDevice) -> Result<(i32, Device), Error> {
        let find = || format!("{}: find the device", plan.field());
        let link = self.host.link(&plan.host).context(find)?;
        match self.inside.link(&plan.name) {
            Err(Errno::ENODEV) => {}
            Ok(_) => {
                let reason = format!("the container has a device {:?} already", plan.name);
                return Err(Error::invalid(format!("{}.name", plan.field()), reason));
            }
            Err(errno) => return Err(Error::system(find(), errno)),
        }
        let addresses = self.host.addresses(link.index).context(find)?;
        Ok((link.index, Device { plan: plan.clone(), was_up: link.up, addresses }))
    }

    fn take(&self, index: i32, device: &Device, namespace: BorrowedFd<'_>) -> Result<(), Error> {
        let Device { plan, addresses, .. } = device;
        self.host.move_link(index, namespace, &plan.name).context(|| {
            format!("{}: move it into the container as {:?}", plan.field(), plan.name)
        })?;
        dress(&self.inside, &plan.name, addresses, true)
            .context(|| format!("{}: set it up in the container", plan.field()))
    }

    /// Takes back what has been moved, as good as it goes: the error that led here is the one to tell.
    pub fn back(&self) {
        for device in self.devices.iter().rev() {
            if let Err(errno) = self.return_one(device) {
                let name = &device.plan.host;
                log::warn!("take network device {name:?} back from the container: {errno}");
            }
        }
    }

    fn return_one(&self, device: &Device) -> Result<(), Errno> {
        let plan = &device.plan;
        match self.host.link(&plan.host) {
            Err(Errno::ENODEV) => {}
            // It has not left, and what has its name inside is another one.
            result => return result.map(drop),
        }
        let link = match self.inside.link(&plan.name) {
            // Moved, and not renamed.
            Err(Errno::ENODEV) => self.inside.link(&plan.host)?,
            link => link?,
        };
        self.inside.move_link(link.index, self.host_namespace.as_fd(), &plan.host)?;
        dress(&self.host, &plan.host, &device.addresses, device.was_up)
    }
}

fn dress(at: &Rtnetlink, name: &str, addresses: &[Address], up: bool) -> Result<(), Errno> {
    let index = at.link(name)?.index;
    addresses.iter().try_for_each(|address| at.add_address(index, address))?;
    if up { at.set_up(index) } else { Ok(()) }
}
