//! Writes tar archives, well-formed or not.

use std::io::Write;

/// An archive being written, field by field: a library would refuse to write what must be tested.
#[derive(Clone, Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    /// One entry of any type, root's, mode 0644 or 0755 for directories.
    pub fn entry(self, flag: u8, name: &str, link: &str, data: &[u8]) -> Self {
        self.entry_bytes(flag, name.as_bytes(), link.as_bytes(), data)
    }

    /// The same with names of any bytes.
    pub fn entry_bytes(mut self, flag: u8, name: &[u8], link: &[u8], data: &[u8]) -> Self {
        self.header(flag, name, link, data.len() as u64, (0, 0));
        self.data(data);
        self
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.entry(b'0', name, "", data.as_bytes())
    }

    /// A file of mode 0755.
    pub fn program(mut self, name: &str, data: &[u8]) -> Self {
        self.header_with(b"0000755\0", b'0', name.as_bytes(), b"", data.len() as u64, (0, 0));
        self.data(data);
        self
    }

    pub fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, b"")
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, b"")
    }

    /// Says of the last header, which has no data: this mode and this owner.
    pub fn owned(self, mode: u32, owner: u32) -> Self {
        self.changed(|block| {
            for (field, value) in [(100, mode), (108, owner), (116, owner)] {
                block[field..field + 8].copy_from_slice(format!("{value:07o}\0").as_bytes());
            }
        })
    }

    /// Changes the last header, which has no data.
    pub fn changed(mut self, change: impl FnOnce(&mut [u8])) -> Self {
        let at = self.0.len() - 512;
        let block = &mut self.0[at..];
        change(block);
        sign(block);
        self
    }

    /// Says of the last header, which has no data, that it has so much.
    pub fn claiming(self, size: u64) -> Self {
        self.changed(|block| {
            block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        })
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn device(mut self, flag: u8, name: &str, numbers: (u32, u32)) -> Self {
        self.header(flag, name.as_bytes(), b"", 0, numbers);
        self
    }

    /// A PAX header for the next entry.
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let bytes =
            |(key, value): &(&str, &str)| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.pax_bytes(&records.iter().map(bytes).collect::<Vec<_>>())
    }

    /// The same with any bytes.
    pub fn pax_bytes(mut self, records: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            body.extend_from_slice(format!("{length} ").as_bytes());
            body.extend_from_slice(&[&key[..], b"=", value, b"\n"].concat());
        }
        self.header(b'x', b"pax", b"", body.len() as u64, (0, 0));
        self.data(&body);
        self
    }

    /// What there is of the archive so far.
    pub fn unended(self) -> Vec<u8> {
        self.0
    }

    /// The archive with its end.
    pub fn tar(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    fn header(&mut self, flag: u8, name: &[u8], link: &[u8], size: u64, device: (u32, u32)) {
        let mode = if flag == b'5' { b"0000755\0" } else { b"0000644\0" };
        self.header_with(mode, flag, name, link, size, device);
    }

    fn header_with(
        &mut self,
        mode: &[u8],
        flag: u8,
        name: &[u8],
        link: &[u8],
        size: u64,
        device: (u32, u32),
    ) {
        assert!(name.len() <= 100 && link.len() <= 100, "too long for a plain header");
        let mut block = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name);
        put(100, mode);
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000001750\0");
        put(156, &[flag]);
        put(157, link);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", device.0).as_bytes());
        put(337, format!("{:07o}\0", device.1).as_bytes());
        sign(&mut block);
        self.0.extend_from_slice(&block);
    }

    fn data(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }
}

/// Sets a header's checksum.
fn sign(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
