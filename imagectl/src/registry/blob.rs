//! Blobs: streamed to another thread in pieces, resumed where a connection breaks off.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;

use super::Registry;
use super::transport::{Request, shown};
use crate::error::{Error, Result};
use crate::image::Descriptor;

/// Pieces that wait between network and disk. A piece is as large as one read of a socket, at
/// most some 100 KiB, so this bounds a layer's memory.
const PIECES: usize = 16;

/// The reading end of a blob's stream.
pub struct Pieces {
    channel: mpsc::Receiver<Bytes>,
    current: Bytes,
    taken: usize,
}

/// The writing end.
pub type PieceSender = mpsc::Sender<Bytes>;

/// A stream between the network's task and a blocking thread.
#[must_use]
pub fn pieces() -> (PieceSender, Pieces) {
    let (sender, channel) = mpsc::channel(PIECES);
    (sender, Pieces { channel, current: Bytes::new(), taken: 0 })
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.taken == self.current.len() {
            match self.channel.blocking_recv() {
                Some(piece) => (self.current, self.taken) = (piece, 0),
                None => return Ok(&[]),
            }
        }
        Ok(&self.current[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount;
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

impl Registry {
    /// Streams a blob from its byte `from` on into `sender`, telling `progress` how many bytes came. Ends early, and without an
    /// error, if the reader is gone. Size and digest are the reader's to check.
    ///
    /// # Errors
    /// Those of sending, after the last retry.
    pub async fn blob(
        &self,
        descriptor: &Descriptor,
        from: u64,
        sender: PieceSender,
        progress: impl Fn(u64),
    ) -> Result<()> {
        let path = self.path("blobs", &descriptor.digest.to_string());
        let mut received = from;
        let mut attempt = 0;
        loop {
            let request = Request { from: received, ..Request::get("get the layer", &path) };
            let mut response = self.transport.send(&request).await?;
            let url = shown(response.url());
            let mut skip = to_skip(&response, received)?;
            let error = loop {
                match response.chunk().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(chunk)) => {
                        let length = chunk.len() as u64;
                        let old = skip.min(length);
                        skip -= old;
                        if old == length {
                            continue;
                        }
                        // The skipped part is never longer than the chunk.
                        let new = chunk.slice(usize::try_from(old).unwrap_or(chunk.len())..);
                        received += new.len() as u64;
                        progress(new.len() as u64);
                        attempt = 0;
                        if sender.send(new).await.is_err() {
                            return Ok(());
                        }
                    }
                    Err(source) => break source.without_url(),
                }
            };
            if attempt >= self.transport.retries() || received >= descriptor.size {
                return Err(Error::Http { action: "get the layer", url, source: error });
            }
            tokio::time::sleep(self.transport.pause(attempt)).await;
            attempt += 1;
        }
    }
}

/// How many bytes of the answer are known already: none if the registry resumes where it was asked
/// to, all received so far if it begins anew.
fn to_skip(response: &Response, received: u64) -> Result<u64> {
    if received == 0 || response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(received);
    }
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range
        .and_then(|range| range.strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'))
        .and_then(|(start, _)| start.trim().parse::<u64>().ok());
    match start {
        Some(start) if start == received => Ok(0),
        _ => Err(Error::Protocol {
            url: shown(response.url()),
            reason: "resumes at another byte than was asked for".into(),
        }),
    }
}
