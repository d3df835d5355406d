//! Who the process is and what it may do: the last things that change before the program runs.

use std::ffi::CStr;

use nix::errno::Errno;
use sys::identity::{self, CapabilitySets};

use super::procfs::Procfs;
use super::{Result, Step, failure};
use crate::error::InitFailure;
use crate::plan::{CapabilityPlan, ProcessPlan};

/// `CAP_SETGID`, which setgroups takes.
const SETGID: u64 = 1 << 6;

/// `CAP_SYS_ADMIN`, which loading a filter takes without no_new_privs.
pub(super) const SYS_ADMIN: u64 = 1 << 21;

/// Becomes root of a new user namespace, whose id maps the parent has written.
pub(crate) fn become_root() -> Result<()> {
    for (name, result) in [("gid", identity::set_gid(0)), ("uid", identity::set_uid(0))] {
        match result {
            // Root need not be mapped.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => {
                return Err(errno).step(|| format!("become {name} 0 of the user namespace"));
            }
        }
    }
    Ok(())
}

/// A session keyring of the container's own, see session-keyring(7).
pub(crate) fn join_keyring(name: &CStr) -> Result<()> {
    let serial = match identity::join_session_keyring(name) {
        // No keyrings in this kernel, or none left for this user: as runc, go without.
        Err(Errno::ENOSYS | Errno::EDQUOT) => return Ok(()),
        result => result.step(|| "join a session keyring")?,
    };
    // Without search permission for the user, no key could be found in it.
    const USER_SEARCH: u32 = 0x0008_0000;
    let mask =
        identity::key_permissions(serial).step(|| "read the session keyring's permissions")?;
    identity::set_key_permissions(serial, mask | USER_SEARCH)
        .step(|| "set the session keyring's permissions")
}

/// The limits of the process. With a user namespace it is the parent that sets them: root in there may
/// not raise one.
pub(crate) fn limit(plan: &ProcessPlan) -> Result<()> {
    for (index, (resource, name, soft, hard)) in plan.rlimits.iter().enumerate() {
        identity::set_rlimit(0, *resource, *soft, *hard)
            .step(|| format!("process.rlimits[{index}]: set rlimit {name} to {soft}:{hard}"))?;
    }
    Ok(())
}

/// Takes over ids and capabilities, in the order in which they need each other.
pub(crate) fn apply(plan: &ProcessPlan) -> Result<()> {
    if plan.no_new_privileges {
        identity::set_no_new_privs().step(|| "prctl PR_SET_NO_NEW_PRIVS")?;
    }
    let early = nix::unistd::chdir(plan.cwd.as_c_str());
    identity::keep_capabilities(true).step(|| "prctl PR_SET_KEEPCAPS")?;
    drop_bounding(&plan.capabilities)?;
    set_groups(&plan.groups)?;
    give_standard_streams(plan.uid)?;
    identity::set_gid(plan.gid)
        .map_err(|errno| unmapped(errno, "process.user.gid: set gid", plan.gid))?;
    identity::set_uid(plan.uid)
        .map_err(|errno| unmapped(errno, "process.user.uid: set uid", plan.uid))?;
    // The change of ids may have reset it (/proc/sys/fs/suid_dumpable).
    sys::process::set_dumpable(false).step(|| "prctl PR_SET_DUMPABLE")?;
    // A directory may be open to the user only (root squashed by NFS), or to root only.
    if early.is_err() {
        nix::unistd::chdir(plan.cwd.as_c_str())
            .step(|| format!("chdir to cwd ({:?}) set in config.json failed", plan.cwd))?;
    }
    check_cwd()?;
    raise(plan)?;
    if let Some(umask) = plan.umask {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
    }
    Ok(())
}

