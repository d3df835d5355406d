//! The compiled filter, and its form as bytes.

use crate::{Error, MAX_INSTRUCTIONS};

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A program for `seccomp(SECCOMP_SET_MODE_FILTER)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The program; 1 to 4096 instructions.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits for seccomp(2), `NEW_LISTENER` included when `notify` is set
    /// (LOG since 4.14, SPEC_ALLOW 4.17, NEW_LISTENER 5.0, WAIT_KILLABLE_RECV 5.19).
    pub flags: u32,
    /// A rule notifies: seccomp(2) returns a listener descriptor.
    pub notify: bool,
}

const MAGIC: [u8; 4] = *b"gsf1";
const HEADER: usize = 16;
const INSTRUCTION: usize = 8;

impl Filter {
    /// The filter as bytes.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut bytes = Vec::with_capacity(HEADER + INSTRUCTION * self.instructions.len());
        bytes.extend(MAGIC);
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(u32::from(self.notify).to_ne_bytes());
        bytes.extend((self.instructions.len() as u32).to_ne_bytes());
        for instruction in &self.instructions {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        Encoded(bytes)
    }
}

/// A filter as bytes, on disk and between processes: magic, flags, notify, count, then the
/// instructions, all in the byte order of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// The most bytes that a filter takes.
    pub const MAX: usize = HEADER + INSTRUCTION * MAX_INSTRUCTIONS;

    /// Takes what [`Encoded::bytes`] gave.
    ///
    /// # Errors
    ///
    /// [`Error::Encoding`] when the header or the length is not that of a filter. The instructions
    /// are the kernel's to verify.
    pub fn read(bytes: Vec<u8>) -> Result<Encoded, Error> {
        let no = |reason| Error::Encoding { length: bytes.len(), reason };
        let (header, body) = bytes.split_at_checked(HEADER).ok_or(no("no header"))?;
        if header[..4] != MAGIC {
            return Err(no("wrong magic"));
        }
        if word(&header[8..]) > 1 {
            return Err(no("notify is neither 0 nor 1"));
        }
        let count = word(&header[12..]) as usize;
        if count == 0 || count > MAX_INSTRUCTIONS {
            return Err(no("not 1 to 4096 instructions"));
        }
        if body.len() != count * INSTRUCTION {
            return Err(no("length does not fit the count"));
        }
        Ok(Encoded(bytes))
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The program, as seccomp(2) takes it.
    #[must_use]
    pub fn instructions(&self) -> &[u8] {
        &self.0[HEADER..]
    }

    /// As [`Filter::flags`].
    #[must_use]
    pub fn flags(&self) -> u32 {
        word(&self.0[4..])
    }

    /// As [`Filter::notify`].
    #[must_use]
    pub fn notify(&self) -> bool {
        word(&self.0[8..]) != 0
    }
}

/// The first four bytes as a number.
fn word(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        Filter {
            instructions: vec![
                Instruction { code: 0x20, jt: 0, jf: 0, k: 4 },
                Instruction { code: 0x15, jt: 255, jf: 1, k: 0xc000_003e },
                Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
            ],
            flags: 12,
            notify: true,
        }
    }

    #[test]
    fn bytes_read_back_as_the_same_filter() {
        let encoded = filter().encode();
        assert_eq!(encoded.bytes().len(), 16 + 3 * 8);
        assert_eq!((encoded.flags(), encoded.notify()), (12, true));
        assert_eq!(encoded.instructions()[..8], [0x20, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(Encoded::read(encoded.bytes().to_vec()), Ok(encoded));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let whole = filter().encode().bytes().to_vec();
        for length in 0..whole.len() {
            assert!(Encoded::read(whole[..length].to_vec()).is_err(), "{length} bytes");
        }
        for place in [0, 8, 12] {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x40;
            assert!(Encoded::read(bytes).is_err(), "byte {place}");
        }
        let empty = Filter::default().encode();
        assert!(Encoded::read(empty.bytes().to_vec()).is_err());
    }
}
