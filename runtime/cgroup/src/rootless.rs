//! Whether the runtime lacks the privileges that control groups are usually managed with.

use nix::sys::stat::stat;
use nix::unistd::geteuid;

/// `PROC_USER_INIT_INO` of the kernel, which never changed it: the first user namespace's inode.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Another user than root, or root of a user namespace. One system call at most.
#[must_use]
pub fn is_rootless() -> bool {
    !geteuid().is_root()
        || stat("/proc/self/ns/user").is_ok_and(|ns| ns.st_ino != INITIAL_USER_NAMESPACE)
}
