//! Owner, mode, extended attributes and times: what of an entry's is taken, and how it is set.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::apply::Ownership;
use super::owner_record;
use super::tar::{Entry, Kind};
use crate::error::{Error, Result};

/// What an entry says of a file beside its content.
#[derive(Clone, Debug)]
pub struct Metadata {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Metadata {
    /// Takes an entry's metadata, without the attributes that no archive may set.
    pub fn of(entry: &Entry, ownership: Ownership) -> Self {
        let taken = |name: &[u8]| may_set(name, ownership);
        let mut xattrs: Vec<_> =
            entry.xattrs.iter().filter(|(name, _)| taken(name)).cloned().collect();
        // Links and pipes can't have such an attribute.
        let can = !matches!(entry.kind, Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Fifo);
        if ownership == Ownership::Caller && can && (entry.uid, entry.gid) != (0, 0) {
            let record = owner_record::encode(entry.uid, entry.gid);
            xattrs.push((owner_record::NAME.to_vec(), record));
        }
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs }
    }

    fn owner_error(&self, errno: Errno) -> Error {
        match errno {
            Errno::INVAL => Error::refused(format!(
                "its owner {}:{} has no ID in this user namespace",
                self.uid, self.gid
            )),
            errno => Error::step("set the owner")(errno),
        }
    }

    /// A directory that no entry describes.
    pub fn implied() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() }
    }

    /// Sets all of it on an open file or directory. Owner first, for a change of owner takes
    /// setuid bits and capabilities away; times last, for all else may change them.
    pub fn set(&self, fd: impl AsFd, ownership: Ownership) -> Result<()> {
        let fd = fd.as_fd();
        if ownership != Ownership::Caller {
            rustix::fs::fchown(fd, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
                .map_err(|errno| self.owner_error(errno))?;
        }
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())
                .or_else(|errno| xattr_error(name, errno))?;
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode))
            .map_err(Error::step("set the mode"))?;
        rustix::fs::futimens(fd, &self.times()).map_err(Error::step("set the times"))
    }

    /// Sets all of it on a file just made with [`NewFiles::creation_mode`], but for what it has already.
    pub fn set_new(&self, fd: impl AsFd, ownership: Ownership, new: &NewFiles) -> Result<()> {
        let fd = fd.as_fd();
        if new.mode(self) != self.mode {
            return self.set(fd, ownership);
        }
        if ownership != Ownership::Caller && !new.is_owner(self) {
            return self.set(fd, ownership);
        }
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())
                .or_else(|errno| xattr_error(name, errno))?;
        }
        rustix::fs::futimens(fd, &self.times()).map_err(Error::step("set the times"))
    }

    /// Sets all of it on a directory made with [`NewFiles::directory_mode`], but for what it has already.
    pub fn set_new_directory(
        &self,
        fd: BorrowedFd<'_>,
        ownership: Ownership,
        new: &NewFiles,
    ) -> Result<()> {
        let plain = ownership == Ownership::Caller || new.is_owner(self);
        if plain && self.xattrs.is_empty() && new.makes_directories(self.mode) {
            return rustix::fs::futimens(fd, &self.times()).map_err(Error::step("set the times"));
        }
        self.set(fd, ownership)
    }

    /// Sets all of it on `name` in `parent`, which is a symlink, a pipe or a device just made there:
    /// the final component is never followed, and nobody else writes in the tree.
    pub fn set_at(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        symlink: bool,
        ownership: Ownership,
        new: &NewFiles,
    ) -> Result<()> {
        if ownership != Ownership::Caller && !new.is_owner(self) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| self.owner_error(errno))?;
        }
        if !self.xattrs.is_empty() {
            // There is no lsetxattr for a directory descriptor before Linux 6.13.
            let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
            for (key, value) in &self.xattrs {
                rustix::fs::lsetxattr(path.as_slice(), key.as_slice(), value, XattrFlags::empty())
                    .or_else(|errno| xattr_error(key, errno))?;
            }
        }
        if !symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())
                .map_err(Error::step("set the mode"))?;
        }
        rustix::fs::utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::step("set the times"))
    }

    fn times(&self) -> Timestamps {
        times(self.mtime)
    }
}

/// What most directories of an image have.
const DIRECTORY_MODE: u32 = 0o755;

/// What a new file has without being told: two system calls a file that most need not make.
#[derive(Clone, Copy, Debug)]
pub struct NewFiles {
    /// Owner and group, if that is the same in every directory of the tree.
    owner: Option<(u32, u32)>,
    /// Permission bits that a new file doesn't get.
    masked: u32,
}

impl NewFiles {
    /// Files of a tree that may hold directories of any metadata: nothing is known of them.
    pub fn unknown() -> Self {
        Self { owner: None, masked: 0o7777 }
    }

