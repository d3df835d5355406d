//! A user namespace for commands of users without root: in it their files have owners, by the ranges of
//! `/etc/subuid` and `/etc/subgid`. The command is run once more as its root, and newuidmap maps the
//! ranges from outside.
//!
//! ```text
//! caller    spawns ───────────────── reads u ── newuidmap, newgidmap ── writes m ── waits
//! command            unshares ─── writes u                               reads m ── works
//! ```

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sched::CloneFlags;

use crate::bundle::{IdMaps, Range};
use crate::error::{Error, Result};

/// The variable by which the command knows that it is to enter; its value is the maps.
const VARIABLE: &str = "IMAGECTL_ID_MAPS";

/// The maps of the namespace that this command is in, or about to be.
#[must_use]
pub fn maps() -> Option<IdMaps> {
    serde_json::from_slice(std::env::var(VARIABLE).ok()?.as_bytes()).ok()
}

/// Does this process' namespace have all IDs, as the first one has?
#[must_use]
pub fn has_all_ids() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
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
    let (mut ours, theirs) = UnixStream::pair().map_err(failed())?;
    let mut child = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, value)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(failed())?;
    let mut word = [0];
    let entered = matches!(ours.read(&mut word), Ok(1));
    if entered && map(&child, "newuidmap", &maps.uids) && map(&child, "newgidmap", &maps.gids) {
        ours.write_all(b"m").map_err(failed())?;
        drop(ours);
        return child.wait().map(Some).map_err(failed());
    }
    drop(ours);
    child.wait().map_err(failed())?;
    Ok(None)
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

/// Enters the namespace. Says false if that can't be: the caller goes on by itself. To be called before
/// there are threads.
#[must_use]
pub fn enter() -> bool {
    if nix::sched::unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        return false;
    }
    // Standard input is a socket to the caller.
    let caller = rustix::stdio::stdin();
    let mut word = [0];
    rustix::io::write(caller, b"u") == Ok(1) && rustix::io::read(caller, &mut word[..]) == Ok(1)
}
