//! A registry in the test's own process: HTTP on loopback, plain or with TLS, answers as the test wants them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use imagectl::digest::Digest;
use serde_json::{Value, json};

use super::sandbox::Sandbox;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// When it was there.
    pub at: Instant,
}

/// What it is told.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 0 for an answer that gets lost.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Leave the connection open behind that.
    pub stay: bool,
    /// Send the body again and again, in chunks, without a word of its length; up to so many bytes.
    pub endless: Option<usize>,
}

impl Answer {
    pub fn ok(content_type: &str, body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), ..Self::default() }
            .with("Content-Type", content_type)
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Decides before the stored documents do; `None` leaves it to them.
type Rule = Box<dyn Fn(&Request) -> Option<Answer> + Send>;

#[derive(Default)]
struct State {
    documents: HashMap<String, (String, Vec<u8>)>,
    requests: Vec<Request>,
    rule: Option<Rule>,
}

/// A running registry. Its thread ends with the test process.
#[derive(Clone)]
pub struct Registry {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Registry {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    pub fn start_at(address: &str) -> Self {
        Self::listen(address, |registry, stream| {
            let _ = registry.serve(&stream);
        })
    }

    /// With TLS, by the certificate that [`super::tls::make_certificates`] made for the server.
    pub fn start_tls(sandbox: &Sandbox) -> Self {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        // A second call finds the provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = CertificateDer::from_pem_file(sandbox.path.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(sandbox.path.join("server.key")).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::listen("127.0.0.1:0", move |registry, stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // A client that goes away is no failure.
            let _ = registry.serve(&mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    fn listen(address: &str, serve: impl Fn(&Self, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let registry = Self { address, state };
        let (serving, serve) = (registry.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, serve) = (serving.clone(), Arc::clone(&serve));
                // A client that tries HTTPS first, or goes away, is no failure.
                std::thread::spawn(move || serve(&serving, stream));
            }
        });
        registry
    }

    pub fn rule(&self, rule: impl Fn(&Request) -> Option<Answer> + Send + 'static) {
        self.state.lock().unwrap().rule = Some(Box::new(rule));
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn put(&self, path: &str, content_type: &str, body: &[u8]) {
        let document = (content_type.to_owned(), body.to_vec());
        self.state.lock().unwrap().documents.insert(path.to_owned(), document);
    }

    /// Puts a blob and gives its descriptor.
    pub fn blob(&self, repository: &str, media_type: &str, body: &[u8]) -> Value {
        let digest = Digest::of(body).to_string();
        self.put(&format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", body);
        json!({ "mediaType": media_type, "digest": digest, "size": body.len() })
    }

    /// Puts a manifest or index under its digest and a tag, and gives its descriptor.
    pub fn manifest(&self, repository: &str, tag: &str, media_type: &str, body: &Value) -> Value {
        let bytes = body.to_string().into_bytes();
        let digest = Digest::of(&bytes).to_string();
        for version in [tag, &digest] {
            self.put(&format!("/v2/{repository}/manifests/{version}"), media_type, &bytes);
        }
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Puts a whole image of gzip layers, given as tars, and gives its manifest's descriptor.
    pub fn image(&self, repository: &str, tag: &str, tars: &[Vec<u8>], run: Value) -> Value {
        let layer = |tar: &Vec<u8>| (LAYER, super::archive::gzip(tar), Digest::of(tar));
        self.image_of(repository, tag, &tars.iter().map(layer).collect::<Vec<_>>(), run)
    }

    /// The same with layers of any compression: media type, blob and diff ID.
    pub fn image_of(
        &self,
        repository: &str,
        tag: &str,
        layers: &[(&str, Vec<u8>, Digest)],
        run: Value,
    ) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(.., diff_id)| *diff_id).collect();
        let layers: Vec<_> = layers
            .iter()
            .map(|(media_type, blob, _)| self.blob(repository, media_type, blob))
            .collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = self.blob(repository, CONFIG, config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.manifest(repository, tag, MANIFEST, &manifest)
    }

    fn serve(&self, mut stream: impl Read + Write) -> Option<()> {
        let request = read(&mut stream)?;
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            let ruled = state.rule.as_ref().and_then(|rule| rule(&request));
            ruled.unwrap_or_else(|| match state.documents.get(&request.path) {
                Some((content_type, body)) => Answer::ok(content_type, body),
                None => {
                    Answer::ok("application/json", br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)
                        .with_status(404)
                }
            })
        };
        write(stream, &answer).ok()
    }
}

impl Answer {
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
            None => break,
        }
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body, at: Instant::now() })
}

fn write(mut stream: impl Read + Write, answer: &Answer) -> std::io::Result<()> {
    if answer.status == 0 {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    let named = |name: &str| answer.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if answer.endless.is_some() {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !named("content-length") {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if let Some(limit) = answer.endless {
        for _ in 0..limit / answer.body.len() {
            write!(stream, "{:x}\r\n", answer.body.len())?;
            stream.write_all(&answer.body)?;
            stream.write_all(b"\r\n")?;
        }
        return stream.write_all(b"0\r\n\r\n");
    }
    stream.write_all(&answer.body[..answer.cut.unwrap_or(answer.body.len())])?;
    if answer.stay {
        // Until the client has enough of it.
        let _ = stream.read(&mut [0])?;
    }
    Ok(())
}
