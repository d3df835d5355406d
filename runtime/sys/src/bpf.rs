//! bpf(2), as far as a device filter on a cgroup needs it: load, attach, replace, detach, list.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, check};

/// What the kernel runs on each open and mknod of a device node (kernel 4.15).
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
/// Where such a program is attached.
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// Other programs stay attached beside this one, and all of them must allow (kernel 4.15).
pub const F_ALLOW_MULTI: u32 = 1 << 1;
/// The new program takes the place of the one that is named, in one step (kernel 5.6).
pub const F_REPLACE: u32 = 1 << 2;

/// The `BPF_PROG_*` commands used here, by their number.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    Load = 5,
    Attach = 8,
    Detach = 9,
    OpenById = 13,
    Info = 15,
    Query = 16,
}

/// The part of `union bpf_attr` that loads a program.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part that attaches and detaches.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part that lists what is attached.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    /// The kernel looks at every byte, and no padding is promised to be 0.
    reserved: u32,
}

/// The part that opens a program by its id.
#[repr(C)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The part that describes what a descriptor is of.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`, up to its name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind_and_id: [u32; 2],
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    owner_and_maps: [u32; 2],
    map_ids: u64,
    name: [u8; 16],
}

/// Calls bpf(2) with one of the `…Attr` structs above.
///
/// # Safety
///
/// `T` must be the part of `union bpf_attr` that `command` reads, and every address in it must stay
/// valid for the call.
unsafe fn bpf<T>(command: Command, attr: &mut T) -> Result<libc::c_long> {
    // SAFETY: `attr` is a live, exclusively borrowed struct of the size that is passed; the caller
    // vouches for the addresses inside.
    check(unsafe {
        libc::syscall(libc::SYS_bpf, command as i32, std::ptr::from_mut(attr), size_of::<T>())
    })
}

/// Takes the descriptor that a successful call returned. bpf(2) opens all of its own close-on-exec.
fn own(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A descriptor as `union bpf_attr` holds it.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Loads a program of type CGROUP_DEVICE. `instructions` are `struct bpf_insn`s in native byte
/// order; `name` is what bpftool shows, of which the kernel keeps 15 bytes.
///
/// # Errors
///
/// EPERM without CAP_BPF (or, before kernel 5.11, with too little RLIMIT_MEMLOCK), EINVAL and
/// EACCES when the verifier refuses the program.
pub fn load_device_filter(instructions: &[u64], license: &CStr, name: &CStr) -> Result<OwnedFd> {
    let mut prog_name = [0; 16];
    for (to, from) in prog_name.iter_mut().take(15).zip(name.to_bytes()) {
        *to = *from;
    }
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: PROG_LOAD reads a LoadAttr; both addresses are of arguments that outlive the call.
    unsafe { bpf(Command::Load, &mut attr) }.map(own)
}

/// Attaches a device filter to a cgroup's directory. `replaced` is the program that [`F_REPLACE`]
/// asks for.
///
/// # Errors
///
/// EPERM when an ancestor's program does not permit another, EINVAL for flags the kernel does not
/// know, ENOENT when `replaced` is not attached here.
pub fn attach_device_filter(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: replaced.map_or(0, number),
    };
    // SAFETY: PROG_ATTACH reads an AttachAttr, which holds no address.
    unsafe { bpf(Command::Attach, &mut attr) }.map(drop)
}

/// Detaches a device filter from a cgroup's directory.
///
/// # Errors
///
/// ENOENT when the program is not attached here.
pub fn detach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: PROG_DETACH reads an AttachAttr, which holds no address.
    unsafe { bpf(Command::Detach, &mut attr) }.map(drop)
}

/// Writes the ids of the device filters attached to a cgroup itself into `ids`, and says how many
/// there are.
///
/// # Errors
///
/// ENOSPC when `ids` is too short (the kernel allows 64 programs a cgroup).
pub fn device_filters(cgroup: BorrowedFd<'_>, ids: &mut [u32]) -> Result<usize> {
    let mut attr = QueryAttr {
        target_fd: number(cgroup),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        reserved: 0,
    };
    // SAFETY: PROG_QUERY reads a QueryAttr and writes at most `prog_cnt` ids at `prog_ids`, which
    // is `ids`, borrowed for the call.
    unsafe { bpf(Command::Query, &mut attr) }?;
    Ok(attr.prog_cnt as usize)
}

/// Opens a loaded program by its id.
///
/// # Errors
///
/// ENOENT when it is gone, EPERM without CAP_SYS_ADMIN.
pub fn program_by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = IdAttr { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: PROG_GET_FD_BY_ID reads an IdAttr, which holds no address.
    unsafe { bpf(Command::OpenById, &mut attr) }.map(own)
}

/// The name that a program was loaded with (kernel 4.15).
pub fn program_name(program: BorrowedFd<'_>) -> Result<String> {
    let mut info = ProgramInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: number(program),
        info_len: size_of::<ProgramInfo>() as u32,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: OBJ_GET_INFO_BY_FD reads an InfoAttr and writes at most `info_len` bytes at `info`,
    // which is a live struct of plain numbers of that size.
    unsafe { bpf(Command::Info, &mut attr) }?;
    let name = info.name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}
