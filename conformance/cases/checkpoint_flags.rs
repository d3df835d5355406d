//! What `checkpoint` and `restore` save only when a flag allows it, and containers of other kinds.

use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use super::checkpoint::{Counter, quiet};
use super::hooks::script;
use super::systemd;
use crate::call::{Call, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::console::Terminal;
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRIU: &[Need] = &[Need::Criu];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun 1.8.1 has other flags and messages")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("checkpoint/tcp-established", tcp).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/file-locks", locks).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/ext-unix-sk", unix).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/link-remap", link).needs(CRIU).not_on(&[
        (Peer::Runc, "runc 1.1.5 has no --link-remap"),
        (Peer::Crun, "crun 1.8.1 has other flags and messages"),
    ]),
    Case::new("checkpoint/streams-are-a-terminal-and-shell-job", job).needs(CRIU).not_on(&[
        (Peer::Runc, "criu finds no mount of the host's terminal"),
        (Peer::Crun, "criu finds no mount of the host's terminal"),
    ]),
    Case::new("checkpoint/user-namespace", user_namespace).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint-systemd/in-a-scope", in_scope)
        .needs(&[Need::Criu, Need::Systemd])
        .not_on(CRUN),
];

/// Without the flag, criu refuses, and names it; with it, the container is saved.
fn saved_with(env: &Env, counter: &Counter, flag: &str) -> Result<u64, Failure> {
    let output = counter.checkpoint(env, &[]).exits(1)?;
    if env.is(Peer::Ghost) {
        let name = flag.trim_start_matches('-');
        ensure!(output.stderr.contains(name), "no word of {flag}: {output}");
    }
    ensure_eq!(env.status(&counter.id)?, "running", "status without {flag}");
    let number = counter.number(env)?;
    counter.counts_on(env, number)?;
    counter.checkpoint(env, &[flag]).ok()?;
    counter.number(env)
}

