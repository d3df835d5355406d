//! Reading ahead: what makes a layer's bytes (network, hash, blob file, decompression) in a thread of
//! its own, while what takes them (hash, files) works in the caller's. So one large layer keeps two
//! processors busy.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Bytes a piece: large enough to make hand-overs rare, small enough for the second-level cache.
const PIECE: usize = 256 << 10;
/// Pieces of one layer, full and empty ones: 1 MiB, and all that is ever held of it.
const PIECES: usize = 4;

/// The reading end.
pub struct Ahead {
    full: Receiver<io::Result<Filled>>,
    empty: Sender<Vec<u8>>,
    current: Filled,
    taken: usize,
}

/// A piece and how much of it counts.
#[derive(Default)]
struct Filled {
    bytes: Vec<u8>,
    length: usize,
}

/// Runs `work` on what another thread reads from `source`. Once `work` lets go of its end, the thread
/// stops at the piece that it is at.
pub fn ahead<R: Read + Send, T>(source: R, work: impl FnOnce(Ahead) -> T) -> T {
    std::thread::scope(|scope| {
        let (filled, full) = sync_channel(PIECES);
        let (empty, emptied) = channel();
        for _ in 0..PIECES {
            // The other end is right here.
            let _ = empty.send(Vec::new());
        }
        scope.spawn(move || fill(source, &filled, &emptied));
        work(Ahead { full, empty, current: Filled::default(), taken: 0 })
    })
}

/// Fills pieces until the source ends or nobody takes them.
fn fill(
    mut source: impl Read,
    filled: &SyncSender<io::Result<Filled>>,
    emptied: &Receiver<Vec<u8>>,
) {
    while let Ok(mut bytes) = emptied.recv() {
        bytes.resize(PIECE, 0);
        let mut length = 0;
        let end = loop {
            match source.read(&mut bytes[length..]) {
                Ok(0) => break None,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(Err(error)),
            }
            if length == PIECE {
                break Some(Ok(()));
            }
        };
        if length > 0 && filled.send(Ok(Filled { bytes, length })).is_err() {
            return;
        }
        match end {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                // Who doesn't listen has an error of its own.
                let _ = filled.send(Err(error));
                return;
            }
            None => return,
        }
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.current.length {
            let next = match self.full.recv() {
                Ok(next) => next?,
                Err(_) => Filled::default(),
            };
            let done = std::mem::replace(&mut self.current, next);
            self.taken = 0;
            // At the end nobody fills it any more.
            let _ = self.empty.send(done.bytes);
        }
        Ok(&self.current.bytes[self.taken..self.current.length])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.current.length.min(self.taken + amount);
    }
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes a few at a time, then an error or the end.
    struct Slow(Vec<u8>, Option<io::Error>);

    impl Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return self.1.take().map_or(Ok(0), Err);
            }
            let length = self.0.len().min(out.len()).min(70_000);
            out[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            Ok(length)
        }
    }

    #[test]
    fn every_byte_in_order_and_the_error_behind_them() {
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[1]).collect();
        let read = |error: Option<io::Error>| {
            ahead(Slow(bytes.clone(), error), |mut ahead| {
                let mut read = Vec::new();
                (ahead.read_to_end(&mut read).map_err(|error| error.to_string()), read)
            })
        };
        assert_eq!(read(None), (Ok(bytes.len()), bytes.clone()));
        let (result, read) = read(Some(io::Error::other("broken")));
        assert_eq!((result, read == bytes), (Err("broken".to_owned()), true));
    }

    #[test]
    fn who_stops_reading_is_not_waited_for() {
        let first = ahead(io::repeat(7), |mut ahead| {
            let mut one = [0];
            ahead.read_exact(&mut one).map(|()| one)
        });
        assert_eq!(first.unwrap(), [7]);
    }
}
