//! One unary gRPC call over a Unix socket, for what containerd's own client has no command. Debian 12
//! has no CRI client, and its gRPC for python is not in the VM.

use std::future::poll_fn;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::UnixStream;

use super::protobuf::{self, Message};
use crate::case::Failure;

/// What the server says: the answer, or the text of its refusal.
pub type Reply = Result<Message, String>;

/// Call `/SERVICE/METHOD` with a message, in the form of [`protobuf::encode`].
pub fn call(
    socket: &Path,
    method: &str,
    message: &Value,
    headers: &[(&str, &str)],
    limit: Duration,
) -> Result<Reply, Failure> {
    let mut uri = http::Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        uri = uri.header(*name, *value);
    }
    let (request, body) = (uri.body(())?, frame(&protobuf::encode(message)?)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exchange = async {
        match tokio::time::timeout(limit, exchange(socket, request, body)).await {
            Ok(reply) => reply,
            Err(_) => Err(Failure(format!("{method} took longer than {limit:?}"))),
        }
    };
    runtime.block_on(exchange)
}

/// A message as gRPC sends it: not compressed, its length, its bytes.
fn frame(message: &[u8]) -> Result<Bytes, Failure> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    Ok(frame.into())
}

async fn exchange(
    socket: &Path,
    request: http::Request<()>,
    body: Bytes,
) -> Result<Reply, Failure> {
    let stream = UnixStream::connect(socket).await?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await?;
    let (response, mut sender) = client.send_request(request, false)?;
    sender.send_data(body, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut data = Vec::new();
    while let Some(part) = poll_fn(|context| body.poll_data(context)).await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        data.extend(part);
    }
    // A refusal without an answer has its trailers in the head.
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    driver.abort();
    let text = |name: &str| {
        let value = trailers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    match text("grpc-status").as_str() {
        "0" => Ok(Ok(Message::decode(data.get(5..).unwrap_or_default())?)),
        _ => Ok(Err(text("grpc-message"))),
    }
}
