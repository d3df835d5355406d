//! The part of rtnetlink(7) that moving a device takes: find a link, list its addresses, move it, add
//! addresses, set it up. One request at a time; no policy.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send, socket,
};
use sys::process::{setns, unshare};

use crate::plan::flag;

/// Message types, flags and attributes of <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>
/// and <linux/if_addr.h>.
mod number {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const NEW_LINK: u16 = 16;
    pub const GET_LINK: u16 = 18;
    pub const NEW_ADDRESS: u16 = 20;
    pub const GET_ADDRESS: u16 = 22;

    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    pub const DUMP: u16 = 0x300;
    pub const EXCLUSIVE: u16 = 0x200;
    pub const CREATE: u16 = 0x400;

    pub const LINK_NAME: u16 = 3;
    pub const LINK_NAMESPACE_FD: u16 = 28;
    /// Since Linux 5.13.
    pub const LINK_NEW_INDEX: u16 = 49;
    pub const LINK_UP: u32 = 1;

    pub const ADDRESS: u16 = 1;
    pub const LOCAL: u16 = 2;
    pub const BROADCAST: u16 = 4;
    pub const FLAGS: u16 = 8;

    pub const PERMANENT: u32 = 0x80;
    /// No duplicate address detection, no route for the prefix: what was asked for with the address.
    pub const KEPT_FLAGS: u32 = 0x2 | 0x200;
    pub const GLOBAL_SCOPE: u8 = 0;
}

const HEADER: usize = 16;
/// Of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_BODY: usize = 16;
const ADDRESS_BODY: usize = 8;
/// More than the kernel puts into one packet of a dump.
const PACKET: usize = 64 * 1024;
/// The port of the kernel.
const KERNEL: u32 = 0;

/// A socket that works in the network namespace it was made in.
pub(super) struct Rtnetlink {
    socket: OwnedFd,
    sequence: Cell<u32>,
}

/// What is known of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub index: i32,
    pub name: String,
    pub up: bool,
}

