//! The container's terminal: a pseudo-terminal of its own devpts, whose master goes to the runtime.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::fstatfs;
use nix::unistd::Uid;
use sys::mount::{clone_tree, move_mount};
use sys::tty;

use super::root::Root;
use super::{Result, Step, failure, procfs};
use crate::plan::ProcessPlan;
use crate::socket::send_fd;

/// DEVPTS_SUPER_MAGIC of <linux/magic.h>.
const DEVPTS: i64 = 0x1cd1;

fn is_devpts(fd: &OwnedFd) -> Result<()> {
    match fstatfs(fd).step(|| "statfs /dev/pts/ptmx")?.filesystem_type().0 {
        DEVPTS => Ok(()),
        _ => Err(failure("/dev/pts/ptmx is not a devpts's")),
    }
}

/// Makes a terminal in the devpts below `root`, sends its master away and answers with its slave.
pub(crate) fn allocate(
    root: Root<'_>,
    size: Option<tty::Size>,
    process: &ProcessPlan,
    console: Option<OwnedFd>,
) -> Result<OwnedFd> {
    let console = console.ok_or_else(|| failure("process.terminal: no console socket is given"))?;
    let step = || "open /dev/pts/ptmx";
    // Else the image would choose what is opened.
    let pts = root.open("dev/pts", OFlag::O_PATH | OFlag::O_DIRECTORY).step(step)?;
    is_devpts(&pts)?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let master = openat(&pts, "ptmx", flags, Mode::empty()).step(step)?;
    // Something else may be mounted over it.
    is_devpts(&master)?;
    tty::unlock(master.as_fd()).step(|| "unlock the terminal")?;
    let slave = tty::open_peer(master.as_fd()).step(|| "open the terminal")?;
    if let Some(size) = size {
        tty::set_size(master.as_fd(), size).step(|| "set the terminal's size")?;
    }
    // The process must be able to open its own terminal again by name.
    let uid = Uid::from_raw(process.uid);
    if !uid.is_root() {
        nix::unistd::fchown(&slave, Some(uid), None)
            .step(|| format!("give the terminal to uid {uid}"))?;
    }
    let number = tty::number(master.as_fd()).step(|| "number of the terminal")?;
    let name = format!("/dev/pts/{number}");
    send_fd(console.as_fd(), name.as_bytes(), master.as_fd())
        .step(|| "send the terminal to the console socket")?;
    Ok(slave)
}

/// Lets /dev/console be the terminal.
pub(crate) fn bind(root: Root<'_>, slave: &OwnedFd) -> Result<()> {
    let target = root.file("dev/console").step(|| "make /dev/console")?;
    procfs::keep_out(&target, || "bind the terminal to /dev/console".to_owned())?;
    let mount = clone_tree(slave.as_fd(), c"", false).step(|| "bind the terminal")?;
    move_mount(mount.as_fd(), target.as_fd(), c"").step(|| "bind the terminal to /dev/console")
}

/// Makes it this session's terminal, and its standard input, output and error.
pub(crate) fn attach(slave: &OwnedFd) -> Result<()> {
    tty::make_controlling(slave.as_fd()).step(|| "make the terminal the controlling one")?;
    for target in 0..3 {
        sys::file::dup_onto(slave.as_fd(), target).step(|| "attach the terminal")?;
    }
    Ok(())
}
