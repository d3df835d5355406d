//! The writer: entries to a PAX archive that every reader of this day understands alike.

use std::io::{self, Read, Write};

use super::BLOCK;
use super::reader::{Entry, Kind};

/// The largest number that a field of `digits` octal digits holds.
const fn octal_limit(digits: u32) -> u64 {
    (1 << (3 * digits)) - 1
}

/// Writes entries, one by one.
pub struct Writer<W> {
    sink: W,
}

impl<W: Write> Writer<W> {
    /// Writes to `sink`.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Writes an entry, and its size in bytes of `data`: what is missing there becomes zeros, for a
    /// file may grow shorter while it is read.
    ///
    /// # Errors
    /// Those of `data` and of the sink.
    pub fn entry(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let mut block = header(b'x', b"pax", b"", 0o644, records.len() as u64);
            seal(&mut block);
            self.sink.write_all(&block)?;
            self.sink.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        let (flag, link) = match &entry.kind {
            Kind::File => (b'0', &[][..]),
            Kind::Hardlink(target) => (b'1', target.as_slice()),
            Kind::Symlink(target) => (b'2', target.as_slice()),
            Kind::Character(..) => (b'3', &[][..]),
            Kind::Block(..) => (b'4', &[][..]),
            Kind::Directory => (b'5', &[][..]),
            Kind::Fifo => (b'6', &[][..]),
        };
        let mut block = header(flag, &entry.path, link, entry.mode, entry.size);
        octal(&mut block[108..116], entry.uid.into());
        octal(&mut block[116..124], entry.gid.into());
        octal(&mut block[136..148], u64::try_from(entry.mtime.0).unwrap_or(0));
        if let Kind::Character(major, minor) | Kind::Block(major, minor) = entry.kind {
            octal(&mut block[329..337], major.into());
            octal(&mut block[337..345], minor.into());
        }
        seal(&mut block);
        self.sink.write_all(&block)?;
        let written = io::copy(&mut data.take(entry.size), &mut self.sink)?;
        io::copy(&mut io::repeat(0).take(entry.size - written), &mut self.sink)?;
        self.pad(entry.size)
    }

    /// Writes the archive's end and gives the sink back.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.write_all(&[0; 2 * BLOCK])?;
        Ok(self.sink)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.wrapping_neg() % BLOCK as u64;
        io::copy(&mut io::repeat(0).take(padding), &mut self.sink).map(drop)
    }
}

/// A header without owner, time and checksum. What doesn't fit is cut: a PAX record has it whole.
fn header(flag: u8, path: &[u8], link: &[u8], mode: u32, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, room: usize, bytes: &[u8]| {
        let length = bytes.len().min(room);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, 100, path);
    put(157, 100, link);
    put(257, 8, b"ustar\x0000");
    octal(&mut block[100..108], mode.into());
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], 0);
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    block[156] = flag;
    block
}

/// An octal number and a NUL; zero where it doesn't fit.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let mut value = if value > octal_limit(digits as u32) { 0 } else { value };
    field[digits] = 0;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn seal(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

/// The PAX records for what a plain header can't hold.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.push(b' ');
        records.extend_from_slice(key);
        records.push(b'=');
        records.extend_from_slice(value);
        records.push(b'\n');
    };
    if entry.path.len() > 100 {
        add(b"path", &entry.path);
    }
    if let Kind::Symlink(target) | Kind::Hardlink(target) = &entry.kind
        && target.len() > 100
    {
        add(b"linkpath", target);
    }
    for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if u64::from(id) > octal_limit(7) {
            add(key.as_bytes(), id.to_string().as_bytes());
        }
    }
    if entry.size > octal_limit(11) {
        add(b"size", entry.size.to_string().as_bytes());
    }
    let (seconds, nanoseconds) = entry.mtime;
    if nanoseconds != 0 || u64::try_from(seconds).map_or(true, |s| s > octal_limit(11)) {
        add(b"mtime", time(seconds, nanoseconds).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Seconds with a decimal fraction, which before 1970 counts away from zero.
fn time(seconds: i64, nanoseconds: u32) -> String {
    match (seconds, nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanoseconds) if seconds >= 0 => format!("{seconds}.{nanoseconds:09}"),
        (seconds, nanoseconds) => {
            format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            mtime: (3, 0),
            size: 0,
            sparse: None,
            xattrs: Vec::new(),
        }
    }

    /// What is written is read back the same.
    #[test]
    fn there_and_back() {
        let long = "n".repeat(90) + "/" + &"m".repeat(90);
        let mut entries = vec![
            entry("f", Kind::File),
            entry(&long, Kind::Directory),
            entry("s", Kind::Symlink(long.clone().into_bytes())),
            entry("h", Kind::Hardlink(b"f".to_vec())),
            entry("c", Kind::Character(1, 3)),
            entry("b", Kind::Block(8, 300_000)),
            entry("p", Kind::Fifo),
        ];
        entries[0].size = 5;
        entries[1].uid = 0xffff_fffe;
        entries[1].gid = 3_000_000;
        entries[1].mtime = (-1, 250_000_000);
        entries[2].mtime = (1 << 34, 1);
        entries[1].xattrs = vec![(b"user.x".to_vec(), b"a\0\n=b".to_vec())];
        let mut writer = Writer::new(Vec::new());
        for entry in &entries {
            writer.entry(entry, &b"hello"[..]).unwrap();
        }
        let tar = writer.finish().unwrap();
        let mut reader = Reader::new(&tar[..]);
        for entry in &entries {
            let found = reader.next_entry().unwrap().unwrap();
            assert_eq!(format!("{found:?}"), format!("{entry:?}"));
        }
        assert!(reader.next_entry().unwrap().is_none());
    }

    #[test]
    fn a_file_that_grew_shorter_is_filled_up() {
        let mut writer = Writer::new(Vec::new());
        writer.entry(&Entry { size: 9, ..entry("f", Kind::File) }, &b"abc"[..]).unwrap();
        assert_eq!(writer.finish().unwrap()[512..524], *b"abc\0\0\0\0\0\0\0\0\0");
    }
}
