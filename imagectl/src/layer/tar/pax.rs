//! PAX extended headers: records of `length key=value\n` that override the next entry's header.

use super::number::{decimal, time};

/// XATTR_NAME_MAX and XATTR_SIZE_MAX of the kernel, and more attributes than any file has: those of
/// directories are kept until a layer's end.
const XATTR_NAME_LIMIT: usize = 255;
const XATTR_VALUE_LIMIT: usize = 64 << 10;
const XATTR_COUNT_LIMIT: usize = 1024;

/// What the records of one extended header say.
#[derive(Default, Debug)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    /// Name without `SCHILY.xattr.`, value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

/// The `GNU.sparse.*` records.
#[derive(Default, Debug)]
pub struct SparseRecords {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    /// `GNU.sparse.size` (0.0 and 0.1) or `GNU.sparse.realsize` (1.0).
    pub size: Option<u64>,
    /// The name that the file has once unpacked.
    pub name: Option<Vec<u8>>,
    /// Offset and length by turns, from `map` (0.1) or `offset` and `numbytes` (0.0).
    pub map: Option<Vec<u64>>,
}

/// Parses a whole extended header.
pub fn parse(mut bytes: &[u8]) -> Result<Records, String> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes)?;
        apply(&mut records, key, value)
            .ok_or_else(|| format!("the PAX record {} has a bad value", key.escape_ascii()))?;
        bytes = rest;
    }
    Ok(records)
}

/// Key, value, and what follows the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Cuts off the first record.
fn record(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
    let space =
        bytes.iter().take(20).position(|b| *b == b' ').ok_or("a PAX record has no length")?;
    let length = decimal(&bytes[..space])
        .and_then(|length| usize::try_from(length).ok())
        .ok_or("a PAX record's length is no number")?;
    if length <= space + 1 || length > bytes.len() {
        return Err("a PAX record's length goes past the header");
    }
    let (record, rest) = bytes.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n").ok_or("a PAX record ends in no newline")?;
    let equals = body.iter().position(|b| *b == b'=').ok_or("a PAX record has no =")?;
    if equals == 0 {
        return Err("a PAX record has no key");
    }
    Ok((&body[..equals], &body[equals + 1..], rest))
}

/// Takes one record; an empty value takes back what an earlier record said. `None` if it is bad.
fn apply(records: &mut Records, key: &[u8], value: &[u8]) -> Option<()> {
    let text = || (!value.contains(&0)).then(|| (!value.is_empty()).then(|| value.to_vec()));
    let number = || match value {
        b"" => Some(None),
        value => decimal(value).map(Some),
    };
    match key {
        b"path" => records.path = text()?,
        b"linkpath" => records.link = text()?,
        b"size" => records.size = number()?,
        b"uid" => records.uid = number()?,
        b"gid" => records.gid = number()?,
        b"mtime" if value.is_empty() => records.mtime = None,
        b"mtime" => records.mtime = Some(time(value)?),
        b"GNU.sparse.major" => records.sparse.major = number()?,
        b"GNU.sparse.minor" => records.sparse.minor = number()?,
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => records.sparse.size = number()?,
        b"GNU.sparse.name" => records.sparse.name = text()?,
        b"GNU.sparse.map" => {
            let numbers = value.split(|b| *b == b',').map(decimal);
            records.sparse.map = Some(match value {
                b"" => Vec::new(),
                _ => numbers.collect::<Option<_>>()?,
            });
        }
        b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
            // They come by turns; an offset stands at every even place.
            let map = records.sparse.map.get_or_insert_default();
            if map.len().is_multiple_of(2) != (key == b"GNU.sparse.offset") {
                return None;
            }
            map.push(decimal(value)?);
        }
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                let fits = name.len() <= XATTR_NAME_LIMIT
                    && value.len() <= XATTR_VALUE_LIMIT
                    && records.xattrs.len() < XATTR_COUNT_LIMIT;
                if name.is_empty() || name.contains(&0) || !fits {
                    return None;
                }
                records.xattrs.retain(|(other, _)| other != name);
                records.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with its right length.
    fn record(body: &[u8]) -> Vec<u8> {
        let rest = body.len() + 2;
        let length = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
        [(rest + length).to_string().as_bytes(), b" ", body, b"\n"].concat()
    }

    fn parse_all(bodies: &[&[u8]]) -> Result<Records, String> {
        parse(&bodies.iter().flat_map(|body| record(body)).collect::<Vec<u8>>())
    }

    #[test]
    fn records() {
        let parsed = parse_all(&[
            b"path=a/b",
            b"size=1234567",
            b"SCHILY.xattr.user.x=a",
            b"SCHILY.xattr.user.b=\0\n=",
            b"mtime=-1.5",
            b"comment=hey",
        ])
        .unwrap();
        assert_eq!(parsed.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(parsed.size, Some(1_234_567));
        assert_eq!(parsed.mtime, Some((-2, 500_000_000)));
        assert_eq!(
            parsed.xattrs,
            [(b"user.x".to_vec(), b"a".to_vec()), (b"user.b".to_vec(), b"\0\n=".to_vec())]
        );
    }

    #[test]
    fn a_later_record_counts_and_an_empty_one_takes_back() {
        let parsed = parse_all(&[b"path=a/b", b"path=", b"uid=1", b"uid=2"]).unwrap();
        assert_eq!(parsed.path, None);
        assert_eq!(parsed.uid, Some(2));
    }

    #[test]
    fn broken_framing() {
        for text in [
            &b"path=a\n"[..],
            b"99 path=a\n",
            b"9 path=a",
            b"11 path=a\n",
            b"0 path=a\n",
            b"2 \n",
            b"-9 path=a\n",
            b"99999999999999999999 path=a\n",
            b"99999999999999999999999999999 path=a\n",
        ] {
            assert!(parse(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn bad_values() {
        for body in [
            &b"path=\0"[..],
            b"linkpath=a\0b",
            b"path",
            b"=a",
            b"uid=-1",
            b"uid=0x10",
            b"size=18446744073709551616",
            b"mtime=1e5",
            b"GNU.sparse.numbytes=1",
            b"GNU.sparse.map=1,x",
            b"SCHILY.xattr.=x",
            b"SCHILY.xattr.a\0b=x",
        ] {
            assert!(parse_all(&[body]).is_err(), "{}", body.escape_ascii());
        }
    }
}
