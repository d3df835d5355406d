//! Blobs: streamed to another thread in pieces, large ones from several connections, resumed where one
//! breaks off.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Registry;
use super::transport::{Request, shown};
use crate::error::{Error, Result};
use crate::image::Descriptor;

/// Pieces that wait between network and disk. A piece is as large as one read of a socket, at
/// most some 400 KiB, so this bounds a layer's memory.
const PIECES: usize = 4;

/// A blob of which more than this is missing comes in ranges side by side.
const LARGE: u64 = 16 << 20;
/// The size of a range. Each slot has one in memory while it waits for its turn.
const RANGE: u64 = 4 << 20;
/// Pieces of a range; many, so that it comes while it waits.
const RANGE_PIECES: usize = 4096;

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

/// Bytes of a blob, from one to before another; without that, to the end.
#[derive(Clone, Copy)]
struct Part {
    from: u64,
    to: Option<u64>,
}

/// A part that is fetched before its turn.
struct Ahead {
    to: u64,
    pieces: mpsc::Receiver<Bytes>,
    /// The connection is free for others when the part is passed on: until then it is in memory.
    _slot: Option<OwnedSemaphorePermit>,
}

/// How a part ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// With its last byte.
    Whole,
    /// With the blob's last byte: the registry has no ranges.
    Beyond,
    /// There is nobody to take more.
    Unwanted,
}

impl Registry {
    /// Streams a blob from its byte `from` on into `sender`, telling `progress` how many bytes came. A
    /// large one comes in ranges, on as many connections as there are slots nobody uses, if the registry
    /// has ranges. Ends early, and without an error, if the reader is gone. Size and digest are the
    /// reader's to check.
    ///
    /// # Errors
    /// Those of sending, after the last retry.
    pub async fn blob(
        self: &Arc<Self>,
        descriptor: &Descriptor,
        from: u64,
        slots: &Arc<Semaphore>,
        sender: PieceSender,
        progress: impl Fn(u64),
    ) -> Result<()> {
        let mut at = from;
        if descriptor.size.saturating_sub(from) > LARGE {
            match self.in_ranges(descriptor, &mut at, slots, &sender, &progress).await {
                Ok(Ended::Whole) => {}
                Ok(Ended::Beyond | Ended::Unwanted) => return Ok(()),
                // What still comes in one piece is worth that.
                Err(Error::Protocol { .. }) => {}
                Err(_) if at > from => {}
                Err(error) => return Err(error),
            }
            if at == descriptor.size {
                return Ok(());
            }
        }
        self.part(descriptor, Part { from: at, to: None }, &sender, &progress).await.map(drop)
    }

    /// Fetches ranges side by side and passes them on one after the other. `at` is how far that came, and
    /// less than all without an error if a range was not what it should be.
    async fn in_ranges(
        self: &Arc<Self>,
        descriptor: &Descriptor,
        at: &mut u64,
        slots: &Arc<Semaphore>,
        sender: &PieceSender,
        progress: &impl Fn(u64),
    ) -> Result<Ended> {
        let first = Part { from: *at, to: Some(*at + RANGE) };
        let ended = self.part(descriptor, first, sender, |bytes| {
            *at += bytes;
            progress(bytes);
        });
        let ended = ended.await?;
        if ended != Ended::Whole {
            return Ok(ended);
        }
        let mut fetching = JoinSet::new();
        let mut ahead: VecDeque<Ahead> = VecDeque::new();
        let mut next = *at;
        loop {
            while next < descriptor.size {
                // The first in the row has the blob's own slot.
                let slot = match ahead.is_empty() {
                    true => None,
                    false => match Arc::clone(slots).try_acquire_owned() {
                        Ok(slot) => Some(slot),
                        Err(_) => break,
                    },
                };
                let to = (next + RANGE).min(descriptor.size);
                let (pieces_in, pieces) = mpsc::channel(RANGE_PIECES);
                let (registry, blob) = (Arc::clone(self), descriptor.clone());
                let part = Part { from: next, to: Some(to) };
                fetching.spawn(async move {
                    // What is missing at the end tells.
                    let _ = registry.part(&blob, part, &pieces_in, |_| {}).await;
                });
                ahead.push_back(Ahead { to, pieces, _slot: slot });
                next = to;
            }
            let Some(mut front) = ahead.pop_front() else { return Ok(Ended::Whole) };
            while let Some(piece) = front.pieces.recv().await {
                let length = piece.len() as u64;
                *at += length;
                progress(length);
                if sender.send(piece).await.is_err() {
                    return Ok(Ended::Unwanted);
                }
            }
            if *at != front.to {
                return Ok(Ended::Whole);
            }
        }
    }

    /// Streams a part, and begins anew where a connection breaks off.
    async fn part(
        &self,
        descriptor: &Descriptor,
        Part { from, mut to }: Part,
        sender: &PieceSender,
        mut progress: impl FnMut(u64),
    ) -> Result<Ended> {
        let path = self.path("blobs", &descriptor.digest.to_string());
        let (mut received, mut ended) = (from, Ended::Whole);
        let mut attempt = 0;
        loop {
            let range = Request { from: received, to, ..Request::get("get the layer", &path) };
            let mut response = self.transport.send(&range).await?;
            let url = shown(response.url());
            let mut skip = to_skip(&response, received, to)?;
            if to.is_some() && response.status() != StatusCode::PARTIAL_CONTENT {
                // Who asks for a part in the middle wants no other.
                if from > 0 {
                    return Err(Error::Protocol { url, reason: "has no ranges".into() });
                }
                (to, ended) = (None, Ended::Beyond);
            }
            let error = loop {
                match response.chunk().await {
                    Ok(None) => return Ok(ended),
                    Ok(Some(chunk)) => {
                        let length = chunk.len() as u64;
                        let old = skip.min(length);
                        skip -= old;
                        if old == length {
                            continue;
                        }
                        // The skipped part is never longer than the chunk.
                        let mut new = chunk.slice(usize::try_from(old).unwrap_or(chunk.len())..);
                        if let Some(to) = to {
                            new.truncate(usize::try_from(to - received).unwrap_or(usize::MAX));
                        }
                        received += new.len() as u64;
                        progress(new.len() as u64);
                        attempt = 0;
                        if sender.send(new).await.is_err() {
                            return Ok(Ended::Unwanted);
                        }
                    }
                    Err(source) => {
                        let source = source.without_url();
                        break Error::Http { action: "get the layer", url, source };
                    }
                }
            };
            if attempt >= self.transport.retries() || received >= to.unwrap_or(descriptor.size) {
                return Err(error);
            }
            tokio::time::sleep(self.transport.pause(&error, attempt)).await;
            attempt += 1;
        }
    }
}

/// How many bytes of the answer are known already: none if the registry resumes where it was asked
/// to, all received so far if it begins anew.
fn to_skip(response: &Response, received: u64, to: Option<u64>) -> Result<u64> {
    let asked = received > 0 || to.is_some();
    if !asked || response.status() != StatusCode::PARTIAL_CONTENT {
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
