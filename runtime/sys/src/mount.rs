//! The file-descriptor based mount API (Linux 5.2; mount_setattr 5.12) and mount(2) for what it lacks.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::{Result, check};

/// `MOUNT_ATTR_*` of fsmount(2) and mount_setattr(2).
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-ID bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes can't be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the access time modes; relatime is 0.
    pub const ATIME: u64 = 0x70;
    /// Access times are never updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not updated.
    pub const NODIRATIME: u64 = 0x80;
    /// The mount translates ids as a user namespace does (Linux 5.12).
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed (Linux 5.14).
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

pub(crate) const OPEN_TREE_CLONE: i32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: called with what a system call has just returned as a new descriptor.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// fsopen(2): a file system context to configure.
pub fn fsopen(fstype: &CStr) -> Result<OwnedFd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    // SAFETY: a terminated string that lives across the call.
    check(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) }).map(owned)
}

/// fsconfig(2) `FSCONFIG_SET_STRING`.
pub fn fsconfig_string(context: BorrowedFd<'_>, key: &CStr, value: &CStr) -> Result<()> {
    // SAFETY: terminated strings that live across the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_SET_STRING,
            key.as_ptr(),
            value.as_ptr(),
            0,
        )
    })
    .map(drop)
}

/// fsconfig(2) `FSCONFIG_SET_FLAG`.
pub fn fsconfig_flag(context: BorrowedFd<'_>, key: &CStr) -> Result<()> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: a terminated string that lives across the call; flags have no value.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_SET_FLAG,
            key.as_ptr(),
            none,
            0,
        )
    })
    .map(drop)
}

/// fsconfig(2) `FSCONFIG_CMD_CREATE`: makes the superblock.
pub fn fsconfig_create(context: BorrowedFd<'_>) -> Result<()> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the command takes neither key nor value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0)
    })
    .map(drop)
}

/// fspick(2): a context to change the file system that is mounted with `mount` as its root.
pub fn fspick(mount: BorrowedFd<'_>) -> Result<OwnedFd> {
    const CLOEXEC: u32 = 1;
    const EMPTY_PATH: u32 = 8;
    // SAFETY: a terminated string that lives across the call.
    check(unsafe {
        libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), CLOEXEC | EMPTY_PATH)
    })
    .map(owned)
}

/// fsconfig(2) `FSCONFIG_CMD_RECONFIGURE`: makes the changes to a picked file system.
pub fn fsconfig_reconfigure(context: BorrowedFd<'_>) -> Result<()> {
    let none = ptr::null::<libc::c_char>();
    let command = FSCONFIG_CMD_RECONFIGURE;
    // SAFETY: the command takes neither key nor value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, none, none, 0) })
        .map(drop)
}

/// fsmount(2): a detached mount of a configured file system.
pub fn fsmount(context: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
    const FSMOUNT_CLOEXEC: u32 = 1;
    // SAFETY: plain integers.
    check(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes as u32)
    })
    .map(owned)
}

/// open_tree(2) with `OPEN_TREE_CLONE`: a detached copy of the mount at `path` below `dir` (of `dir`
/// itself when `path` is empty), with the mounts below it when `recursive`.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: a terminated string that lives across the call.
    check(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
        .map(owned)
}

/// move_mount(2): attaches the mount `from` at `to_path` below `to`, links followed, or at `to` itself
/// when the path is empty.
pub fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>, to_path: &CStr) -> Result<()> {
    const F_EMPTY_PATH: u32 = 0x04;
    const T_SYMLINKS: u32 = 0x10;
    const T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: terminated strings that live across the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            to_path.as_ptr(),
            F_EMPTY_PATH | T_SYMLINKS | T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// What mount_setattr(2) changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Attributes to set, see [`attr`].
    pub set: u64,
    /// Attributes to clear; must hold [`attr::ATIME`] when `set` has an access time mode.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
    /// Every mount below too.
    pub recursive: bool,
}

/// mount_setattr(2) on the mount behind `fd` (Linux 5.12).
pub fn mount_setattr(fd: BorrowedFd<'_>, change: SetAttr) -> Result<()> {
    let raw = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: 0,
    };
    set_attributes(fd, &raw, change.recursive)
}

/// mount_setattr(2) with `MOUNT_ATTR_IDMAP`: the mount behind `fd`, which must not be attached yet,
/// translates ids as the user namespace does (Linux 5.12, and the file system must know how).
pub fn translate_ids(fd: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let raw = libc::mount_attr {
        attr_set: attr::IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: namespace.as_raw_fd() as u64,
    };
    set_attributes(fd, &raw, recursive)
}

fn set_attributes(fd: BorrowedFd<'_>, raw: &libc::mount_attr, recursive: bool) -> Result<()> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `raw` lives across the call and goes with its size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            raw,
            size_of_val(raw),
        )
    })
    .map(drop)
}
