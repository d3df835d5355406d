//! The owner that a file would have, noted where the file can't have it: the attribute
//! `user.rootlesscontainers` of rootlesscontaine.rs, as umoci writes it too. Its value is the protocol
//! buffer `{ uint32 uid = 1; uint32 gid = 2; }`.

/// The attribute's name.
pub const NAME: &[u8] = b"user.rootlesscontainers";

/// The first bytes of the fields.
const UID: u8 = 0x08;
const GID: u8 = 0x10;

/// The attribute's value; zeros are left out.
pub fn encode(uid: u32, gid: u32) -> Vec<u8> {
    let mut value = Vec::new();
    for (field, mut id) in [(UID, uid), (GID, gid)] {
        if id == 0 {
            continue;
        }
        value.push(field);
        while id > 0x7f {
            value.push((id & 0x7f | 0x80) as u8);
            id >>= 7;
        }
        value.push(id as u8);
    }
    value
}

/// User and group ID; `None` if the value is no such record.
pub fn decode(value: &[u8]) -> Option<(u32, u32)> {
    let (mut uid, mut gid) = (0, 0);
    let mut bytes = value.iter();
    while let Some(field) = bytes.next() {
        let mut id = 0_u64;
        for shift in (0..).step_by(7) {
            let byte = *bytes.next().filter(|_| shift < 35)?;
            id |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let id = u32::try_from(id).ok()?;
        match *field {
            UID => uid = id,
            GID => gid = id,
            _ => return None,
        }
    }
    Some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (uid, gid, value) in [
            (0, 0, &b""[..]),
            (7, 0, b"\x08\x07"),
            (0, 300, b"\x10\xac\x02"),
            (1000, u32::MAX - 1, b"\x08\xe8\x07\x10\xfe\xff\xff\xff\x0f"),
        ] {
            assert_eq!(encode(uid, gid), value);
            assert_eq!(decode(value), Some((uid, gid)));
        }
        for broken in [&b"\x08"[..], b"\x08\x80", b"\x18\x01", b"\x08\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(decode(broken), None, "{broken:?}");
        }
    }
}
