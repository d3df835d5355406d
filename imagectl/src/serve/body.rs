//! A request's body as it comes: of a known length or in chunks.

use std::io::{self, BufRead, Read};

/// The longest line before a chunk or behind the last, in bytes.
const LINE_LIMIT: u64 = 1 << 10;

/// How the head says that the body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, perhaps none.
    Length(u64),
    /// In chunks that name their length.
    Chunks,
}

/// A body that is read once.
pub struct Incoming<'a> {
    reader: &'a mut dyn BufRead,
    /// Bytes until the end of the body, or of the chunk.
    left: u64,
    chunked: bool,
    done: bool,
}

impl<'a> Incoming<'a> {
    pub fn new(reader: &'a mut dyn BufRead, framing: Framing) -> Self {
        match framing {
            Framing::Length(left) => Self { reader, left, chunked: false, done: left == 0 },
            Framing::Chunks => Self { reader, left: 0, chunked: true, done: false },
        }
    }

    /// Is there nothing more to read?
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut *self.reader).take(LINE_LIMIT).read_line(&mut line)?;
        match line.strip_suffix("\r\n").or_else(|| line.strip_suffix('\n')) {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Reads the line before a chunk; behind the last one there may be further lines.
    fn begin_chunk(&mut self) -> io::Result<()> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or("").trim();
        // A sign is no hexadecimal digit, though the parser takes one.
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.left = u64::from_str_radix(size, 16)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if self.left == 0 {
            while !self.line()?.is_empty() {}
            self.done = true;
        }
        Ok(())
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.chunked && self.left == 0 && !self.done {
            self.begin_chunk()?;
        }
        if self.done || out.is_empty() {
            return Ok(0);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let length = self.reader.read(&mut out[..wanted])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length as u64;
        if self.left == 0 {
            self.done = !self.chunked;
            if self.chunked && !self.line()?.is_empty() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        for (framing, text, expected, rest) in [
            (Framing::Length(3), "abcde", Some("abc"), "de"),
            (Framing::Length(0), "x", Some(""), "x"),
            (Framing::Length(9), "abc", None, ""),
            (
                Framing::Chunks,
                "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nG",
                Some("abc0123456789"),
                "G",
            ),
            (Framing::Chunks, "1\r\na\r\n0\r\nX: y\r\n\r\nG", Some("a"), "G"),
            (Framing::Chunks, "+1\r\na\r\n0\r\n\r\n", None, ""),
            (Framing::Chunks, "1\r\nabc\r\n0\r\n\r\n", None, ""),
            (Framing::Chunks, "3\r\nab", None, ""),
            (Framing::Chunks, "fffffffffffffffff\r\n", None, ""),
            (Framing::Chunks, "", None, ""),
        ] {
            let mut reader = text.as_bytes();
            let mut body = Vec::new();
            let result = Incoming::new(&mut reader, framing).read_to_end(&mut body);
            match expected {
                Some(expected) => {
                    assert_eq!((body.as_slice(), reader), (expected.as_bytes(), rest.as_bytes()));
                }
                None => assert!(result.is_err(), "{text:?}"),
            }
        }
    }
}
