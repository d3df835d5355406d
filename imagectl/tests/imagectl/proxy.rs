//! Proxies: CONNECT for TLS, plain requests for HTTP, and the hosts that go past them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::archive::Archive;
use super::peers::free_port;
use super::registry::Registry;
use super::sandbox::Sandbox;
use super::store::put_image;
use super::tls;

/// A proxy that leads every host to 127.0.0.1, and notes the first lines of what it is asked.
struct Proxy {
    address: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || pass(&stream, &noted));
            }
        });
        Self { address, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

fn pass(mut client: &TcpStream, noted: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let (line, rest) = head.split_once("\r\n")?;
    let secret = rest.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz");
    noted.lock().unwrap().push(format!("{line}{}", if secret { " (user:pass)" } else { "" }));
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let target = target.strip_prefix("http://").unwrap_or(target);
    let (host, path) =
        target.split_once('/').map_or((target, String::new()), |(h, p)| (h, format!("/{p}")));
    let (_, port) = host.rsplit_once(':')?;
    let server = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
    match method {
        "CONNECT" => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?,
        _ => {
            let head = format!("{method} {path} HTTP/1.1\r\n{rest}");
            (&server).write_all(head.as_bytes()).ok()?;
        }
    }
    let (mut up, mut from_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut up));
    let mut buffer = [0; 16 << 10];
    let mut server = &server;
    loop {
        match server.read(&mut buffer).ok()? {
            0 => return client.shutdown(std::net::Shutdown::Both).ok(),
            length => client.write_all(&buffer[..length]).ok()?,
        }
    }
}

fn run(sandbox: &Sandbox, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = sandbox.command();
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

#[test]
fn plain_registries_through_a_proxy_and_past_it() {
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let (_, port) = registry.address.split_once(':').unwrap();
    let proxy = Proxy::start();
    let url = format!("http://user:pass@{}", proxy.address);
    // A host that only the proxy knows.
    let reference = format!("registry.test:{port}/x:t");
    let pull = ["pull", "-q", "--tls-verify=false", &reference];
    let output = run(&Sandbox::new(), &[("HTTP_PROXY", &url), ("HTTPS_PROXY", &url)], &pull);
    let lower = run(&Sandbox::new(), &[("http_proxy", &url), ("https_proxy", &url)], &pull);
    for output in [output, lower] {
        assert!(output.status.success(), "{output:?}");
    }
    let lines = proxy.lines();
    let get = format!("GET http://registry.test:{port}/v2/x/manifests/t HTTP/1.1 (user:pass)");
    assert!(lines.contains(&get), "{lines:?}");
    // Past it.
    let reference = format!("{}/x:t", registry.address);
    for no_proxy in ["127.0.0.1", "*", "10.0.0.0/8,127.0.0.0/8"] {
        let before = proxy.lines().len();
        let variables =
            [("HTTP_PROXY", url.as_str()), ("HTTPS_PROXY", &url), ("NO_PROXY", no_proxy)];
        let pull = ["pull", "-q", "--tls-verify=false", &reference];
        let output = run(&Sandbox::new(), &variables, &pull);
        assert!(output.status.success(), "{no_proxy}: {output:?}");
        assert_eq!(proxy.lines().len(), before, "{no_proxy}");
    }
    // One that is not there is told, without its password.
    let gone = "http://user:s3cret@127.0.0.1:1";
    let output = run(&Sandbox::new(), &[("HTTP_PROXY", gone), ("HTTPS_PROXY", gone)], &pull);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && !errors.contains("s3cret"), "{errors}");
}

#[test]
fn tls_goes_through_a_tunnel() {
    let sandbox = Sandbox::new();
    tls::make_certificates(&sandbox);
    let port = free_port();
    let _hub = tls::Hub::start(&sandbox, &port);
    let tar = Archive::new().file("a", "x").tar();
    put_image(&sandbox, "docker.io/library/x:latest", &[tar], json!({ "Cmd": ["/x"] }));
    let proxy = Proxy::start();
    let url = format!("http://{}", proxy.address);
    let target = format!("127.0.0.1:{port}/x:1");
    for arguments in [&["push", "-q", "x", &target][..], &["pull", "-q", &target]] {
        let arguments = [arguments, &["--cert-dir", "certs"]].concat();
        let output = run(&sandbox, &[("HTTPS_PROXY", &url)], &arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let lines = proxy.lines();
    assert!(
        lines.iter().all(|line| *line == format!("CONNECT 127.0.0.1:{port} HTTP/1.1")),
        "{lines:?}"
    );
    assert!(lines.len() >= 2);
}
