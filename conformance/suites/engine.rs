//! What the engines' suites share: a /run of the case's own, the daemon, the cgroups that an engine
//! keeps for itself, and what is said on a terminal.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Call, Running, wait_until};
use crate::case::{Failure, Outcome};
use crate::console::Terminal;
use crate::env::Env;
use crate::leaks;
use crate::{ensure, ensure_eq};

/// What of the machine's /run an engine needs in its own: the way to systemd.
const KEPT: &[&str] = &["/run/systemd", "/run/dbus"];

/// Mount a fresh /run: the shims' sockets and the clients' pipes have fixed places below it. The
/// runner's leak check knows the mount by its source, the case's directory.
pub fn enter_run(env: &Env) -> Outcome {
    let mut kept: Vec<(&Path, OwnedFd)> = Vec::new();
    for path in KEPT.iter().map(Path::new).filter(|path| path.is_dir()) {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        kept.push((path, open_tree(CWD, path, flags)?));
    }
    let data: Option<&std::ffi::CStr> = None;
    mount(&env.dir, "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, data)?;
    for (path, tree) in kept {
        fs::create_dir(path)?;
        move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    Ok(())
}

/// Unmount it again.
pub fn leave_run() -> Outcome {
    for path in KEPT.iter().map(Path::new).filter(|path| path.is_dir()) {
        unmount(path, UnmountFlags::DETACH)?;
    }
    Ok(unmount("/run", UnmountFlags::empty())?)
}

/// A daemon that the case started.
pub struct Daemon {
    running: Running,
}

impl Daemon {
    /// Start it and wait until `ready` holds.
    pub fn start(
        call: Call,
        limit: Duration,
        mut ready: impl FnMut() -> Result<bool, Failure>,
    ) -> Result<Self, Failure> {
        let mut running = call.limit(limit).spawn()?;
        let up = wait_until(limit, "the daemon to answer", || {
            if let Some(status) = running.child.try_wait()? {
                return Err(Failure(format!("the daemon ended: {status}")));
            }
            Ok(ready()?.then_some(()))
        });
        match up {
            Ok(()) => Ok(Self { running }),
            Err(Failure(why)) => Err(Failure(format!("{why}: {}", running.stderr_tail()?))),
        }
    }

    /// Send it a signal.
    pub fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill_process(Pid::from_child(&self.running.child), signal)?)
    }

    /// End it as a service manager does.
    pub fn end(self) -> Outcome {
        self.signal(Signal::TERM)?;
        self.running.wait()?;
        Ok(())
    }

    /// End it without a chance to tidy up.
    pub fn crash(self) -> Outcome {
        self.signal(Signal::KILL)?;
        self.running.wait()?;
        Ok(())
    }
}

/// Unmount the storage directory that an engine binds on itself; nothing else may be mounted
/// beside it or below.
pub fn unmount_storage(storage: &Path) -> Outcome {
    let parent = storage.parent().unwrap_or(storage).to_string_lossy().into_owned();
    for line in leaks::mounts().iter().rev().filter(|line| line.contains(&parent)) {
        let target = line.split(' ').nth(4).unwrap_or_default();
        ensure_eq!(target, storage.to_string_lossy(), "a mount is left");
        unmount(target, UnmountFlags::empty())?;
    }
    Ok(())
}

/// Remove the group `name` of every hierarchy, which the engine keeps; the groups below it, the
/// containers', must be gone but for those that `own` says are the engine's.
pub fn remove_groups(env: &Env, name: &str, own: fn(&str) -> bool) -> Outcome {
    for root in env.shared.host.cgroup_roots() {
        remove_group(env, &root.join(name), own)?;
    }
    Ok(())
}

fn remove_group(env: &Env, group: &Path, own: fn(&str) -> bool) -> Outcome {
    for child in folders(group) {
        let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        wait_until(env.shared.limit, &format!("the group {} to go", child.display()), || {
            leaks::reap();
            Ok((own(&name) || !child.exists()).then_some(()))
        })?;
        remove_group(env, &child, own)?;
    }
    wait_until(env.shared.limit, &format!("{} to be empty", group.display()), || {
        leaks::reap();
        Ok((!group.exists() || fs::remove_dir(group).is_ok()).then_some(()))
    })
}