/// An IP address as it is added again: the attributes are the kernel's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Rtnetlink {
    /// In the caller's network namespace.
    pub fn open() -> Result<Rtnetlink, Errno> {
        let (flags, protocol) = (SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        Ok(Rtnetlink { socket, sequence: Cell::new(0) })
    }

    /// In another one, or a new one, which the caller enters for a moment; `own` is where it comes back
    /// to.
    pub fn open_in(
        namespace: Option<BorrowedFd<'_>>,
        own: BorrowedFd<'_>,
    ) -> Result<Rtnetlink, Errno> {
        match namespace {
            Some(namespace) => setns(namespace, flag::NET)?,
            None => unshare(flag::NET)?,
        }
        let opened = Rtnetlink::open();
        setns(own, flag::NET)?;
        opened
    }

    /// The device of that name; ENODEV when there is none.
    pub fn link(&self, name: &str) -> Result<Link, Errno> {
        let mut body = vec![0; LINK_BODY];
        push(&mut body, number::LINK_NAME, &terminated(name));
        self.get_link(&body)
    }

    /// The device of that number; ENODEV when there is none.
    pub fn link_at(&self, index: i32) -> Result<Link, Errno> {
        self.get_link(&link_body(index, 0))
    }

    fn get_link(&self, body: &[u8]) -> Result<Link, Errno> {
        let answer = self.ask(number::GET_LINK, number::ACK, body)?;
        let link = answer.iter().find_map(|(kind, body)| {
            (*kind == number::NEW_LINK).then(|| parse_link(body)).flatten()
        });
        link.ok_or(Errno::EBADMSG)
    }

    /// The permanent global addresses of a device: others belong to where it has been, or come back by
    /// themselves.
    pub fn addresses(&self, index: i32) -> Result<Vec<Address>, Errno> {
        let answer = self.ask(number::GET_ADDRESS, number::DUMP, &[0; ADDRESS_BODY])?;
        let of_addresses = answer.iter().filter(|(kind, _)| *kind == number::NEW_ADDRESS);
        Ok(of_addresses.filter_map(|(_, body)| parse_address(body, index)).collect())
    }

    /// Takes a device to another namespace and gives it number `new` and a name there, in one step;
    /// EBUSY when the number is taken.
    pub fn move_link(
        &self,
        index: i32,
        namespace: BorrowedFd<'_>,
        new: i32,
        name: &str,
    ) -> Result<(), Errno> {
        let mut body = link_body(index, 0);
        push(&mut body, number::LINK_NAMESPACE_FD, &namespace.as_raw_fd().to_ne_bytes());
        push(&mut body, number::LINK_NEW_INDEX, &new.to_ne_bytes());
        push(&mut body, number::LINK_NAME, &terminated(name));
        self.ask(number::NEW_LINK, number::ACK, &body).map(drop)
    }

    pub fn add_address(&self, index: i32, address: &Address) -> Result<(), Errno> {
        let mut body = vec![address.family, address.prefix, 0, number::GLOBAL_SCOPE];
        body.extend(index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            push(&mut body, *kind, value);
        }
        let flags = number::ACK | number::CREATE | number::EXCLUSIVE;
        self.ask(number::NEW_ADDRESS, flags, &body).map(drop)
    }

    pub fn set_up(&self, index: i32) -> Result<(), Errno> {
        let body = link_body(index, number::LINK_UP);
        self.ask(number::NEW_LINK, number::ACK, &body).map(drop)
    }

    /// Sends a request and collects the answer up to its end.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, Errno> {
        let sequence = self.sequence.get() + 1;
        self.sequence.set(sequence);
        let request = encode(kind, flags | number::REQUEST, sequence, body);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut messages = Vec::new();
        let mut packet = vec![0; PACKET];
        loop {
            let len = match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut packet) {
                Err(Errno::EINTR) => continue,
                // Others who may change this namespace can send to us too.
                Ok((_, sender)) if sender.is_none_or(|sender| sender.pid() != KERNEL) => continue,
                result => result?.0,
            };
            for (kind, its, body) in decode(&packet[..len]) {
                match kind {
                    _ if its != sequence => {}
                    number::DONE => return Ok(messages),
                    number::ERROR => {
                        let errno = i32::from_ne_bytes(word(body, 0).ok_or(Errno::EBADMSG)?);
                        return if errno == 0 {
                            Ok(messages)
                        } else {
                            Err(Errno::from_raw(-errno))
                        };
                    }
                    kind => messages.push((kind, body.to_vec())),
                }
            }
        }
    }
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// `struct ifinfomsg`, with flags that are to be set.
fn link_body(index: i32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    // Those that the change is about.
    body.extend(flags.to_ne_bytes());
    body
}

