//! Maps of sparse files: which parts of the file the archive holds, the rest being zeros.

use super::header::Header;
use super::number::{decimal, field};
use super::{BLOCK, EXTENSION_LIMIT};

/// Where the stored bytes of a sparse file go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// The file's full size in bytes.
    pub size: u64,
    /// Offset and length of each part that is stored, in order.
    pub parts: Vec<(u64, u64)>,
}

impl Sparse {
    /// Checks a map: in order, not overlapping, inside the file, and as long as what is stored.
    pub fn new(size: u64, numbers: &[u64], stored: u64) -> Result<Self, &'static str> {
        if !numbers.len().is_multiple_of(2) {
            return Err("a sparse map has an offset without a length");
        }
        if i64::try_from(size).is_err() {
            return Err("a sparse file's size is more than any file has");
        }
        let mut parts = Vec::with_capacity(numbers.len() / 2);
        let (mut end, mut sum) = (0_u64, 0_u64);
        for pair in numbers.chunks_exact(2) {
            let (offset, length) = (pair[0], pair[1]);
            if offset < end {
                return Err("a sparse map's parts overlap");
            }
            end = offset.checked_add(length).ok_or("a sparse map overflows")?;
            // A part inside the file can't make the sum overflow.
            if end > size {
                return Err("a sparse map goes past the file's end");
            }
            sum += length;
            if length > 0 {
                parts.push((offset, length));
            }
        }
        if sum != stored {
            return Err("a sparse map is not as long as what is stored");
        }
        Ok(Self { size, parts })
    }
}

/// Collects the numbers of an old GNU map: the header's four places, then blocks of 21.
#[derive(Default)]
pub struct GnuMap {
    pub numbers: Vec<u64>,
    ended: bool,
    size: MapSize,
}

/// A map's size so far, in bytes: blocks that hold nothing count too.
#[derive(Default)]
struct MapSize(u64);

impl MapSize {
    fn add_block(&mut self) -> Result<(), &'static str> {
        self.0 += BLOCK as u64;
        match self.0 > EXTENSION_LIMIT {
            true => Err("a sparse map is larger than 1 MiB"),
            false => Ok(()),
        }
    }
}

impl GnuMap {
    /// Takes the header's places. The flag says whether a block follows.
    pub fn header(&mut self, header: &Header<'_>) -> Result<bool, &'static str> {
        self.places(header.sparse_map())?;
        Ok(header.sparse_extended())
    }

    /// Takes one following block. The flag says whether another follows.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<bool, &'static str> {
        self.size.add_block()?;
        self.places(&block[..504])?;
        Ok(block[504] != 0)
    }

    fn places(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for place in bytes.chunks_exact(24) {
            // An empty place ends the map.
            if place[0] == 0 {
                self.ended = true;
                continue;
            }
            if self.ended {
                return Err("a sparse map goes on after its end");
            }
            for half in place.chunks_exact(12) {
                let number = field(half).and_then(|number| u64::try_from(number).ok());
                self.numbers.push(number.ok_or("a sparse map holds a bad number")?);
            }
        }
        Ok(())
    }
}

/// Collects the numbers of a PAX 1.0 map, which stands in front of the data: a count, then offset
/// and length by turns, a line each.
#[derive(Default)]
pub struct DataMap {
    count: Option<u64>,
    pub numbers: Vec<u64>,
    line: Vec<u8>,
    size: MapSize,
}

impl DataMap {
    /// Takes one block. The flag says whether another follows.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<bool, &'static str> {
        self.size.add_block()?;
        for byte in block {
            if self.complete() {
                // The rest of the block is padding.
                return Ok(false);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    return Err("a sparse map holds a bad number");
                }
                continue;
            }
            let number = decimal(&self.line).ok_or("a sparse map holds a bad number")?;
            self.line.clear();
            match self.count {
                None if number > EXTENSION_LIMIT / 4 => {
                    return Err("a sparse map is larger than 1 MiB");
                }
                None => self.count = Some(number),
                Some(_) => self.numbers.push(number),
            }
        }
        Ok(!self.complete())
    }

    fn complete(&self) -> bool {
        self.count.is_some_and(|count| self.numbers.len() as u64 == 2 * count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let sparse = Sparse::new(100, &[0, 10, 50, 5, 100, 0], 15).unwrap();
        assert_eq!(sparse.parts, [(0, 10), (50, 5)]);
        for (size, numbers, stored) in [
            (100, &[0, 10, 5, 5][..], 15),
            (100, &[0, 10], 11),
            (100, &[0, 101], 101),
            (100, &[0], 0),
            (u64::MAX, &[u64::MAX, 1], 1),
            (100, &[50, 10, 0, 10], 20),
        ] {
            assert!(Sparse::new(size, numbers, stored).is_err(), "{numbers:?}");
        }
    }

    #[test]
    fn data_map() {
        let mut block = [0; BLOCK];
        block[..14].copy_from_slice(b"2\n0\n3\n512\n7\nxx");
        let mut map = DataMap::default();
        assert_eq!(map.block(&block), Ok(false));
        assert_eq!(map.numbers, [0, 3, 512, 7]);
        let mut endless = DataMap::default();
        assert!(endless.block(&[b'1'; BLOCK]).is_err());
        let mut huge = [b'0'; BLOCK];
        huge[..9].copy_from_slice(b"99999999\n");
        assert!(DataMap::default().block(&huge).is_err());
    }
}
