//! mount(2), for what fsconfig(2) can't take: options longer than 255 bytes, such as the layers of an
//! overlay, and flags that only mount(2) knows.
//!
//! mount(2) names the mount point by a path, and does not tell what it has mounted: the path may lead
//! elsewhere a moment later. So it mounts in a directory that nobody else reaches, and a copy of that
//! mount is attached by its descriptor, as all others are.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchdir;
use sys::mount::{
    SetAttr, attr, clone_tree, fsconfig_create, fsconfig_string, fsmount, fsopen, mount_setattr,
    move_mount,
};

use super::copy_up::copy_up;
use super::filesystem::Parameter;
use super::root::Root;
use super::{Result, Step};
use crate::plan::mount_options::propagation;
use crate::plan::{Filesystem, MountPlan};

/// Mounts a new file system at `target`, a directory, and answers with the mount.
pub(super) fn attach(
    root: Root<'_>,
    plan: &MountPlan,
    new: &Filesystem,
    more: Option<&Parameter>,
    target: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    let name = &plan.name;
    let data = CString::new(data(new, more))
        .map_err(|_| super::failure(format!("{}: NUL byte", name.field("options"))))?;
    let staging = Staging::attach(root).step(|| format!("{name}: make a place to mount it"))?;
    let mounted = nix::mount::mount(
        Some(new.source.as_c_str()),
        Staging::POINT,
        Some(new.fstype.as_c_str()),
        flags(new),
        Some(data.as_c_str()),
    );
    let mount = staging.take();
    mounted.step(|| format!("{}: {:?}", name.field("options"), data.to_string_lossy()))?;
    let mount = mount.step(|| format!("{name}: take it from where it was mounted"))?;
    // The access time mode is one value of several bits.
    let change = SetAttr {
        set: plan.attributes,
        clear: attr::ATIME,
        propagation: propagation::PRIVATE,
        ..SetAttr::default()
    };
    mount_setattr(mount.as_fd(), change).step(|| format!("{name}: set its options"))?;
    if plan.copy_up {
        copy_up(target, mount.as_fd()).step(|| format!("{name}: copy up"))?;
    }
    move_mount(mount.as_fd(), target, c"").step(|| format!("{name}: attach"))?;
    Ok(mount)
}

/// A tmpfs over the container's root, which is reached past it. While it is there, it is the current
/// directory.
struct Staging {
    /// What was the current directory before.
    before: OwnedFd,
}

impl Staging {
    /// Where in it something can be mounted.
    const POINT: &CStr = c"mount";

    fn attach(root: Root<'_>) -> std::result::Result<Staging, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let before = nix::fcntl::open(".", flags, Mode::empty())?;
        let context = fsopen(c"tmpfs")?;
        fsconfig_string(context.as_fd(), c"mode", c"700")?;
        fsconfig_create(context.as_fd())?;
        let tmpfs = fsmount(context.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        mkdirat(&tmpfs, Self::POINT, Mode::S_IRWXU)?;
        move_mount(tmpfs.as_fd(), root.0, c"")?;
        fchdir(&tmpfs)?;
        Ok(Staging { before })
    }

    /// A copy of what is mounted in it. The rest goes.
    fn take(self) -> std::result::Result<OwnedFd, Errno> {
        let mount = clone_tree(nix::fcntl::AT_FDCWD, Self::POINT, false)?;
        umount2(".", MntFlags::MNT_DETACH)?;
        fchdir(self.before)?;
        Ok(mount)
    }
}

/// The last word of each kind counts.
fn flags(new: &Filesystem) -> MsFlags {
    let mut bits = MsFlags::from_bits_truncate(new.old);
    for flag in &new.flags {
        match flag.to_bytes() {
            b"ro" => bits.insert(MsFlags::MS_RDONLY),
            b"rw" => bits.remove(MsFlags::MS_RDONLY),
            b"sync" => bits.insert(MsFlags::MS_SYNCHRONOUS),
            b"async" => bits.remove(MsFlags::MS_SYNCHRONOUS),
            b"dirsync" => bits.insert(MsFlags::MS_DIRSYNC),
            b"mand" => bits.insert(MsFlags::MS_MANDLOCK),
            b"nomand" => bits.remove(MsFlags::MS_MANDLOCK),
            b"lazytime" => bits.insert(MsFlags::MS_LAZYTIME),
            b"nolazytime" => bits.remove(MsFlags::MS_LAZYTIME),
            _ => {}
        }
    }
    bits
}

/// `key=value,key`, with the label in quotes: it may hold commas.
fn data(new: &Filesystem, more: Option<&Parameter>) -> Vec<u8> {
    let words = more.into_iter().chain(&new.data).map(|(key, value)| match value {
        Some(value) => [key.to_bytes(), b"=", value.to_bytes()].concat(),
        None => key.to_bytes().to_vec(),
    });
    let label = new.label.iter().map(|label| [b"context=\"", label.to_bytes(), b"\""].concat());
    words.chain(label).collect::<Vec<_>>().join(&b","[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay() -> Filesystem {
        let word = |text: &str| CString::new(text).unwrap();
        Filesystem {
            fstype: word("overlay"),
            source: word("overlay"),
            flags: ["ro", "sync", "lazytime", "async", "rw", "ro"].map(word).to_vec(),
            old: 1 << 23,
            data: vec![(word("lowerdir"), Some(word("/a:/b"))), (word("userxattr"), None)],
            label: Some(word("system_u:object_r:container_file_t:s0:c1,c2")),
        }
    }

    #[test]
    fn options_and_label_are_one_text() {
        let mode = (c"mode".to_owned(), Some(c"755".to_owned()));
        assert_eq!(
            String::from_utf8(data(&overlay(), Some(&mode))).unwrap(),
            "mode=755,lowerdir=/a:/b,userxattr,\
             context=\"system_u:object_r:container_file_t:s0:c1,c2\""
        );
        let plain = Filesystem { label: None, ..overlay() };
        assert_eq!(data(&plain, None), b"lowerdir=/a:/b,userxattr");
    }

    #[test]
    fn the_last_flag_counts() {
        let wanted = MsFlags::MS_RDONLY | MsFlags::MS_LAZYTIME | MsFlags::MS_I_VERSION;
        assert_eq!(flags(&overlay()), wanted);
    }
}
