//! One 512-byte header block, its fields as they stand.

use super::BLOCK;
use super::number::field;

/// A header block whose checksum is right.
pub struct Header<'a>(&'a [u8; BLOCK]);

/// Which dialect's fields follow the first 257 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Nothing follows.
    V7,
    /// POSIX: device numbers and a path prefix of 155 bytes.
    Ustar,
    /// As POSIX, but the prefix has 131 bytes and times follow it.
    Star,
    /// Device numbers, then times and a sparse map where POSIX has the prefix.
    Gnu,
}

impl<'a> Header<'a> {
    /// Checks the sum, unsigned or (as old Sun tars wrote it) signed.
    pub fn new(block: &'a [u8; BLOCK]) -> Result<Self, &'static str> {
        let header = Self(block);
        let stored = header.number(148..156).ok_or("the header's checksum is no number")?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (i, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&i) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored == unsigned || stored == signed {
            Ok(header)
        } else {
            Err("the header's checksum is wrong")
        }
    }

    fn number(&self, range: std::ops::Range<usize>) -> Option<i64> {
        field(&self.0[range])
    }

    /// A text field up to its first NUL.
    fn text(&self, range: std::ops::Range<usize>) -> &'a [u8] {
        let bytes = &self.0[range];
        &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
    }

    pub fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if &magic[..6] == b"ustar\0" => match &self.0[508..512] {
                b"tar\0" => Dialect::Star,
                _ => Dialect::Ustar,
            },
            _ => Dialect::V7,
        }
    }

    /// The path, the prefix in front where the dialect has one.
    pub fn path(&self) -> Vec<u8> {
        let name = self.text(0..100);
        let prefix = match self.dialect() {
            Dialect::Ustar => self.text(345..500),
            Dialect::Star => self.text(345..476),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        match prefix {
            b"" => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    pub fn mode(&self) -> Option<i64> {
        self.number(100..108)
    }

    pub fn uid(&self) -> Option<i64> {
        self.number(108..116)
    }

    pub fn gid(&self) -> Option<i64> {
        self.number(116..124)
    }

    pub fn size(&self) -> Option<u64> {
        self.number(124..136).and_then(|size| u64::try_from(size).ok())
    }

    pub fn mtime(&self) -> Option<i64> {
        self.number(136..148)
    }

    pub fn typeflag(&self) -> u8 {
        self.0[156]
    }

    pub fn link(&self) -> &'a [u8] {
        self.text(157..257)
    }

    /// Major and minor; 0 in the dialect that has none.
    pub fn device(&self) -> Option<(i64, i64)> {
        match self.dialect() {
            Dialect::V7 => Some((0, 0)),
            _ => Some((self.number(329..337)?, self.number(337..345)?)),
        }
    }

    /// The four places of a GNU sparse header's map.
    pub fn sparse_map(&self) -> &'a [u8] {
        &self.0[386..482]
    }

    /// Does a block with more of the map follow?
    pub fn sparse_extended(&self) -> bool {
        self.0[482] != 0
    }

    /// The sparse file's full size.
    pub fn sparse_size(&self) -> Option<u64> {
        self.number(483..495).and_then(|size| u64::try_from(size).ok())
    }
}