fn last_line(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// One process sends what it counts to another.
fn tcp(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    // Its network namespace comes back empty, and somebody has to fill it.
    let body = "export PATH=/usr/sbin:/usr/bin:/sbin:/bin; \
                pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip link set lo up";
    let hook = script(env, "network", body)?;
    bundle.set("/hooks", json!({"createRuntime": [{"path": hook}]}))?;
    // Neither end sees an end of its input, which would be that of the connection.
    let first = "busybox mkfifo /tmp/in /tmp/idle; exec 5<>/tmp/in 6<>/tmp/idle; \
                 nc -l -p 4711 <&6 >/tmp/got & \
                 until nc 127.0.0.1 4711 <&5; do sleep 0.1; done &";
    let counter = Counter::with(env, bundle, "c", [&format!("{first} :"), "echo $i >&5"])?;
    counter.begin(env, quiet)?;
    let got = counter.bundle.rootfs().join("tmp/got");
    let arrives = |above: u64| {
        wait_until(env.shared.limit, "a number over TCP", || {
            Ok((last_line(&got) > above).then_some(()))
        })
    };
    arrives(0)?;
    let saved = saved_with(env, &counter, "--tcp-established")?;
    counter.restore(env, &["--tcp-established"]).ok()?;
    counter.counts_on(env, saved)?;
    arrives(saved)
}

fn locks(env: &mut Env) -> Outcome {
    let first = "probe lock /tmp/lock &";
    let counter = Counter::with(env, env.bundle()?, "c", [&format!("{first} :"), ":"])?;
    counter.begin(env, quiet)?;
    let path = counter.bundle.rootfs().join("tmp/lock");
    wait_until(env.shared.limit, "its file", || Ok(path.exists().then_some(())))?;
    let is_locked = || -> Result<bool, Failure> {
        Ok(flock(File::open(&path)?, FlockOperation::NonBlockingLockShared).is_err())
    };
    wait_until(env.shared.limit, "a lock", || Ok(is_locked()?.then_some(())))?;
    let saved = saved_with(env, &counter, "--file-locks")?;
    ensure!(!is_locked()?, "the file is locked by nobody");
    counter.restore(env, &["--file-locks"]).ok()?;
    counter.counts_on(env, saved)?;
    ensure!(is_locked()?, "the file is not locked any more");
    Ok(())
}

/// Its standard input is a socket that is connected to one of the host's.
fn unix(env: &mut Env) -> Outcome {
    let dir = env.dir.join("sockets");
    fs::create_dir(&dir)?;
    let server = UnixDatagram::bind(dir.join("server"))?;
    server.set_read_timeout(Some(env.shared.limit))?;
    let client = UnixDatagram::unbound()?;
    client.connect(dir.join("server"))?;
    let mut bundle = env.bundle()?;
    bundle.bind(&dir, &dir.to_string_lossy(), &[])?;
    // Sockets are those of a network namespace, and criu looks for them in the container's.
    bundle.drop_namespace("network")?;
    let each = "if [ -e /tmp/say ]; then rm /tmp/say; echo said $i >&0; fi";
    let counter = Counter::with(env, bundle, "c", [":", each])?;
    let on_socket = |call: Call| {
        let words = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"];
        call.under(&words).stdin(OwnedFd::from(client))
    };
    counter.begin(env, on_socket)?;
    let says = || -> Result<u64, Failure> {
        fs::write(counter.bundle.rootfs().join("tmp/say"), "")?;
        let mut text = [0; 64];
        let length = server.recv(&mut text)?;
        let text = String::from_utf8_lossy(&text[..length]);
        Ok(text.trim().strip_prefix("said ").unwrap_or_default().parse()?)
    };
    says()?;
    let saved = saved_with(env, &counter, "--ext-unix-sk")?;
    counter.restore(env, &["--ext-unix-sk"]).ok()?;
    counter.counts_on(env, saved)?;
    ensure!(says()? >= saved, "it says what it had said");
    Ok(())
}

/// It has a file open that has another name than the one it was opened by.
fn link(env: &mut Env) -> Outcome {
    let first = "echo kept >/tmp/a; exec 7</tmp/a; ln /tmp/a /tmp/b; rm /tmp/a";
    let counter = Counter::with(env, env.bundle()?, "c", [first, ":"])?;
    counter.begin(env, quiet)?;
    let saved = saved_with(env, &counter, "--link-remap")?;
    counter.restore(env, &[]).ok()?;
    counter.counts_on(env, saved)?;
    let seen = env.exec(&counter.id, &[], &["cat", "/proc/1/fd/7"]).ok()?;
    ensure_eq!(seen.stdout, "kept\n", "the open file");
    let tmp = fs::read_dir(counter.bundle.rootfs().join("tmp"))?;
    for entry in tmp {
        let name = entry?.file_name();
        ensure!(!name.to_string_lossy().contains("link_remap"), "{name:?} is left");
    }
    Ok(())
}

/// Its streams are a terminal of the caller's, and are another one's then.
fn job(env: &mut Env) -> Outcome {
    let counter = Counter::with(env, env.bundle()?, "c", [":", "echo count $i"])?;
    let on_terminal = |call: Call, slave: OwnedFd| {
        call.under(&["sh", "-c", "exec \"$@\" >&0 2>&0", "sh"]).stdin(slave)
    };
    let (mut terminal, slave) = Terminal::open(33, 77)?;
    counter.begin(env, |call| on_terminal(call, slave))?;
    terminal.expect("count 2", env.shared.limit)?;
    for flags in [&[][..], &["--shell-job"]] {
        counter.checkpoint(env, flags).ok()?;
        let saved = counter.number(env)?;
        let (mut next, slave) = Terminal::open(33, 77)?;
        on_terminal(counter.restore_with_streams(env, flags), slave).ok()?;
        counter.counts_on(env, saved)?;
        next.expect("count", env.shared.limit)?;
        terminal = next;
    }
    drop(terminal);
    Ok(())
}

fn user_namespace(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.namespace("user", None)?;
    bundle.set("/linux/uidMappings", mapping.clone())?.set("/linux/gidMappings", mapping)?;
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    open(&bundle.dir, 0o755)?;
    open(&bundle.rootfs().join("tmp"), 0o1777)?;
    let counter = Counter::start(env, bundle, "c")?;
    counter.checkpoint(env, &[]).ok()?;
    let saved = counter.number(env)?;
    // criu reads some as the user that is the container's root: whether that may is the caller's affair.
    counter.restore(env, &[]).exits(1)?;
    env.nothing_left()?;
    let images = Path::new(&counter.images);
    open(images, 0o711)?;
    for entry in fs::read_dir(images)? {
        open(&entry?.path(), 0o644)?;
    }
    counter.restore(env, &[]).ok()?;
    counter.counts_on(env, saved)?;
    let map = fs::read_to_string(format!("/proc/{}/uid_map", env.pid(&counter.id)?))?;
    let map: Vec<&str> = map.split_whitespace().collect();
    ensure_eq!(map, ["0", "100000", "65536"], "uid_map");
    let seen = env.exec(&counter.id, &[], &["id", "-u"]).ok()?;
    ensure_eq!(seen.stdout, "0\n", "its user");
    Ok(())
}

fn in_scope(env: &mut Env) -> Outcome {
    let counter = Counter::make(env, systemd::bundle(env)?, "c")?;
    let dir = counter.dir();
    let words = ["--systemd-cgroup", "run", "-d", "-b", &dir, &counter.id];
    quiet(env.runtime(&words)).ok()?;
    env.wait_file(&counter.file)?;
    counter.checkpoint(env, &[]).ok()?;
    let saved = counter.number(env)?;
    let words = ["--systemd-cgroup", "restore", "-d", "--image-path", &counter.images, "-b", &dir];
    quiet(env.runtime(&[&words[..], &[&counter.id]].concat())).ok()?;
    counter.counts_on(env, saved)?;
    let unit = systemd::unit(env);
    let place = fs::read_to_string(format!("/proc/{}/cgroup", env.pid(&counter.id)?))?;
    ensure!(place.contains(&unit), "it is in {place}");
    ensure_eq!(systemd::property(env, &unit, "ActiveState")?, "active", "its scope");
    env.verb("pause", &counter.id).ok()?;
    env.verb("resume", &counter.id).ok()?;
    env.runtime(&["delete", "-f", &counter.id]).ok()?;
    env.nothing_left()
}