/// The directories in a directory.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>());
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries
        .unwrap_or_default()
        .iter()
        .filter(|entry| is_dir(entry))
        .map(fs::DirEntry::path)
        .collect()
}

/// The pids of the processes whose command line contains every one of `words`.
pub fn processes_with(words: &[&str]) -> Vec<i32> {
    let has = |line: &str| words.iter().all(|word| line.contains(word));
    leaks::processes().into_iter().filter(|(_, line)| has(line)).map(|(pid, _)| pid).collect()
}

/// Kill a process by its id, without a chance to tidy up.
pub fn kill(pid: i32) -> Outcome {
    let pid = Pid::from_raw(pid).ok_or_else(|| Failure(format!("pid {pid}")))?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// The number that a control file of a container's group holds, on either version of cgroups:
/// `v1` is CONTROLLER/FILE.
pub fn group_file(env: &Env, group: &str, v1: &str, v2: &str) -> Result<String, Failure> {
    let root = Path::new("/sys/fs/cgroup");
    let path = if env.shared.host.v2 {
        root.join(group).join(v2)
    } else {
        let (controller, file) = v1.split_once('/').unwrap_or_default();
        root.join(controller).join(group).join(file)
    };
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    ensure!(!text.is_empty(), "{} is empty", path.display());
    Ok(text.trim().to_owned())
}

/// Check that the runtime keeps no container below `root`, where it has a directory for each of the
/// engine's namespaces; whatever the name, Docker's for runc is that of all runtimes.
pub fn no_state(root: &Path) -> Outcome {
    for namespace in folders(root) {
        ensure_eq!(folders(&namespace), Vec::<PathBuf>::new(), "containers that the runtime has");
    }
    ensure!(root.is_dir(), "there is no {}", root.display());
    Ok(())
}

/// The cgroups whose name has `word` in it, of every hierarchy.
pub fn groups_of(env: &Env, word: &str) -> Vec<PathBuf> {
    env.shared.host.cgroup_roots().iter().flat_map(|root| leaks::groups_with(root, word)).collect()
}

/// Call a shell on a terminal, by what `call` makes of the command: it sees the terminal's size, reads
/// a line and gives its exit code.
pub fn talk(env: &Env, call: impl FnOnce(&[&str]) -> Call) -> Outcome {
    talk_over(env, 4, call)
}

/// The same, over a command that exits with `code` whatever the shell's is.
pub fn talk_over(env: &Env, code: i32, call: impl FnOnce(&[&str]) -> Call) -> Outcome {
    let (_terminal, running) = begin(env, "exit 4", call)?;
    running.wait()?.expect_code(code)
}

/// The same, and then it learns of another size and is interrupted.
pub fn talk_resize_and_interrupt(env: &Env, call: impl FnOnce(&[&str]) -> Call) -> Outcome {
    let then = "trap 'stty size' WINCH; echo armed; while true; do sleep 0.02; done";
    let (mut terminal, running) = begin(env, then, call)?;
    terminal.expect("armed", env.shared.limit)?;
    terminal.resize(50, 120)?;
    terminal.expect("50 120", env.shared.limit)?;
    terminal.write("\u{3}")?;
    running.wait()?.expect_code(130)
}

fn begin(
    env: &Env,
    then: &str,
    call: impl FnOnce(&[&str]) -> Call,
) -> Result<(Terminal, Running), Failure> {
    let (mut terminal, slave) = Terminal::open(37, 91)?;
    // Who attaches late learns of it again.
    let script = format!(
        "until [ \"$(stty size)\" = '37 91' ]; do sleep 0.02; done; \
         until tty; echo sized; read -t 1 line; do :; done; echo got $line; {then}"
    );
    let running = call(&["sh", "-c", &script]).on_terminal(&slave)?.spawn()?;
    drop(slave);
    for (text, answer) in [("/dev/pts/", ""), ("sized", "typed\r"), ("got typed", "")] {
        terminal.expect(text, env.shared.limit * 3)?;
        terminal.write(answer)?;
    }
    Ok((terminal, running))
}
