//! As much of HTTP/1.1 as a registry needs.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;

use super::body::Framing;

/// The longest request head, in bytes.
const HEAD_LIMIT: u64 = 16 << 10;

/// A request's head.
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    query: String,
    /// As in `bytes=0-9`, without `bytes=`.
    pub range: Option<String>,
    /// The first byte of `Content-Range`.
    pub begins_at: Option<u64>,
    /// Empty if there is none.
    pub content_type: String,
    pub framing: Framing,
    /// The client waits for a word before it sends the body.
    pub waits: bool,
    /// The connection ends behind the answer.
    pub last: bool,
}

impl Request {
    /// A parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value))
    }
}

/// Takes %XX and + for what they mean; what is neither stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high)
                    .zip(digit(low))
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is sent back.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

/// What is sent behind the head, to all but HEAD.
pub enum Body {
    Bytes(Vec<u8>),
    /// A file of so many bytes, in part if a range is asked for.
    File(File, u64),
}

/// Reads a request; `None` where the client has no more.
pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.take(HEAD_LIMIT);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let bad = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(bad("no request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        range: None,
        begins_at: None,
        content_type: String::new(),
        framing: Framing::Length(0),
        waits: false,
        last: version != "HTTP/1.1",
    };
    let mut framed = false;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(bad("the head has no end"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = line.split_once(':') else { return Err(bad("no header")) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = value.strip_prefix("bytes=").map(str::to_owned),
            "connection" => request.last |= value.eq_ignore_ascii_case("close"),
            // Who says both, or one twice, wants two readers to disagree.
            "content-length" | "transfer-encoding" if framed => return Err(bad("framed twice")),
            "content-length" => {
                let length = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse());
                let length = length.and_then(Result::ok).ok_or_else(|| bad("no length"))?;
                (request.framing, framed) = (Framing::Length(length), true);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                (request.framing, framed) = (Framing::Chunks, true);
            }
            "transfer-encoding" => return Err(bad("an encoding that nobody uses")),
            "content-type" => request.content_type = value.to_owned(),
            "content-range" => {
                let range = value.strip_prefix("bytes ").unwrap_or(value);
                request.begins_at = range.split('-').next().and_then(|first| first.parse().ok());
            }
            "expect" => request.waits = value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
    }
}

/// Sends the answer.
pub fn write(mut stream: &TcpStream, request: &Request, answer: Answer) -> io::Result<()> {
    let Answer { mut status, mut headers, body } = answer;
    let size = match &body {
        Body::Bytes(bytes) => bytes.len() as u64,
        Body::File(_, size) => *size,
    };
    let (mut from, mut length) = (0, size);
    if let (Body::File(..), Some(text)) = (&body, &request.range) {
        match range(text, size) {
            Some((first, last)) => {
                (status, from, length) = (206, first, last - first + 1);
                headers.push(("Content-Range", format!("bytes {first}-{last}/{size}")));
            }
            None => {
                (status, length) = (416, 0);
                headers.push(("Content-Range", format!("bytes */{size}")));
            }
        }
    }
    let mut head = format!("HTTP/1.1 {status} {}\r\n", word(status));
    // Nobody expects a length where there is never a body.
    if status != 204 {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if request.last {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" || length == 0 {
        return Ok(());
    }
    match body {
        Body::Bytes(bytes) => stream.write_all(&bytes),
        Body::File(mut file, _) => {
            file.seek(SeekFrom::Start(from))?;
            let sent = io::copy(&mut file.take(length), &mut stream)?;
            // The promised length can't be taken back.
            if sent == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
    }
}

fn word(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        _ => "Internal Server Error",
    }
}

/// The first and last byte of one range; `None` if there is no such part of `size` bytes.
fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    let end = size.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", count) => (size.saturating_sub(count.parse::<u64>().ok()?), end),
        (first, "") => (first.parse().ok()?, end),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.min(end)),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::{decode, range};

    #[test]
    fn parameters() {
        for (text, expected) in [
            ("sha256%3Aab", "sha256:ab"),
            ("a+b%2B", "a b+"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges() {
        for (text, size, expected) in [
            ("0-0", 10, Some((0, 0))),
            ("3-", 10, Some((3, 9))),
            ("3-100", 10, Some((3, 9))),
            ("-4", 10, Some((6, 9))),
            ("-40", 10, Some((0, 9))),
            ("10-", 10, None),
            ("5-4", 10, None),
            ("-0", 10, None),
            ("0-", 0, None),
            ("a-b", 10, None),
            ("0-1,3-4", 10, None),
        ] {
            assert_eq!(range(text, size), expected, "{text} of {size}");
        }
    }
}
