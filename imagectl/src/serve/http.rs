//! As much of HTTP/1.1 as a registry to pull from needs.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;

/// The longest request head, in bytes.
const HEAD_LIMIT: u64 = 16 << 10;

/// A request's head. There is no body in what is understood here.
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// As in `bytes=0-9`, without `bytes=`.
    pub range: Option<String>,
    /// The connection ends behind the answer.
    pub last: bool,
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
    let mut request = Request {
        method: method.to_owned(),
        path: target.split('?').next().unwrap_or("").to_owned(),
        range: None,
        last: version != "HTTP/1.1",
    };
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
            // Nothing that is served takes a body: what follows is not read.
            "content-length" => request.last |= value != "0",
            "transfer-encoding" => request.last = true,
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
    let mut head = format!("HTTP/1.1 {status} {}\r\nContent-Length: {length}\r\n", word(status));
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
        206 => "Partial Content",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
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
    use super::range;

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
