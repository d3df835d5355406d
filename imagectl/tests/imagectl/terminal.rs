//! What is asked and shown at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, Registry};
use super::sandbox::Sandbox;
use super::transfer::noise;

/// The near end of a terminal, and what was shown on it.
struct Terminal {
    near: File,
    far: OwnedFd,
    shown: String,
}

impl Terminal {
    fn open() -> Self {
        let size = nix::pty::Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(Some(&size), None).unwrap();
        rustix::io::ioctl_fionbio(&pair.master, true).unwrap();
        Self { near: pair.master.into(), far: pair.slave, shown: String::new() }
    }

    fn far(&self) -> Stdio {
        self.far.try_clone().unwrap().into()
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = self.near.read(&mut buffer) {
            self.shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.read();
            if self.shown.contains(words) {
                return;
            }
            assert!(Instant::now() < deadline, "{words:?} doesn't come: {:?}", self.shown);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self, mut child: Child) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.read();
            if let Some(status) = child.try_wait().unwrap() {
                self.read();
                return status.success();
            }
            assert!(Instant::now() < deadline, "{:?}", self.shown);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn login_asks_for_a_name_and_a_password_that_is_not_shown() {
    let registry = Registry::start();
    // user:pass-word
    let basic = "Basic dXNlcjpwYXNzLXdvcmQ=";
    registry.rule(move |request| {
        let known = request.headers.get("authorization").is_some_and(|value| value == basic);
        Some(match known {
            true => Answer::ok("application/json", b"{}"),
            false => Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        })
    });
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::open();
    let child = sandbox
        .command()
        .args(["login", "--tls-verify=false", &registry.address])
        .stdin(terminal.far())
        .stdout(Stdio::null())
        .stderr(terminal.far())
        .spawn()
        .unwrap();
    terminal.wait_for("User name: ");
    terminal.near.write_all(b"user\n").unwrap();
    terminal.wait_for("Password: ");
    terminal.near.write_all(b"pass-word\n").unwrap();
    assert!(terminal.end(child), "{:?}", terminal.shown);
    assert!(terminal.shown.contains("user\r\n") && !terminal.shown.contains("pass-word"));
    assert!(sandbox.path.join("run/containers/auth.json").exists());
    // The terminal shows what is typed again.
    terminal.near.write_all(b"visible\n").unwrap();
    terminal.wait_for("visible");

    terminal.shown.clear();
    let child = sandbox
        .command()
        .args(["login", "--tls-verify=false", "-u", "user", &registry.address])
        .stdin(terminal.far())
        .stdout(Stdio::null())
        .stderr(terminal.far())
        .spawn()
        .unwrap();
    // What was typed before the question is no answer to it.
    terminal.wait_for("Password: ");
    terminal.near.write_all(b"\n").unwrap();
    assert!(!terminal.end(child), "{:?}", terminal.shown);
}

#[test]
fn bars_on_a_terminal() {
    let registry = Registry::start();
    let tars = [Archive::new().file("a", &noise()).tar(), Archive::new().file("b", "x").tar()];
    registry.image("x", "t", &tars, json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::open();
    let mut start = |quiet: bool| {
        let mut command = sandbox.command();
        command.args(["pull", "--tls-verify=false", &reference]);
        if quiet {
            command.arg("--quiet");
        }
        command.env("TERM", "xterm").stdout(Stdio::null()).stderr(terminal.far());
        let child = command.spawn().unwrap();
        let ended = terminal.end(child);
        (ended, std::mem::take(&mut terminal.shown))
    };
    let (ended, shown) = start(false);
    assert!(ended, "{shown:?}");
    // Both layers with their bytes of all bytes, their rate, and how they ended.
    assert!(
        shown.contains('\u{1b}') && shown.contains("KiB/") && shown.contains("B/s"),
        "{shown:?}"
    );
    assert!(shown.matches(" pulled").count() >= 2 && shown.contains("[="), "{shown:?}");
    assert!(!shown.contains("layer "), "no plain lines: {shown:?}");
    sandbox.ok(&["rm", &reference]);
    let (ended, shown) = start(true);
    assert!(ended && shown.is_empty(), "{shown:?}");
}

#[test]
fn a_short_name_is_chosen_and_remembered() {
    let (first, second) = (Registry::start(), Registry::start());
    second.image("some/x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let sandbox = Sandbox::new();
    let insecure = |registry: &Registry| {
        format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address)
    };
    let (one, two) = (&first.address, &second.address);
    let conf = format!(
        "unqualified-search-registries = [\"{one}\", \"{two}\"]\nshort-name-mode = \"enforcing\"\n{}{}",
        insecure(&first),
        insecure(&second)
    );
    std::fs::write(sandbox.path.join("registries.conf"), conf).unwrap();
    // What root chooses is noted for the machine, so the machine is another one here. The second pull has
    // no terminal; in a file as podman writes it, the name stays that of another image.
    let script = r#"mount -t tmpfs none /var/cache; mkdir /var/cache/containers
        printf '[aliases]\n  "other" = "quay.io/other"\n' >/var/cache/containers/short-name-aliases.conf
        "$0" "$@" 2>/dev/tty
        cat /var/cache/containers/short-name-aliases.conf
        "$0" "$@" </dev/null 2>&1"#;
    let start = |terminal: &Terminal| {
        let imagectl = sandbox.command();
        let mut command = std::process::Command::new("setsid");
        command
            .args([
                "--ctty",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-euc",
                script,
            ])
            .arg(imagectl.get_program())
            .args(imagectl.get_args())
            .args(["pull", "-q", "some/x:t"])
            .current_dir(&sandbox.path)
            .env("CONTAINERS_REGISTRIES_CONF", "registries.conf")
            .stdin(terminal.far())
            .stdout(Stdio::piped())
            .stderr(terminal.far());
        command.spawn().unwrap()
    };
    let mut terminal = Terminal::open();
    let mut child = start(&terminal);
    let mut said = child.stdout.take().unwrap();
    terminal.wait_for("Which one, 1 to 2? ");
    assert!(terminal.shown.contains(&format!("  1  {one}/some/x:t\r\n  2  {two}/some/x:t")));
    terminal.near.write_all(b"2\n").unwrap();
    assert!(terminal.end(child), "{:?}", terminal.shown);
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    let pulled = format!("{two}/some/x:t sha256:");
    assert_eq!(text.matches(&pulled).count(), 2, "{text}");
    let aliases =
        format!("[aliases]\n  \"other\" = \"quay.io/other\"\n  \"some/x\" = \"{two}/some/x\"\n");
    assert!(text.contains(&aliases), "{text}");
    assert!(first.requests().iter().all(|request| !request.path.starts_with("/v2/")));

    let mut terminal = Terminal::open();
    let child = start(&terminal);
    terminal.wait_for("Which one, 1 to 2? ");
    terminal.near.write_all(b"7\n").unwrap();
    assert!(!terminal.end(child));
    assert!(terminal.shown.contains("'7' is none of the numbers"), "{:?}", terminal.shown);
}
