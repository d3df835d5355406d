//! podman's own networks: netavark's where it is installed, else those of CNI's plugins. All is in a
//! network namespace that the case throws away.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::asked::Client;
use super::engine;
use super::podman::{Manager, Podman};
use crate::call::{Running, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const PODMAN: &[Need] = &[
    Need::Controllers,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("iptables"),
];
// Where a user may open /dev/net/tun.
const USER: &[Need] = &[
    Need::V2Controllers,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("newuidmap"),
    Need::Command("slirp4netns"),
];
const SYSTEMD: &[Need] = &[
    Need::Systemd,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("iptables"),
    Need::Command("slirp4netns"),
];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    Case::new("podman/published-port", |env| of_root(env, Manager::Cgroupfs))
        .needs(PODMAN)
        .not_on(CRUN),
    Case::new("podman-scopes/published-port", |env| of_root(env, Manager::Systemd))
        .needs(SYSTEMD)
        .not_on(CRUN),
    Case::new("podman-user/published-port", |env| of_user(Podman::of_user(env, None)?))
        .needs(USER)
        .not_on(CRUN),
    Case::new("podman-user-scopes/published-port", |env| of_user(Podman::of_user_in_session(env)?))
        .needs(SYSTEMD)
        .not_on(CRUN),
];

/// Where CNI's library and plugins keep what they know, whatever podman's directories are.
const CNI_STATE: &str = "/var/lib/cni";

/// A network namespace with a loopback device, for as long as its process lives.
struct Network {
    holder: Running,
}

impl Network {
    fn new(env: &Env) -> Result<Self, Failure> {
        let script = "ip link set lo up && echo up && exec sleep 1000";
        let holder = env.command(&["unshare", "--net", "sh", "-c", script]).spawn()?;
        holder.wait_for_stdout("up")?;
        Ok(Self { holder })
    }

    fn enter(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.holder.pid())]
    }
}

fn of_root(env: &Env, manager: Manager) -> Outcome {
    let podman = Podman::with_manager(env, manager)?;
    let dir = podman.dir.join("networks");
    let netavark = Path::new("/usr/lib/podman/netavark").exists();
    let backend = if netavark { "netavark" } else { "cni" };
    let mut config = OpenOptions::new().append(true).open(podman.dir.join("containers.conf"))?;
    write!(config, "[network]\nnetwork_backend = {backend:?}\nnetwork_config_dir = {dir:?}\n")?;
    engine::enter_run(env)?;
    fs::create_dir_all(CNI_STATE)?;
    let data: Option<&std::ffi::CStr> = None;
    mount(&env.dir, CNI_STATE, "tmpfs", MountFlags::empty(), data)?;
    let network = Network::new(env)?;
    let enter = network.enter();
    let inside = enter.each_ref().map(String::as_str);
    let rules = || -> Result<String, Failure> {
        Ok(env.command(&["iptables-save"]).under(&inside).ok()?.stdout)
    };

    let script = ["sh", "-c", "echo greeting >/tmp/g; nc -l -p 80 -e cat /tmp/g"];
    let flags = ["-d", "--name", "one", "--network", "podman", "-p", "8099:80"];
    podman.make("run", &flags, &script).under(&inside).ok()?;
    let output = podman.call(&["port", "one"]).under(&inside).ok()?;
    ensure_eq!(output.stdout, "80/tcp -> 0.0.0.0:8099\n", "podman port");
    ensure!(rules()?.contains("8099"), "no rule for the port: {}", rules()?);
    wait_until(env.shared.limit, "an answer at the port", || {
        let client = env.command(&["busybox", "nc", "127.0.0.1", "8099"]).under(&inside);
        Ok((client.output()?.stdout == "greeting\n").then_some(()))
    })?;
    podman.call(&["rm", "-f", "-t", "0", "one"]).under(&inside).ok()?;
    ensure!(!rules()?.contains("8099"), "a rule for the port is left: {}", rules()?);

    podman.end()?;
    drop(network);
    unmount(CNI_STATE, UnmountFlags::empty())?;
    // podman binds it on itself.
    unmount("/run/netns", UnmountFlags::empty())?;
    engine::leave_run()
}

/// A user's network is a process of its own, and the port one more.
fn of_user(podman: Podman) -> Outcome {
    let script = ["sh", "-c", "echo greeting >/tmp/g; nc -l -p 80 -e cat /tmp/g"];
    let flags = ["-d", "--name", "one", "--network", "slirp4netns", "-p", "8099:80"];
    podman.make("run", &flags, &script).ok()?;
    let output = podman.call(&["port", "one"]).ok()?;
    ensure_eq!(output.stdout, "80/tcp -> 0.0.0.0:8099\n", "podman port");
    wait_until(podman.env().shared.limit, "an answer at the port", || {
        let client = podman.env().command(&["busybox", "nc", "127.0.0.1", "8099"]);
        Ok((client.output()?.stdout == "greeting\n").then_some(()))
    })?;
    podman.end()
}