    /// Files of a tree that is empty but for `root`, and whose directories get their metadata only at
    /// the end.
    pub fn below(root: BorrowedFd<'_>) -> Self {
        let Ok(stat) = rustix::fs::fstat(root) else { return Self::unknown() };
        // A default ACL would take the umask's place.
        let mut none = [0_u8; 0];
        match rustix::fs::fgetxattr(root, "system.posix_acl_default", &mut none[..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            _ => return Self::unknown(),
        }
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        // A directory hands its group on where it is setgid, or the file system mounted so.
        let plain = stat.st_gid == gid.as_raw() && stat.st_mode & 0o2000 == 0;
        Self {
            owner: plain.then_some((uid.as_raw(), gid.as_raw())),
            masked: umask().map_or(0o7777, |umask| umask | 0o7000),
        }
    }

    /// The mode to make a file with: none of its data is there yet.
    pub fn creation_mode(&self, metadata: &Metadata) -> Mode {
        match self.mode(metadata) == metadata.mode {
            true => Mode::from_raw_mode(metadata.mode),
            false => Mode::RUSR | Mode::WUSR,
        }
    }

    /// The mode to make a directory with: what most directories have, if that is known to come out.
    pub fn directory_mode(&self) -> Mode {
        match self.makes_directories(DIRECTORY_MODE) {
            true => Mode::from_raw_mode(DIRECTORY_MODE),
            false => Mode::RWXU,
        }
    }

    /// Can a new directory have no attributes but those that it was given?
    pub fn have_no_xattrs(&self) -> bool {
        self.owner.is_some()
    }

    /// Has a new directory this mode? A setgid parent, which hands its group on, hands setgid on too.
    fn makes_directories(&self, mode: u32) -> bool {
        mode == DIRECTORY_MODE && mode & self.masked == 0 && self.owner.is_some()
    }

    /// Has what is new this owner?
    fn is_owner(&self, metadata: &Metadata) -> bool {
        self.owner == Some((metadata.uid, metadata.gid))
    }

    fn mode(&self, metadata: &Metadata) -> u32 {
        metadata.mode & !self.masked
    }
}

/// The process' umask; setting it to learn it would change other threads' files.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// Modification and access time alike: an archive says nothing of access.
fn times(mtime: (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Sets the modification time alone.
pub fn set_mtime(fd: BorrowedFd<'_>, mtime: (i64, u32)) -> Result<()> {
    let mut times = times(mtime);
    times.last_access.tv_nsec = UTIME_OMIT;
    rustix::fs::futimens(fd, &times).map_err(Error::step("set the times"))
}

/// Attributes by which an archive would steer overlayfs or speak for the host's security modules
/// (all of `security.`, but for capabilities) are passed by; so are those that only root may set, for
/// others.
pub(super) fn may_set(name: &[u8], ownership: Ownership) -> bool {
    let capability = name == b"security.capability";
    let never = [&b"trusted.overlay."[..], b"user.overlay.", b"security.", b"system.nfs4_acl"];
    if !capability && never.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    let trusted = name.starts_with(b"trusted.");
    match ownership {
        Ownership::Stored => true,
        // The kernel notes whose root the capabilities are good for.
        Ownership::Namespace => !trusted,
        Ownership::Caller => !trusted && !capability && name != owner_record::NAME,
    }
}

fn xattr_error(name: &[u8], errno: Errno) -> Result<()> {
    if name == owner_record::NAME && errno == Errno::OPNOTSUPP {
        // Nothing that runs depends on the record.
        return Ok(());
    }
    let what = format!("set the extended attribute {}: {errno}", name.escape_ascii());
    Err(Error::refused(what))
}

/// Removes the attributes of a directory that are not in `keep`.
pub fn clear_xattrs(fd: BorrowedFd<'_>, keep: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    for name in list_xattrs(fd).map_err(Error::step("list extended attributes"))? {
        let wanted = keep.iter().any(|(kept, _)| *kept == name);
        if !wanted && may_set(&name, Ownership::Stored) {
            rustix::fs::fremovexattr(fd, name.as_slice())
                .map_err(Error::step("remove an extended attribute"))?;
        }
    }
    Ok(())
}

pub(super) fn list_xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![0_u8; 512];
    let length = loop {
        match rustix::fs::flistxattr(fd, &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(errno) => return Err(errno.into()),
        }
    };
    names.truncate(length);
    Ok(names.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Gives the file or directory `to` the owner, mode, attributes and times of `from`.
///
/// # Errors
/// [`Error::Step`] or [`Error::Refused`] naming the step.
pub fn copy_metadata(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).map_err(Error::step("stat"))?;
    let mut xattrs = Vec::new();
    for name in list_xattrs(from).map_err(Error::step("list extended attributes"))? {
        if !may_set(&name, Ownership::Stored) {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name.as_slice(), &mut value[..])
            .map_err(Error::step("read an extended attribute"))?;
        value.truncate(length);
        xattrs.push((name, value));
    }
    let metadata = Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: mtime(&stat),
        xattrs,
    };
    metadata.set(to, Ownership::Stored)
}

/// A file's modification time, in seconds from 1970 and nanoseconds.
pub fn mtime(stat: &rustix::fs::Stat) -> (i64, u32) {
    // The kernel's nanoseconds are below 10^9.
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_are_taken() {
        for (name, stored, namespace, caller) in [
            ("user.x", true, true, true),
            ("system.posix_acl_access", true, true, true),
            ("security.capability", true, true, false),
            ("trusted.x", true, false, false),
            ("user.rootlesscontainers", true, true, false),
            ("trusted.overlay.opaque", false, false, false),
            ("user.overlay.opaque", false, false, false),
            ("security.selinux", false, false, false),
            ("security.ima", false, false, false),
            ("security.evm", false, false, false),
            ("security.SMACK64EXEC", false, false, false),
            ("security.apparmor", false, false, false),
            ("security.capability.x", false, false, false),
            ("system.nfs4_acl", false, false, false),
        ] {
            let taken = [Ownership::Stored, Ownership::Namespace, Ownership::Caller]
                .map(|ownership| may_set(name.as_bytes(), ownership));
            assert_eq!(taken, [stored, namespace, caller], "{name}");
        }
    }
}
