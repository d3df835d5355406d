//! Keeps a container from overwriting the runtime's own binary (CVE-2019-5736).
//!
//! A process of the container can reach the binary through /proc/<pid>/exe of a runtime process
//! that joins it. So the runtime runs from a copy that can't be written to: a detached read-only
//! mount of the same file, or where that can't be made, a sealed copy in memory.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, SealFlag, fcntl};
use nix::sys::stat::stat;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid};
use sys::file;
use sys::mount::{SetAttr, attr, clone_tree, mount_setattr};

use crate::error::{Context, Error};

const SELF: &CStr = c"/proc/self/exe";
const STEP: &str = "execute the runtime's own binary again";
/// A container that tries to open the binary for writing counts as a writer until it is refused.
const TRIES: usize = 1000;
/// The owner of what only an administrator may change.
const ROOT: u32 = 0;

/// Runs this program again from where it can't be written, unless it is there already. To be called
/// before anything else is done: the new image starts from the beginning.
pub fn protect_own_binary() -> Result<(), Error> {
    if is_safe().context(|| "look at the runtime's own binary")? {
        return Ok(());
    }
    let safe = match read_only_mount() {
        Ok(fd) => fd,
        // Not root, or a mount that can't be copied: unbindable, or another namespace's.
        Err(_) => sealed_copy()?,
    };
    let args = strings(std::env::args_os());
    let env = strings(std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    }));
    let args: Vec<&CStr> = args.iter().map(CString::as_c_str).collect();
    let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
    for _ in 0..TRIES {
        match sys::process::fexecve(safe.as_fd(), &args, &env) {
            Errno::ETXTBSY => {}
            errno => return Err(Error::system(STEP, errno)),
        }
    }
    Err(Error::system(STEP, Errno::ETXTBSY))
}

fn strings(list: impl Iterator<Item = std::ffi::OsString>) -> Vec<CString> {
    // They came from exec: there is no NUL byte in them.
    list.filter_map(|text| CString::new(text.into_vec()).ok()).collect()
}

/// Nobody can write to the file this process runs from.
fn is_safe() -> Result<bool, Errno> {
    if statvfs(SELF)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(true);
    }
    if file::attributes(SELF)? & (file::ATTR_IMMUTABLE | file::ATTR_VERITY) != 0 {
        return Ok(true);
    }
    // What belongs to root and the caller may not write, the root of its user namespace may not
    // either: of all others, it may map their owner.
    if !geteuid().is_root()
        && access(SELF, AccessFlags::W_OK).is_err()
        && stat(SELF)?.st_uid == ROOT
    {
        return Ok(true);
    }
    Ok(is_sealed())
}

fn is_sealed() -> bool {
    let Ok(exe) = File::open("/proc/self/exe") else { return false };
    fcntl(&exe, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

fn read_only_mount() -> Result<OwnedFd, Errno> {
    let mount = clone_tree(AT_FDCWD, SELF, false)?;
    mount_setattr(mount.as_fd(), SetAttr { set: attr::RDONLY, ..SetAttr::default() })?;
    Ok(mount)
}

fn sealed_copy() -> Result<OwnedFd, Error> {
    let step = || "copy the runtime's own binary";
    let mut copy = File::from(file::sealable_memfd(c"ghost-runc").context(step)?);
    std::io::copy(&mut File::open("/proc/self/exe").context(step)?, &mut copy).context(step)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).context(step)?;
    Ok(copy.into())
}
