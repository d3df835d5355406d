//! A user namespace for commands of users without root: in it their files have owners, by the ranges of
//! `/etc/subuid` and `/etc/subgid`, and overlays can be mounted. The command is run once more as its root,
//! and newuidmap maps the ranges from outside; the caller's one ID needs nobody's help.
//!
//! ```text
//! caller    spawns ───────────────── reads u ── newuidmap, newgidmap ── writes m ── waits
//! command            unshares ─── writes u                               reads m ── works
//! ```
//!
//! The command knows by its own name, `imagectl-in-namespace:R:W`, that it is to enter; R and W are its
//! ends of two pipes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use nix::sched::CloneFlags;
use rustix::io::FdFlags;

use crate::bundle::{IdMaps, Range};
use crate::error::{Error, Result};

/// What the name of a command begins with that is to enter a namespace.
const NAME: &str = "imagectl-in-namespace:";

/// The variable that tells commands in the namespace its maps.
const VARIABLE: &str = "IMAGECTL_ID_MAPS";

/// The maps of the namespace that this command is in, if imagectl made it.
#[must_use]
pub fn maps() -> Option<IdMaps> {
    serde_json::from_slice(std::env::var(VARIABLE).ok()?.as_bytes()).ok()
}

/// Is the namespace this command's alone, so that what is mounted goes with it?
#[must_use]
pub fn is_own() -> bool {
    pipes().is_some()
}

/// Does this process' namespace have all IDs, as the first one has?
#[must_use]
pub fn has_all_ids() -> bool {
    identity().is_empty()
}

/// Does it have but one?
#[must_use]
pub fn has_one_id() -> bool {
    let ids = |map: &str| -> u64 {
        map.split(',').filter_map(|range| range.split(' ').nth(2)?.parse::<u64>().ok()).sum()
    };
    identity().split_once(';').is_some_and(|(uids, _)| ids(uids) == 1)
}

/// The maps of this process' namespace as text, empty where there is nothing to map. Namespaces of one
/// user with the same text have the same owners for files.
#[must_use]
pub fn identity() -> &'static str {
    static IDENTITY: OnceLock<String> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
            let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            text.lines().map(line).collect::<Vec<_>>().join(",")
        };
        match (read("uid_map"), read("gid_map")) {
            (uids, _) if uids == "0 0 4294967295" => String::new(),
            (uids, gids) => format!("{uids};{gids}"),
        }
    })
}

/// Runs this command once more in a namespace with `maps`. `None` if this machine doesn't let the
/// caller have one: then it goes on without.
///
/// # Errors
/// [`Error::Io`] if the command can't be run at all.
pub fn run(maps: &IdMaps) -> Result<Option<ExitStatus>> {
    let failed = || Error::io("run", "/proc/self/exe");
    let value = serde_json::to_string(maps)
        .map_err(|source| Error::Json { what: "the ID maps".into(), source })?;
    let (go, mut ours) = std::io::pipe().map_err(failed())?;
    let (mut entered, there) = std::io::pipe().map_err(failed())?;
    for end in [go.as_fd(), there.as_fd()] {
        rustix::io::fcntl_setfd(end, FdFlags::empty())
            .map_err(Error::io("run", "/proc/self/exe"))?;
    }
    let mut child = Command::new("/proc/self/exe")
        .arg0(format!("{NAME}{}:{}", go.as_raw_fd(), there.as_raw_fd()))
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, value)
        .spawn()
        .map_err(failed())?;
    drop((go, there));
    let mut word = [0];
    if matches!(entered.read(&mut word), Ok(1)) && map_all(&child, maps) {
        ours.write_all(b"m").map_err(failed())?;
        drop(ours);
        return child.wait().map(Some).map_err(failed());
    }
    drop(ours);
    child.wait().map_err(failed())?;
    Ok(None)
}

fn map_all(child: &Child, maps: &IdMaps) -> bool {
    if *maps != IdMaps::single() {
        return map(child, "newuidmap", &maps.uids) && map(child, "newgidmap", &maps.gids);
    }
    // Their own ID anybody may map, once groups can't be dropped any more.
    let write = |name: &str, text: &str| {
        std::fs::write(format!("/proc/{}/{name}", child.id()), text).is_ok()
    };
    let line = |range: &Range| format!("{} {} 1\n", range.container_id, range.host_id);
    write("setgroups", "deny")
        && write("uid_map", &line(&maps.uids[0]))
        && write("gid_map", &line(&maps.gids[0]))
}

/// Has the program, which has rights that the caller has not, write a map.
fn map(child: &Child, program: &str, ranges: &[Range]) -> bool {
    let mut command = Command::new(program);
    command.arg(child.id().to_string());
    for range in ranges {
        for number in [range.container_id, range.host_id, range.size] {
            command.arg(number.to_string());
        }
    }
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The ends of the pipes, of a command that is to enter.
fn pipes() -> Option<(i32, i32)> {
    let name = std::env::args_os().next()?;
    let (read, write) = name.to_str()?.strip_prefix(NAME)?.split_once(':')?;
    Some((read.parse().ok()?, write.parse().ok()?))
}

/// Enters the namespace, if this command is to. Says false if that can't be: the caller goes on by
/// itself. To be called before there are threads.
#[must_use]
pub fn enter() -> bool {
    let Some((read, write)) = pipes() else { return true };
    let open = |fd: i32, options: &mut std::fs::OpenOptions| {
        let file = options.open(format!("/proc/self/fd/{fd}"));
        // What this command runs has no use for it.
        nix::unistd::close(fd).is_ok().then_some(file.ok()).flatten()
    };
    let (Some(mut go), Some(mut there)) =
        (open(read, File::options().read(true)), open(write, File::options().write(true)))
    else {
        return false;
    };
    // A mount namespace too: overlays are mounted where this command works alone.
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).is_ok()
        && there.write_all(b"u").is_ok()
        && matches!(go.read(&mut [0]), Ok(1))
}
