//! The streams of a process as a CRI server has them: channels of a WebSocket, with Kubernetes'
//! protocol v4.channel.k8s.io. Each message begins with the number of its channel.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::case::Failure;
use crate::{ensure, ensure_eq};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;

/// The frame's opcodes of WebSocket that matter here.
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// An open WebSocket.
pub struct Channels {
    stream: BufReader<TcpStream>,
    seen: [String; 4],
}

/// What is left to say when the process has ended.
#[derive(Debug)]
pub struct End {
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// The exit code.
    pub code: i32,
}

impl Channels {
    /// Open what the server gave as the URL of a stream.
    pub fn open(url: &str, limit: Duration) -> Result<Self, Failure> {
        let (address, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| Failure(format!("{url:?} is no URL of a stream")))?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(limit))?;
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 101 "), "{url}: {line}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
        }
        Ok(Self { stream, seen: Default::default() })
    }

    /// Write to stdin.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.send(STDIN, text)
    }

    /// Set the terminal's size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<(), Failure> {
        self.send(RESIZE, &format!(r#"{{"Width":{columns},"Height":{rows}}}"#))
    }

    fn send(&mut self, channel: u8, text: &str) -> Result<(), Failure> {
        let size = u8::try_from(text.len() + 1).ok().filter(|size| *size < 126);
        let size = size.ok_or_else(|| Failure(format!("too long for one frame: {text}")))?;
        // Final, masked, and the mask is 0.
        let mut frame = vec![0x80 | BINARY, 0x80 | size, 0, 0, 0, 0, channel];
        frame.extend(text.as_bytes());
        Ok(self.stream.get_mut().write_all(&frame)?)
    }

    /// Read until stdout has `text`.
    pub fn expect(&mut self, text: &str) -> Result<(), Failure> {
        while !self.seen[usize::from(STDOUT)].contains(text) {
            let more = self.receive()?;
            ensure!(more, "it ended before it said {text:?}: {:?}", self.seen);
        }
        Ok(())
    }

    /// Read to the end.
    pub fn end(mut self) -> Result<End, Failure> {
        while self.receive()? {}
        let [_, stdout, stderr, status] = self.seen;
        let status: Value = serde_json::from_slice(status.as_bytes())
            .map_err(|error| Failure(format!("the status {status:?}: {error}")))?;
        let code = if status["status"] == "Success" {
            0
        } else {
            let cause = &status["details"]["causes"][0];
            ensure_eq!(cause["reason"], "ExitCode", "{status}");
            cause["message"].as_str().unwrap_or_default().parse()?
        };
        Ok(End { stdout, stderr, code })
    }

    /// Read one message; false at the end.
    fn receive(&mut self) -> Result<bool, Failure> {
        let [kind, size] = self.take()?;
        let size = match size {
            126 => usize::from(u16::from_be_bytes(self.take()?)),
            127 => usize::try_from(u64::from_be_bytes(self.take()?))?,
            size => usize::from(size),
        };
        let mut data = vec![0; size];
        self.stream.read_exact(&mut data)?;
        if kind & 0xf == CLOSE {
            return Ok(false);
        }
        if let Some((channel, text)) = data.split_first() {
            ensure!([STDOUT, STDERR, STATUS].contains(channel), "channel {channel}: {text:?}");
            self.seen[usize::from(*channel)].push_str(&String::from_utf8_lossy(text));
        }
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
