//! Network devices of the host that become the container's (`linux.netDevices`).
//!
//! ```text
//! look        every device is there, every name is free inside: nothing is touched before
//! move        one message takes a device to the other namespace and gives it its name there
//! dress       its addresses again, which the move takes from it, and up
//! back        the same in the other direction, when something fails later
//! ```
//!
//! A joined namespace has others in it, who may make devices and rename them: what has been moved is
//! known by the number it was given there, and taken back only under the name it had there.

mod rtnetlink;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context, Error, Os};
use crate::plan::NetDevice;
use crate::report::each;
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
    /// On the host.
    index: i32,
    was_up: bool,
    addresses: Vec<Address>,
    /// In the container, once it may be there.
    inside: Option<i32>,
}

/// How many numbers a device may be offered where it comes to.
const NUMBERS: i32 = 1000;

/// Moves all devices to the network namespace of process `pid`, or none of them.
pub(crate) fn move_in(devices: &[NetDevice], pid: i32) -> Result<Moved, Error> {
    let step = || format!("linux.netDevices: reach the network namespace of process {pid}");
    let theirs: OwnedFd = File::open(format!("/proc/{pid}/ns/net")).context(step)?.into();
    let mut moved = Moved::none(Some(theirs.as_fd())).context(step)?;
    let found = each(devices.iter().map(|plan| moved.look(plan)))?;
    for mut device in found {
        let taken = moved.take(&mut device, theirs.as_fd());
        moved.devices.push(device);
        if let Err(error) = taken {
            moved.back();
            return Err(error);
        }
    }
    Ok(moved)
}

/// What would keep the devices from moving to a namespace that is there, or to a new one, as far as it
/// shows beforehand.
pub(crate) fn lacks(devices: &[NetDevice], namespace: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let step = || "linux.netDevices: reach the container's network namespace";
    let none = Moved::none(namespace).context(step)?;
    each(devices.iter().map(|plan| none.look(plan))).map(drop)
}

impl Moved {
    /// With a way to both namespaces, of which the container's may be a new one.
    fn none(namespace: Option<BorrowedFd<'_>>) -> Result<Moved, Os> {
        let own: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
        Ok(Moved {
            host: Rtnetlink::open()?,
            inside: Rtnetlink::open_in(namespace, own.as_fd())?,
            host_namespace: own,
            devices: Vec::new(),
        })
    }

    /// The device, with what the move would lose.
    fn look(&self, plan: &NetDevice) -> Result<Device, Error> {
        let find = || format!("{}: find the device", plan.field());
        let link = self.host.link(&plan.host).context(find)?;
        match self.inside.link(&plan.name) {
            Err(Errno::ENODEV) => {}
            Ok(_) => {
                let step = format!("the container has a device {:?} already", plan.name);
                return Err(Error::host(format!("{}.name", plan.field()), step, Errno::EEXIST));
            }
            Err(errno) => return Err(Error::system(find(), errno)),
        }
        let addresses = self.host.addresses(link.index).context(find)?;
        let (index, was_up) = (link.index, link.up);
        Ok(Device { plan: plan.clone(), index, was_up, addresses, inside: None })
    }

    fn take(&self, device: &mut Device, namespace: BorrowedFd<'_>) -> Result<(), Error> {
        let Device { plan, addresses, index, inside, .. } = device;
        let number = first_free(*index, |number| {
            *inside = Some(number);
            self.host.move_link(*index, namespace, number, &plan.name)
        })
        .context(|| format!("{}: move it into the container as {:?}", plan.field(), plan.name))?;
        dress(&self.inside, number, addresses, true)
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
        let Device { plan, index, addresses, was_up, inside: Some(inside) } = device else {
            return Ok(());
        };
        match self.host.link_at(*index) {
            Err(Errno::ENODEV) => {}
            // It has not left, and what has its number inside is another one.
            result => return result.map(drop),
        }
        let link = self.inside.link_at(*inside)?;
        // It may not have come to the new name. Under any other it is not ours any more.
        if link.name != plan.name && link.name != plan.host {
            return Err(Errno::ENODEV);
        }
        let number = first_free(*index, |number| {
            self.inside.move_link(*inside, self.host_namespace.as_fd(), number, &plan.host)
        })?;
        dress(&self.host, number, addresses, *was_up)
    }
}

/// Calls `with` the numbers from the first on, until one is not taken.
fn first_free(first: i32, mut with: impl FnMut(i32) -> Result<(), Errno>) -> Result<i32, Errno> {
    let mut number = first;
    loop {
        match with(number) {
            Err(Errno::EBUSY) if number - first < NUMBERS => number += 1,
            result => return result.map(|()| number),
        }
    }
}

fn dress(at: &Rtnetlink, index: i32, addresses: &[Address], up: bool) -> Result<(), Errno> {
    addresses.iter().try_for_each(|address| at.add_address(index, address))?;
    if up { at.set_up(index) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
