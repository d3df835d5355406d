//! The store as a registry, to be pulled from: manifests, blobs with ranges, tags. Nothing is written.

mod http;
mod route;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::store::Store;

/// How many connections are served at once; more are told to come again.
const CONNECTIONS: usize = 256;
/// How long a client may give or take no byte.
const STALL: Duration = Duration::from_secs(60);

/// Serves the store at the address until the process ends; `ready` is told where.
///
/// # Errors
/// [`Error::Step`] if the address can't be listened at, or `ready`'s.
pub fn serve(
    store: &Store,
    address: &str,
    ready: impl FnOnce(std::net::SocketAddr) -> Result<()>,
) -> Result<()> {
    let listener = TcpListener::bind(address).map_err(Error::io("listen at", address))?;
    ready(listener.local_addr().map_err(Error::io("listen at", address))?)?;
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        // A client that was gone before it was heard, or no descriptor left for the moment.
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let (store, open) = (store.clone(), Arc::clone(&open));
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            let answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            // It asks again or it doesn't.
            let _ = (&stream).write_all(answer);
            continue;
        }
        let counted = Arc::clone(&open);
        let thread = std::thread::Builder::new().spawn(move || {
            // A connection that breaks concerns nobody but the client.
            let _ = connection(&store, &stream);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if thread.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Answers the requests of one connection, one after the other.
fn connection(store: &Store, stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_nodelay(true)?;
    let mut reader = std::io::BufReader::new(stream);
    while let Some(request) = http::read(&mut reader)? {
        let last = request.last;
        let answer = route::answer(store, &request);
        http::write(stream, &request, answer)?;
        if last {
            break;
        }
    }
    Ok(())
}
