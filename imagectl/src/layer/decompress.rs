//! Decompression. The format is read from the first bytes: media types in the wild lie, and the
//! diff ID decides in the end.

use std::io::{self, BufRead, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// The largest zstd window that is accepted, as a power of two in bytes: 128 MiB, the limit of the
/// zstd tool itself. It bounds the memory that an archive can ask for.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The source, the bytes that were looked at back in front.
type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// A decompressing reader.
pub enum Decoder<R: BufRead> {
    /// Not compressed.
    Plain(Peeked<R>),
    /// gzip, one or more members.
    Gzip(Box<MultiGzDecoder<Peeked<R>>>),
    /// zstd, one or more frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, Peeked<R>>>),
}

impl<R: BufRead> Decoder<R> {
    /// Chooses the decoder for `source`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a compression that images may not use, [`Error::Step`] if the source
    /// or the decoder fails.
    pub fn new(mut source: R) -> Result<Self> {
        let mut magic = Vec::with_capacity(6);
        source
            .by_ref()
            .take(6)
            .read_to_end(&mut magic)
            .map_err(|source| Error::Step { action: "read the layer", source })?;
        let peeked = |magic: Vec<u8>| Cursor::new(magic).chain(source);
        Ok(match magic.as_slice() {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(peeked(magic)))),
            // A zstd frame, or a skippable one as zstd:chunked and pzstd write them.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let zstd = |source| Error::Step { action: "set up zstd", source };
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(peeked(magic)).map_err(zstd)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(zstd)?;
                Self::Zstd(Box::new(decoder))
            }
            [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                return Err(Error::refused(
                    "compressed with bzip2 or xz, which image layers may not be",
                ));
            }
            _ => Self::Plain(peeked(magic)),
        })
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Plain(_) => "read the layer",
            Self::Gzip(_) => "decompress gzip",
            Self::Zstd(_) => "decompress zstd",
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        };
        // Name the stage, unless the error came from an earlier one of our own.
        result.map_err(|source| match source.downcast::<Error>() {
            Ok(own) => io::Error::other(own),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => source,
            Err(source) => io::Error::other(Error::Step { action: self.action(), source }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        // One byte at a time: the magic must not depend on how the network cuts the stream.
        let source = io::BufReader::with_capacity(1, bytes);
        Decoder::new(source).map_err(io::Error::other)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let zstd = zstd::encode_all(&b"hello"[..], 3).unwrap();
        assert_eq!(decode(b"hello").unwrap(), b"hello");
        assert_eq!(decode(b"").unwrap(), b"");
        assert_eq!(decode(&gzip(b"hello")).unwrap(), b"hello");
        assert_eq!(decode(&zstd).unwrap(), b"hello");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9][..], &zstd].concat();
        assert_eq!(decode(&skippable).unwrap(), b"hello");
    }

    #[test]
    fn concatenated_members() {
        assert_eq!(decode(&[gzip(b"hel"), gzip(b"lo")].concat()).unwrap(), b"hello");
        let frames = [b"hel", &b"lo"[..]].map(|part| zstd::encode_all(part, 1).unwrap()).concat();
        assert_eq!(decode(&frames).unwrap(), b"hello");
    }

    #[test]
    fn broken_streams() {
        let whole = gzip(b"hello hello hello hello");
        assert!(decode(&whole[..whole.len() - 9]).is_err(), "cut in the data");
        assert!(decode(&whole[..whole.len() - 1]).is_err(), "cut in the checksum");
        assert!(decode(&[&whole[..], b"garbage"].concat()).is_err(), "trailing garbage");
        let mut wrong = whole.clone();
        let at = whole.len() - 5;
        wrong[at] ^= 1;
        assert!(decode(&wrong).is_err(), "wrong checksum");
        let zstd = zstd::encode_all(&b"hello"[..], 3).unwrap();
        assert!(decode(&zstd[..zstd.len() - 1]).is_err(), "cut zstd");
        assert!(decode(b"BZh91AY&SY").is_err(), "bzip2");
        // Window descriptor 0x90 asks for 2^28 bytes.
        assert!(decode(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90, 0x01, 0, 0]).is_err(), "huge window");
    }
}