/// The additional groups; none where the user namespace was made without the right to set any.
fn set_groups(groups: &[u32]) -> Result<()> {
    match identity::set_groups(groups) {
        Err(Errno::EPERM) if is_setgroups_denied() => match groups {
            // What a user without privileges was born with, nobody can take from it.
            [] => Ok(()),
            _ => Err(failure(format!(
                "process.user.additionalGids: cannot set {groups:?}:                  setgroups is denied in this user namespace"
            ))),
        },
        result => {
            result.step(|| format!("process.user.additionalGids: set additional groups {groups:?}"))
        }
    }
}

/// After EPERM: the privilege was there, so it is /proc/PID/setgroups that says "deny".
fn is_setgroups_denied() -> bool {
    identity::effective_capabilities().is_ok_and(|set| set & SETGID != 0)
}

fn unmapped(errno: Errno, step: &str, id: u32) -> InitFailure {
    match errno {
        Errno::EINVAL => failure(format!("{step} {id}: it is not mapped in the user namespace")),
        errno => InitFailure { step: format!("{step} {id}"), errno: Some(errno) },
    }
}

/// Lets the user open its own standard streams again, by /dev/stdout and the like.
fn give_standard_streams(uid: u32) -> Result<()> {
    for fd in 0..3 {
        match sys::file::give_to(fd, uid) {
            // Closed; a socket; the host's, seen from a user namespace; a read-only file system.
            Ok(())
            | Err(Errno::EBADF | Errno::EINVAL | Errno::EPERM | Errno::EROFS | Errno::EACCES) => {}
            Err(errno) => return Err(errno).step(|| format!("give descriptor {fd} to uid {uid}")),
        }
    }
    Ok(())
}

/// A working directory outside the container's root, reached through a descriptor left open,
/// has no path in it (CVE-2024-21626).
fn check_cwd() -> Result<()> {
    match nix::unistd::getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(failure("current working directory is outside of container mount namespace root")),
    }
}

/// The security module's label for the program, which takes effect with the exec.
pub(crate) fn label(plan: &ProcessPlan, procfs: &Procfs) -> Result<()> {
    if let Some(profile) = &plan.apparmor {
        let command = format!("exec {profile}");
        match procfs.write("self/attr/apparmor/exec", &command) {
            // Before Linux 5.8, or with one security module.
            Err(Errno::ENOENT) => procfs.write("self/attr/exec", &command),
            result => result,
        }
        .step(|| format!("process.apparmorProfile: apply apparmor profile {profile}"))?;
    }
    if let Some(label) = &plan.selinux {
        procfs
            .write("self/attr/exec", label)
            .step(|| format!("process.selinuxLabel: apply selinux label {label}"))?;
    }
    Ok(())
}

fn drop_bounding(plan: &CapabilityPlan) -> Result<()> {
    for capability in 0..64 {
        if plan.bounding >> capability & 1 == 1 {
            continue;
        }
        match identity::drop_bounding(capability) {
            Ok(()) => {}
            // One past the last the kernel knows.
            Err(Errno::EINVAL) => break,
            Err(errno) => {
                return Err(errno)
                    .step(|| format!("drop capability {capability} from the bounding set"));
            }
        }
    }
    Ok(())
}

/// The capability sets; with what loading a filter later takes, where that is needed.
fn raise(plan: &ProcessPlan) -> Result<()> {
    let mut sets = final_sets(&plan.capabilities);
    if plan.filtered && !plan.no_new_privileges {
        sets.permitted |= SYS_ADMIN;
    }
    identity::capset(sets).step(|| "set capabilities")?;
    // Whatever the runtime's caller had raised.
    identity::clear_ambient().step(|| "clear the ambient capabilities")?;
    for capability in 0..plan.capabilities.count {
        if plan.capabilities.ambient >> capability & 1 == 1 {
            identity::raise_ambient(capability)
                .step(|| format!("raise ambient capability {capability}"))?;
        }
    }
    Ok(())
}

/// What the program has.
pub(super) fn final_sets(plan: &CapabilityPlan) -> CapabilitySets {
    CapabilitySets {
        effective: plan.effective,
        permitted: plan.permitted,
        inheritable: plan.inheritable,
    }
}