/// Adds an attribute: length, type, value, each attribute on a boundary of 4.
fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn encode(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

/// The messages of a packet: type, sequence number, body.
fn decode(packet: &[u8]) -> Vec<(u16, u32, &[u8])> {
    let mut messages = Vec::new();
    let mut rest = packet;
    while let Some(len) = word(rest, 0).map(|len| u32::from_ne_bytes(len) as usize) {
        let (Some(message), Some(kind), Some(sequence)) =
            (rest.get(..len), half(rest, 4), word(rest, 8))
        else {
            break;
        };
        let Some(body) = message.get(HEADER..) else { break };
        messages.push((kind, u32::from_ne_bytes(sequence), body));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// The attributes of a message: type and value.
fn attributes(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut list = Vec::new();
    while let (Some(len), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let len = usize::from(len);
        let Some(value) = rest.get(4..len) else { break };
        list.push((kind, value));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    list
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let index = i32::from_ne_bytes(word(body, 4)?);
    let up = u32::from_ne_bytes(word(body, 8)?) & number::LINK_UP != 0;
    let name = attributes(body.get(LINK_BODY..)?).into_iter();
    let (_, name) = name.into_iter().find(|(kind, _)| *kind == number::LINK_NAME)?;
    let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned();
    Some(Link { index, name, up })
}

/// An address of the device with this number that is permanent and global.
fn parse_address(body: &[u8], index: i32) -> Option<Address> {
    let (family, prefix, scope) = (*body.first()?, *body.get(1)?, *body.get(3)?);
    let attributes = attributes(body.get(ADDRESS_BODY..)?);
    let flags = attributes.iter().find(|(kind, _)| *kind == number::FLAGS);
    let flags = flags.and_then(|(_, value)| word(value, 0)).map_or(0, u32::from_ne_bytes);
    if i32::from_ne_bytes(word(body, 4)?) != index
        || scope != number::GLOBAL_SCOPE
        || flags & number::PERMANENT == 0
    {
        return None;
    }
    let kept = [number::ADDRESS, number::LOCAL, number::BROADCAST];
    let kept = attributes.iter().filter(|(kind, _)| kept.contains(kind));
    let mut kept: Vec<_> = kept.map(|(kind, value)| (*kind, value.to_vec())).collect();
    kept.push((number::FLAGS, (flags & number::KEPT_FLAGS).to_ne_bytes().to_vec()));
    Some(Address { family, prefix, attributes: kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: i32, scope: u8, flags: u32) -> Vec<u8> {
        let mut body = vec![2, 24, 0x80, scope];
        body.extend(index.to_ne_bytes());
        push(&mut body, number::ADDRESS, &[10, 0, 0, 1]);
        push(&mut body, 3, b"eth0\0");
        push(&mut body, number::FLAGS, &flags.to_ne_bytes());
        body
    }

    #[test]
    fn messages_are_read_as_they_are_written() {
        let one = encode(16, 5, 7, b"abcd");
        let two = encode(2, 0, 8, &[0; 4]);
        let packet = [one, two].concat();
        assert_eq!(decode(&packet), [(16, 7, &b"abcd"[..]), (2, 8, &[0; 4][..])]);
        assert_eq!(decode(&packet[..30]), [(16, 7, &b"abcd"[..])]);
        assert!(decode(&[1, 0, 0]).is_empty());
    }

    #[test]
    fn attributes_stand_on_boundaries_of_four() {
        let mut body = Vec::new();
        push(&mut body, 3, b"eth0\0");
        push(&mut body, 28, &7i32.to_ne_bytes());
        assert_eq!(body.len(), 12 + 8);
        assert_eq!(attributes(&body), [(3, &b"eth0\0"[..]), (28, &7i32.to_ne_bytes()[..])]);
        assert!(attributes(&[200, 0, 1, 0]).is_empty());
    }

    #[test]
    fn only_permanent_global_addresses_of_the_device_are_taken() {
        let taken = parse_address(&address(5, 0, 0x280), 5).unwrap();
        assert_eq!((taken.family, taken.prefix), (2, 24));
        let flags = 0x200u32.to_ne_bytes().to_vec();
        assert_eq!(taken.attributes, [(1, vec![10, 0, 0, 1]), (8, flags)]);
        assert_eq!(parse_address(&address(6, 0, 0x80), 5), None, "another device's");
        assert_eq!(parse_address(&address(5, 253, 0x80), 5), None, "of the link");
        assert_eq!(parse_address(&address(5, 0, 0), 5), None, "for a while");
        assert_eq!(parse_address(&address(5, 0, 0x80)[..6], 5), None, "cut off");
    }

    /// Takes CAP_NET_ADMIN, as the attack does: without it there is nothing to see.
    #[test]
    fn only_the_kernel_answers() {
        // This thread's only: the others stay where they are.
        if sys::process::unshare(flag::NET).is_err() {
            return;
        }
        let ours = Rtnetlink::open().unwrap();
        // The port comes with the first message.
        assert_eq!(ours.link("lo").unwrap().name, "lo");
        let port = nix::sys::socket::getsockname::<NetlinkAddr>(ours.socket.as_raw_fd()).unwrap();
        let theirs = Rtnetlink::open().unwrap();
        let forged = encode(number::ERROR, 0, 2, &(-nix::libc::EXDEV).to_ne_bytes());
        let to = NetlinkAddr::new(port.pid(), 0);
        let fd = theirs.socket.as_raw_fd();
        nix::sys::socket::sendto(fd, &forged, &to, MsgFlags::empty()).unwrap();
        assert_eq!(ours.link("lo").map(|link| link.index), Ok(1));
    }
}
