//! Who a process is and what it may do: ids, capabilities, limits, keyring, names.

use std::ffi::CStr;

use crate::{Result, check};

/// The three capability sets of capset(2), a bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What takes effect now.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What is kept across an exec of a file with inheritable bits.
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// capset(2) for the calling process.
pub fn capset(sets: CapabilitySets) -> Result<()> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes a header and two data elements, which live across the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// capget(2) of the calling process: its effective set.
pub fn effective_capabilities() -> Result<u64> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 takes a header and two data elements, which live across the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].effective) | u64::from(data[1].effective) << 32)
}

/// prctl(2) `PR_CAPBSET_DROP`.
pub fn drop_bounding(capability: u32) -> Result<()> {
    // SAFETY: plain integers.
    check(
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }
            .into(),
    )
    .map(drop)
}

/// prctl(2) `PR_CAPBSET_READ`: whether the bounding set has it; EINVAL for one the kernel doesn't know.
pub fn has_bounding(capability: u32) -> Result<bool> {
    // SAFETY: plain integers.
    check(
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability), 0, 0, 0) }
            .into(),
    )
    .map(|value| value == 1)
}

/// prctl(2) `PR_CAP_AMBIENT_RAISE`.
pub fn raise_ambient(capability: u32) -> Result<()> {
    // SAFETY: plain integers.
    check(
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
                libc::c_ulong::from(capability),
                0,
                0,
            )
        }
        .into(),
    )
    .map(drop)
}

/// prctl(2) `PR_CAP_AMBIENT_CLEAR_ALL`.
pub fn clear_ambient() -> Result<()> {
    let op = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, op, 0, 0, 0) }.into()).map(drop)
}

/// prctl(2) `PR_SET_KEEPCAPS`: permitted capabilities survive the change of uid.
pub fn keep_capabilities(on: bool) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(on), 0, 0, 0) }.into())
        .map(drop)
}

/// prctl(2) `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privs() -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0) }.into())
        .map(drop)
}

/// setresuid(2) of all three ids, this thread only (there is one).
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: plain integers. The raw call, because the C library's signals all threads.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// setresgid(2) of all three ids, this thread only.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// setgroups(2), this thread only.
pub fn set_groups(gids: &[u32]) -> Result<()> {
    // SAFETY: the length goes with the pointer.
    check(unsafe { libc::syscall(libc::SYS_setgroups, gids.len(), gids.as_ptr()) }).map(drop)
}

/// prlimit(2) by the kernel's number of the resource; pid 0 is the calling process.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: `limit` lives across the call; the old one is not asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &limit, none) }).map(drop)
}

/// setdomainname(2).
pub fn set_domainname(name: &[u8]) -> Result<()> {
    // SAFETY: the length goes with the pointer.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`: a new session keyring of that name; its serial number.
pub fn join_session_keyring(name: &CStr) -> Result<i32> {
    // SAFETY: a terminated string that lives across the call.
    check(unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })
    .map(|serial| serial as i32)
}

/// keyctl(2) `KEYCTL_DESCRIBE`: the permission mask of a key.
pub fn key_permissions(serial: i32) -> Result<u32> {
    let mut text = [0u8; 256];
    // SAFETY: the kernel fills at most the given length.
    let len = check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_DESCRIBE,
            serial,
            text.as_mut_ptr(),
            text.len(),
        )
    })?;
    // "type;uid;gid;permissions;description"
    let text = &text[..(len as usize).min(text.len())];
    let field = text.split(|&b| b == b';').nth(3).and_then(|f| std::str::from_utf8(f).ok());
    field.and_then(|f| u32::from_str_radix(f, 16).ok()).ok_or(crate::Errno::EINVAL)
}

/// keyctl(2) `KEYCTL_SETPERM`.
pub fn set_key_permissions(serial: i32, mask: u32) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, serial, mask) }).map(drop)
}
