//! The image's user, looked up in its own passwd and group files.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::inside;

/// The largest passwd or group file that is read, in bytes.
const FILE_LIMIT: u64 = 4 << 20;
/// The most groups that a process is put into: the kernel's NGROUPS_MAX.
const GROUP_LIMIT: usize = 65536;

/// Whom the process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessUser {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Further groups.
    pub additional_gids: Vec<u32>,
}

/// Looks up `user`, `uid`, `user:group`, `uid:gid`, `user:gid` or `uid:group`; empty means root. Numbers
/// are taken as they are, names must be in the rootfs. Further groups are only those of a name
/// that comes without a group.
///
/// # Errors
/// [`Error::User`] for an unknown name, a number that is no ID, or a file that can't be read safely.
pub fn resolve(text: &str, rootfs: BorrowedFd<'_>) -> Result<ProcessUser> {
    let passwd = || read(rootfs, "etc/passwd");
    let group = || read(rootfs, "etc/group");
    lookup(text, passwd, group)
        .map_err(|reason| Error::User { user: text.escape_debug().to_string(), reason })
}

fn lookup<P, G>(
    text: &str,
    passwd: impl Fn() -> Result<P, String>,
    group: impl Fn() -> Result<G, String>,
) -> Result<ProcessUser, String>
where
    P: BufRead,
    G: BufRead,
{
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let mut found = ProcessUser::default();
    let mut name = None;
    match (user, id(user)?) {
        ("", _) => {}
        (_, Some(uid)) => {
            found.uid = uid;
            // A user without an entry has the group of root, as with every other tool.
            if wanted_group.is_none()
                && let Some((_, gid)) = passwd_entry(passwd()?, |_, id| id == uid)?
            {
                found.gid = gid;
            }
        }
        (user, None) => {
            let entry = passwd_entry(passwd()?, |entry, _| entry == user.as_bytes())?;
            (found.uid, found.gid) = entry.ok_or("no such user in the image's /etc/passwd")?;
            name = Some(user);
        }
    }
    match wanted_group {
        Some("") => return Err("a ':' without a group behind it".to_owned()),
        Some(wanted) => {
            found.gid = match id(wanted)? {
                Some(gid) => gid,
                None => groups(group()?, |entry, _| entry == wanted.as_bytes())?
                    .first()
                    .copied()
                    .ok_or("no such group in the image's /etc/group")?,
            };
        }
        None => {
            if let Some(name) = name {
                let member = |_: &[u8], members: &[u8]| {
                    members.split(|b| *b == b',').any(|member| member == name.as_bytes())
                };
                found.additional_gids = groups(group()?, member)?;
                found.additional_gids.retain(|gid| *gid != found.gid);
            }
        }
    }
    Ok(found)
}

/// An ID if the text is all digits. IDs above 2^31 wrap round in too many programs (CVE-2024-40635).
fn id(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<i32>() {
        Ok(id) => Ok(Some(id.unsigned_abs())),
        Err(_) => Err(format!("{text} is larger than any ID may be")),
    }
}

/// User and group ID of the first entry that fits. Broken lines are passed by, as libc does.
fn passwd_entry(
    file: impl BufRead,
    fits: impl Fn(&[u8], u32) -> bool,
) -> Result<Option<(u32, u32)>, String> {
    for line in lines(file) {
        let line = line?;
        let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        if let [name, _, uid, gid, ..] = fields[..]
            && let (Some(uid), Some(gid)) = (number(uid), number(gid))
            && fits(name, uid)
        {
            return Ok(Some((uid, gid)));
        }
    }
    Ok(None)
}

/// IDs of the groups that fit, each once.
fn groups(file: impl BufRead, fits: impl Fn(&[u8], &[u8]) -> bool) -> Result<Vec<u32>, String> {
    let mut gids = Vec::new();
    let mut seen = HashSet::new();
    for line in lines(file) {
        let line = line?;
        let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        if let [name, _, gid, members] = fields[..]
            && let Some(gid) = number(gid)
            && fits(name, members)
            && seen.insert(gid)
        {
            gids.push(gid);
            if gids.len() > GROUP_LIMIT {
                return Err(format!("is in more than {GROUP_LIMIT} groups"));
            }
        }
    }
    Ok(gids)
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok().and_then(|text| id(text).ok().flatten())
}

fn lines(file: impl BufRead) -> impl Iterator<Item = Result<Vec<u8>, String>> {
    file.split(b'\n').map(|line| line.map_err(|error| error.to_string()))
}

