//! Id-mapped mounts: a bind mount that shows and stores other owners than the files have, translated as
//! by a user namespace. Setting it takes the privileges of whoever mounted the file system, so it is
//! the parent that does it, to copies that are not attached yet.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use sys::mount::translate_ids;
use sys::process::{CloneArgs, Cloned, clone3, exit_now};

use crate::error::{Context, Error};
use crate::plan::{MountPlan, Namespaces, Source, flag};
use crate::process::Process;
use crate::sync::Channel;
use crate::user_namespace::write_proc;

/// How the ids of one mount are translated.
#[derive(Debug)]
pub(crate) struct IdMap {
    /// Those of the mounts below it too.
    pub recursive: bool,
    /// The contents of uid_map and gid_map; none for those of the container's user namespace.
    pub maps: Option<(String, String)>,
}

/// The user namespaces that mounts of one container are translated by.
pub(crate) struct Translator<'a> {
    namespaces: &'a Namespaces,
    /// The container's init, once it is there.
    init: Option<i32>,
    made: Vec<(&'a (String, String), OwnedFd)>,
}

impl<'a> Translator<'a> {
    pub fn new(namespaces: &'a Namespaces, init: Option<i32>) -> Translator<'a> {
        Translator { namespaces, init, made: Vec::new() }
    }

    /// Answers init, which has just asked for one of `mounts` and sends its copy.
    pub fn answer(
        &mut self,
        mounts: &'a [MountPlan],
        index: u32,
        channel: &Channel,
    ) -> Result<(), Error> {
        let tree = channel.receive_fd().context(|| "receive a mount from the container's init")?;
        match mounts.get(index as usize) {
            Some(mount) => self.translate(mount, tree.as_fd()),
            None => Ok(()),
        }
    }

    /// Makes `tree`, the copy of the mount's source, translate ids as the mount's plan says.
    pub fn translate(&mut self, mount: &'a MountPlan, tree: BorrowedFd<'_>) -> Result<(), Error> {
        let Source::Tree(host) = &mount.source else { return Ok(()) };
        let Some(map) = &host.idmap else { return Ok(()) };
        let result = match &map.maps {
            None => translate_ids(tree, self.own(mount)?.as_fd(), map.recursive),
            Some(maps) => translate_ids(tree, self.by(maps, mount)?, map.recursive),
        };
        let field = if map.maps.is_some() { "uidMappings" } else { "options" };
        result.context(|| {
            let path = host.path().to_string_lossy();
            let unable = match (&result, fstype(tree)) {
                (Err(Errno::EINVAL), Some(fstype)) => format!(" (can {fstype} be id-mapped?)"),
                _ => String::new(),
            };
            format!("{}: translate the ids of {path}{unable}", mount.name.field(field))
        })
    }

    /// The container's user namespace.
    fn own(&self, mount: &MountPlan) -> Result<OwnedFd, Error> {
        let step = || format!("{}: open the user namespace", mount.name.field("options"));
        let joined = self.namespaces.join.iter().find(|(kind, ..)| *kind == flag::USER);
        match (joined, self.init) {
            (Some((.., fd)), _) => fd.try_clone().context(step),
            (None, Some(init)) => open(init).context(step),
            (None, None) => Err(Errno::EINVAL).context(step),
        }
    }

    /// A user namespace with these maps.
    fn by(
        &mut self,
        maps: &'a (String, String),
        mount: &MountPlan,
    ) -> Result<BorrowedFd<'_>, Error> {
        let at = match self.made.iter().position(|(made, _)| *made == maps) {
            Some(at) => at,
            None => {
                self.made.push((maps, make(maps, mount)?));
                self.made.len() - 1
            }
        };
        Ok(self.made[at].1.as_fd())
    }
}

/// The name of the file system that a mount shows the root of.
fn fstype(mount: BorrowedFd<'_>) -> Option<String> {
    let device = nix::sys::stat::fstat(mount).ok()?.st_dev;
    let device = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let row = table.lines().find(|row| row.split(' ').nth(2) == Some(&device))?;
    Some(row.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

fn open(pid: i32) -> Result<OwnedFd, std::io::Error> {
    File::open(format!("/proc/{pid}/ns/user")).map(OwnedFd::from)
}

/// A namespace needs a process to be made, and lives on by its descriptor.
fn make(maps: &(String, String), mount: &MountPlan) -> Result<OwnedFd, Error> {
    let step = |field| format!("{}: make a user namespace", mount.name.field(field));
    let (ours, theirs) = Channel::pair().context(|| step("uidMappings"))?;
    let args = CloneArgs { flags: flag::USER, cgroup: None };
    match clone3(&args).context(|| step("uidMappings"))? {
        Cloned::Child => {
            // Until the parent has what it needs, or is no more.
            drop(ours);
            drop(theirs.receive());
            exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let holder = Process { pid, pidfd };
            drop(theirs);
            let write = |field: &str, name, map: &str| {
                write_proc(pid, name, map).context(|| {
                    let lines = map.trim_end().replace('\n', ", ");
                    format!("{}: {lines}", mount.name.field(field))
                })
            };
            let made = write("uidMappings", "uid_map", &maps.0)
                .and_then(|()| write("gidMappings", "gid_map", &maps.1))
                .and_then(|()| open(pid).context(|| step("uidMappings")));
            drop(ours);
            // It has nothing else to do than to end.
            let _ = holder.wait();
            made
        }
    }
}
