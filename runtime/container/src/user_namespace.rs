//! Writing the id maps of a new user namespace: directly where the kernel lets the caller, else by
//! newuidmap(1) and newgidmap(1), which look up what /etc/subuid and /etc/subgid grant to the caller.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, getegid, geteuid};

use crate::error::{Error, Os};

/// What is mapped.
struct Kind {
    field: &'static str,
    /// In /proc/PID.
    file: &'static str,
    /// The program that maps more than the caller's own id.
    tool: &'static str,
}

const UID: Kind = Kind { field: "linux.uidMappings", file: "uid_map", tool: "newuidmap" };
const GID: Kind = Kind { field: "linux.gidMappings", file: "gid_map", tool: "newgidmap" };

/// Where the tools are looked for when there is no PATH.
const DEFAULT_PATH: &str = "/usr/bin:/bin";

/// Writes both maps, each the lines of its file, for the user namespace of `pid`.
pub(crate) fn map_ids(pid: i32, uids: &str, gids: &str) -> Result<(), Error> {
    if is_own_group_only(gids) {
        // The kernel takes a group map from its own user only after that. See user_namespaces(7).
        write_proc(pid, "setgroups", "deny").map_err(|os| {
            Error::system(format!("{}: write \"deny\" to /proc/{pid}/setgroups", GID.field), os)
        })?;
    }
    write_one(&GID, pid, gids)?;
    write_one(&UID, pid, uids)
}

/// Whether a user without privileges maps nothing but its own group, which takes that setgroups(2) is
/// given up.
pub(crate) fn is_own_group_only(gids: &str) -> bool {
    let own = getegid().to_string();
    let mut words = gids.split_whitespace().skip(1);
    !geteuid().is_root()
        && (words.next(), words.next(), words.next()) == (Some(&own), Some("1"), None)
}

fn write_one(kind: &Kind, pid: i32, map: &str) -> Result<(), Error> {
    match write_proc(pid, kind.file, map) {
        Err(Os(Errno::EPERM)) => by_tool(kind, pid, map),
        result => result.map_err(|os| {
            let step = format!("{}: write {map:?} to /proc/{pid}/{}", kind.field, kind.file);
            Error::system(step, os)
        }),
    }
}

/// Writes a file of a process in /proc.
pub(crate) fn write_proc(pid: i32, name: &str, value: &str) -> Result<(), Os> {
    let file = File::options().write(true).open(format!("/proc/{pid}/{name}"));
    // One write: the id maps take no second.
    Ok(file.and_then(|mut file| file.write_all(value.as_bytes()))?)
}

fn by_tool(kind: &Kind, pid: i32, map: &str) -> Result<(), Error> {
    let Kind { field, tool, .. } = kind;
    let map = map.split_whitespace();
    let Some(program) = find(tool, std::env::var_os("PATH")) else {
        let what = map.collect::<Vec<_>>().join(" ");
        return Err(Error::invalid(
            *field,
            format!("\"{what}\" is more than the caller may map itself, and {tool} is not found"),
        ));
    };
    // It runs with root's privileges: nothing of the caller's environment may reach it.
    let mut command = Command::new(program);
    command.env_clear().arg(pid.to_string()).args(map).stdin(Stdio::null());
    let reason = match command.output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            format!("{}: {}", output.status, text.trim().replace('\n', "; "))
        }
        Err(error) => Os::from(error).to_string(),
    };
    let arguments = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
    Err(Error::invalid(*field, format!("{tool} {}: {reason}", arguments.join(" "))))
}

/// The first executable file of that name in an absolute directory of `path`.
fn find(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path.filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH.into());
    let is_program = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(Path::new(name)))
        .find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_absolute_directories_only() {
        assert_eq!(find("sh", None).unwrap().file_name().unwrap(), "sh");
        assert_eq!(find("sh", Some("".into())).unwrap().file_name().unwrap(), "sh");
        assert_eq!(find("sh", Some("/nowhere:/bin".into())), Some("/bin/sh".into()));
        assert_eq!(find("sh", Some("bin:../bin:/nowhere".into())), None);
        // A directory, and a file that is no program.
        assert_eq!(find("etc", Some("/".into())), None);
        assert_eq!(find("passwd", Some("/etc".into())), None);
    }
}