/// Opens a file of the rootfs: symlinks stay inside of it, and nothing but a plain file is read.
/// One that is missing is as good as an empty one: images from scratch have neither.
fn read(rootfs: BorrowedFd<'_>, path: &str) -> Result<Box<dyn BufRead>, String> {
    let open = |flags: OFlags| {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        inside::open(rootfs, path, flags, resolve)
    };
    let check = |fd: &std::os::fd::OwnedFd| {
        let stat = rustix::fs::fstat(fd).map_err(|errno| format!("/{path}: {errno}"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_size.unsigned_abs() > FILE_LIMIT => {
                Err(format!("/{path} is larger than {FILE_LIMIT} bytes"))
            }
            FileType::RegularFile => Ok(()),
            _ => Err(format!("/{path} is no plain file")),
        }
    };
    // A device must not even be opened before it is known for one.
    let probe = match open(OFlags::PATH | OFlags::CLOEXEC) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Box::new(std::io::empty())),
        Err(errno) => return Err(format!("/{path}: {errno}")),
    };
    check(&probe)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = open(flags).map_err(|errno| format!("/{path}: {errno}"))?;
    check(&fd)?;
    Ok(Box::new(BufReader::new(File::from(fd).take(FILE_LIMIT))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/:/bin/sh\n7up:x:5:5:::\n";
    const GROUP: &str = "root:x:0:\nvideo:x:44:app,x\napp:x:1001:app\naudio:x:29:root,app\nbad:x:y:app\nvideo2:x:44:app\n";

    fn find(text: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let user = lookup(text, || Ok(PASSWD.as_bytes()), || Ok(GROUP.as_bytes()))?;
        Ok((user.uid, user.gid, user.additional_gids))
    }

    #[test]
    fn users() {
        for (text, uid, gid, more) in [
            ("", 0, 0, vec![]),
            ("0", 0, 0, vec![]),
            ("root", 0, 0, vec![29]),
            ("app", 1000, 1001, vec![44, 29]),
            ("1000", 1000, 1001, vec![]),
            ("4242", 4242, 0, vec![]),
            ("app:video", 1000, 44, vec![]),
            ("app:9", 1000, 9, vec![]),
            ("1000:9", 1000, 9, vec![]),
            ("1000:audio", 1000, 29, vec![]),
            ("7up", 5, 5, vec![]),
            (":44", 0, 44, vec![]),
        ] {
            assert_eq!(find(text), Ok((uid, gid, more)), "{text}");
        }
    }

    #[test]
    fn refused_users() {
        for text in ["nobody", "app:nogroup", "app:", "2147483648", "0:4294967296", "-1", "broken"]
        {
            assert!(find(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_that_are_none() {
        for number in [
            "2147483648",
            "4294967295",
            "4294967296",
            "4294967297",
            "18446744073709551617",
            "-1",
            "+1",
            "0x1",
            " 1",
            "",
        ] {
            let passwd = format!("uid:x:{number}:5::/:\ngid:x:5:{number}::/:\n");
            let group = format!("gid:x:{number}:ok\n");
            for user in ["uid", "gid", "0:gid"] {
                let found = lookup(user, || Ok(passwd.as_bytes()), || Ok(group.as_bytes()));
                assert!(found.is_err(), "{number}, {user}: {found:?}");
            }
            let ok = || Ok("ok:x:7:7::/:\n".as_bytes());
            let found = lookup("ok", ok, || Ok(group.as_bytes())).unwrap();
            assert_eq!(found.additional_gids, [0; 0], "{number}");
        }
    }

    #[test]
    fn as_many_groups_as_a_process_can_have() {
        let passwd = || Ok("app:x:1:0::/:\n".as_bytes());
        let of = |count: usize| {
            let group = |n: usize| format!("g:x:{n}:app\n").repeat(2);
            (1..=count).map(group).collect::<String>()
        };
        let (most, more) = (of(GROUP_LIMIT), of(GROUP_LIMIT + 1));
        let found = lookup("app", passwd, || Ok(most.as_bytes())).unwrap();
        assert_eq!(found.additional_gids.len(), GROUP_LIMIT);
        let error = lookup("app", passwd, || Ok(more.as_bytes())).unwrap_err();
        assert!(error.contains("more than 65536 groups"), "{error}");
    }

    #[test]
    fn numbers_need_no_files() {
        let none = || Err::<&[u8], _>("no file".to_owned());
        let user = lookup("5:6", none, none).unwrap();
        assert_eq!((user.uid, user.gid), (5, 6));
    }
}
