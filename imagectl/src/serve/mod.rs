//! The store as a registry: manifests, blobs with ranges and tags to be pulled, and, where that is wanted,
//! images to be pushed. What is pushed as `x:1` becomes the image `localhost/x:1`.

mod body;
mod http;
mod receive;
mod referrers;
mod route;
mod uploads;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use body::Incoming;
use uploads::Uploads;

use crate::error::{Error, Result};
use crate::store::Store;

/// How many connections are served at once; more are told to come again.
const CONNECTIONS: usize = 256;
/// How long a client may give or take no byte.
const STALL: Duration = Duration::from_secs(60);

/// How often uploads are looked at that nobody goes on with.
const TIDY: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants is read, so that the client hears the answer; in bytes.
const UNWANTED: u64 = 1 << 20;

/// Serves the store at the address until the process ends; `ready` is told where. Images may be pushed if
/// it is `writable`.
///
/// # Errors
/// [`Error::Step`] if the address can't be listened at, or `ready`'s.
pub fn serve(
    store: &Store,
    address: &str,
    writable: bool,
    ready: impl FnOnce(std::net::SocketAddr) -> Result<()>,
) -> Result<()> {
    let listener = TcpListener::bind(address).map_err(Error::io("listen at", address))?;
    ready(listener.local_addr().map_err(Error::io("listen at", address))?)?;
    let open = Arc::new(AtomicUsize::new(0));
    let uploads = match writable {
        true => Some(Arc::new(Uploads::new(store)?)),
        false => None,
    };
    if let Some(uploads) = uploads.clone() {
        let tidy = move || {
            loop {
                std::thread::sleep(TIDY);
                uploads.tidy();
            }
        };
        std::thread::Builder::new().spawn(tidy).map_err(Error::step("start a thread"))?;
    }
    for stream in listener.incoming() {
        // A client that was gone before it was heard, or no descriptor left for the moment.
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let (store, uploads, open) = (store.clone(), uploads.clone(), Arc::clone(&open));
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
            let _ = connection(&store, uploads.as_deref(), &stream);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if thread.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Answers the requests of one connection, one after the other.
fn connection(
    store: &Store,
    uploads: Option<&Uploads>,
    mut stream: &TcpStream,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_nodelay(true)?;
    let mut reader = std::io::BufReader::new(stream);
    while let Some(mut request) = http::read(&mut reader)? {
        if request.waits && uploads.is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Incoming::new(&mut reader, request.framing);
        let answer = route::answer(store, uploads, &request, &mut body);
        // A client that still sends doesn't hear; one that was told nothing doesn't send.
        if !request.waits || uploads.is_some() {
            let drained = std::io::copy(&mut (&mut body).take(UNWANTED), &mut std::io::sink());
            request.last |= drained.is_err();
        }
        request.last |= !body.is_done();
        http::write(stream, &request, answer)?;
        if request.last {
            break;
        }
    }
    Ok(())
}
