//! The container's file system: attached, filled, made the root, closed up.

use std::cell::{OnceCell, RefCell};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::Mode;
use sys::mount::{SetAttr, attr, mount_setattr, move_mount};

use super::procfs::Procfs;
use super::remount::Mounted;
use super::root::Root;
use super::{Result, Step, mount, no_pivot};
use crate::plan::mount_options::propagation;
use crate::plan::{MountPlan, Name, RootfsPlan, Source};

/// The root file system on its way from a directory of the host to `/` of the container.
pub(crate) struct Rootfs<'a> {
    plan: &'a RootfsPlan,
    tree: BorrowedFd<'a>,
    /// What is mounted over it, and is the root then.
    cover: OnceCell<OwnedFd>,
    /// Mounts to make read-only at the end, with their names.
    late: RefCell<Vec<(&'a Name, OwnedFd)>>,
    /// The container's own procfs.
    proc: RefCell<Option<OwnedFd>>,
    mounted: Mounted<'a>,
}

impl<'a> Rootfs<'a> {
    /// Cuts the new mount namespace off from the host's and attaches the root file system.
    pub fn attach(plan: &'a RootfsPlan) -> Result<Rootfs<'a>> {
        let flags = MsFlags::from_bits_truncate(plan.propagation) | MsFlags::MS_REC;
        set_propagation(c"/", flags).step(|| "set the propagation of /")?;
        if plan.propagation == propagation::SHARED {
            make_parent_private(&plan.path)?;
        }
        let tree = plan.tree.copy().step(|| "copy of the rootfs")?;
        move_mount(tree, AT_FDCWD, plan.tree.path())
            .step(|| format!("mount rootfs {}", plan.path.display()))?;
        // Modes and owners are the configuration's until the end.
        nix::sys::stat::umask(Mode::empty());
        let mounted = Mounted::new(&plan.mounts);
        Ok(Rootfs {
            plan,
            tree,
            cover: OnceCell::new(),
            late: RefCell::default(),
            proc: RefCell::default(),
            mounted,
        })
    }

    pub fn root(&self) -> Root<'_> {
        Root(self.cover.get().map_or(self.tree, AsFd::as_fd))
    }

    /// Carries out one entry of `mounts`.
    pub fn mount(&self, plan: &'a MountPlan) -> Result<()> {
        let fd = mount::attach(self.root(), plan, &self.mounted)?;
        self.mounted.keep(plan, fd.as_fd())?;
        if plan.destination.is_empty() {
            if plan.late_readonly {
                let again = fd.try_clone().step(|| plan.name.to_string())?;
                self.late.borrow_mut().push((&plan.name, again));
            }
            // There is one at most, the plan sees to that.
            drop(self.cover.set(fd));
        } else if plan.late_readonly {
            self.late.borrow_mut().push((&plan.name, fd));
        } else if plan.destination == "proc" && matches!(plan.source, Source::New { .. }) {
            self.proc.replace(Some(fd));
        }
        Ok(())
    }

    /// The working directory is made when it is missing, as runc does.
    pub fn make_cwd(&self, cwd: &CStr) -> Result<()> {
        let cwd = cwd.to_string_lossy();
        match self.root().directory(&crate::plan::relative(&cwd)) {
            // Whether the process may go there shows when it does.
            Ok(_) | Err(Errno::EACCES | Errno::EROFS) => Ok(()),
            Err(errno) => Err(errno).step(|| format!("make working directory {cwd}")),
        }
    }

    /// The current directory of hooks that run before the root is the container's.
    pub fn enter(&self) -> Result<()> {
        nix::unistd::fchdir(self.root().0).step(|| "change directory to the rootfs")
    }

    /// Makes it the root directory of this process, and of all that share its mount namespace.
    pub fn pivot(&self) -> Result<()> {
        self.enter()?;
        if self.plan.no_pivot {
            return self.move_to_root();
        }
        let old = self.old_root()?;
        nix::unistd::pivot_root(".", ".").step(|| "pivot_root to the rootfs")?;
        if let Some(old) = old {
            // Its unmounting must not reach the host. "." is still the new root here.
            let slave =
                SetAttr { propagation: propagation::SLAVE, recursive: true, ..SetAttr::default() };
            mount_setattr(old.as_fd(), slave).step(|| "set the propagation of the old root")?;
        }
        // The old root lies on top of the new one.
        umount2(".", MntFlags::MNT_DETACH).step(|| "unmount the old root")?;
        nix::unistd::chdir("/").step(|| "change directory to /")
    }

    /// The root of the host, where the mount namespace shares its mounts with it.
    fn old_root(&self) -> Result<Option<OwnedFd>> {
        if self.plan.propagation != propagation::SHARED {
            return Ok(None);
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open("/", flags, Mode::empty()).step(|| "open the old root").map(Some)
    }

    /// For where pivot_root(2) can't be used: an initramfs as the host's root.
    fn move_to_root(&self) -> Result<()> {
        let shared = self.plan.propagation == propagation::SHARED;
        no_pivot::hide_kernel_filesystems(&self.plan.path, shared)?;
        move_mount(self.root().0, AT_FDCWD, c"/").step(|| "move the rootfs to /")?;
        nix::unistd::chroot(".").step(|| "chroot to the rootfs")?;
        nix::unistd::chdir("/").step(|| "change directory to /")
    }

    /// The container's procfs, or one of our own.
    pub fn procfs(&self) -> Procfs {
        Procfs::new(self.proc.take())
    }

    /// Takes away what only the setting up needed: the right to write, and odd propagation.
    pub fn finish(&self) -> Result<()> {
        let readonly = SetAttr { set: attr::RDONLY, ..SetAttr::default() };
        for (name, fd) in self.late.borrow().iter() {
            mount_setattr(fd.as_fd(), readonly).step(|| format!("make {name} read-only"))?;
        }
        if let Some(change) = self.plan.late_propagation {
            mount_setattr(self.root().0, change)
                .step(|| "linux.rootfsPropagation: set it for the rootfs")?;
        }
        if self.plan.readonly {
            mount_setattr(self.root().0, readonly)
                .step(|| "root.readonly: make the rootfs read-only")?;
        }
        nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
        Ok(())
    }
}

fn set_propagation(path: &CStr, flags: MsFlags) -> nix::Result<()> {
    let none = None::<&str>;
    nix::mount::mount(none, path, none, flags, none)
}

/// pivot_root(2) refuses a parent mount that is shared. Which mount that is shows by trying: only
/// a mount's root can be made private.
fn make_parent_private(rootfs: &Path) -> Result<()> {
    for path in rootfs.ancestors() {
        let none = None::<&str>;
        match nix::mount::mount(none, path, none, MsFlags::MS_PRIVATE, none) {
            Err(Errno::EINVAL) => {}
            result => {
                return result.step(|| format!("make the mount of {} private", path.display()));
            }
        }
    }
    Ok(())
}
