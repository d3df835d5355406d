//! Saving what a container's processes are at, and making them anew from that: criu's work, as runc has
//! it done, with files that are runc's too.

mod dump;
mod external;
mod log_file;
mod message;
mod mountinfo;
mod program;
mod restore;
mod stage;
mod streams;
mod wire;
mod worker;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use dump::CheckpointOptions;
pub use restore::{RestoreOptions, restore};

use crate::error::{Context, Error};
use crate::plan::flag;
use crate::store::State;
use message::option;
use wire::Writer;

/// What is asked of criu both when it saves and when it restores.
#[derive(Debug, Clone, Default)]
pub struct CriuOptions {
    /// The directory of the images.
    pub images: PathBuf,
    /// The directory of logs and other files; that of the images without one.
    pub work: Option<PathBuf>,
    /// With its open TCP connections.
    pub tcp_established: bool,
    /// With Unix sockets whose other ends are outside.
    pub ext_unix_sk: bool,
    /// With a terminal that is not the container's.
    pub shell_job: bool,
    /// With file locks, which nobody else may hold.
    pub file_locks: bool,
    /// Memory images without what newer ones have too.
    pub auto_dedup: bool,
    /// Memory is fetched when it is needed.
    pub lazy_pages: bool,
    /// What is done about cgroups.
    pub cgroups: CgroupsMode,
}

/// `--manage-cgroups-mode`: criu's `criu_cg_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Not touched.
    Ignore = 0,
    /// Those that are not there are made, with their properties.
    Soft = 3,
    /// They all get their properties.
    Full = 4,
    /// None may be there.
    Strict = 5,
    /// criu's own choice, which is soft.
    #[default]
    Default = 6,
}

/// `CLONE_NEWNET`: the devices of a network namespace are the engine's to make.
const EMPTY: u64 = flag::NET;

/// criu's log level that tells what it does.
const LOG_LEVEL: u64 = 4;

/// Where settings for criu are that hold for all containers, unless an annotation says otherwise.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
const CONFIG_ANNOTATION: &str = "org.criu.config";

/// The directories that criu writes to, open as long as it needs them.
struct Directories {
    images: (File, PathBuf),
    work: Option<(File, PathBuf)>,
    log: PathBuf,
}

impl Directories {
    /// That of the images must be there.
    fn open(options: &CriuOptions, log: &str) -> Result<Directories, Error> {
        let images = open(&options.images)?;
        let work = options.work.as_deref().map(|path| make(path).and_then(|()| open(path)));
        let log = options.work.as_ref().unwrap_or(&options.images).join(log);
        Ok(Directories { images, work: work.transpose()?, log })
    }

    /// With their numbers.
    fn all(&self) -> Vec<(RawFd, &Path)> {
        let all = [Some(&self.images), self.work.as_ref()].into_iter().flatten();
        all.map(|(file, path)| (file.as_raw_fd(), path.as_path())).collect()
    }
}

fn open(path: &Path) -> Result<(File, PathBuf), Error> {
    let step = || format!("open {}", path.display());
    let file = File::open(path).context(step)?;
    match file.metadata().context(step)?.is_dir() {
        true => Ok((file, path.to_owned())),
        false => Err(Error::system(step(), nix::errno::Errno::ENOTDIR)),
    }
}

/// For its owner alone: the images have all that is in the processes' memory.
fn make(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).context(|| format!("create {}", path.display()))
        }
        // What else it may be shows when it is opened.
        _ => Ok(()),
    }
}

/// What criu is told in any case.
fn common(options: &CriuOptions, dirs: &Directories, root: &str, state: &State) -> Writer {
    let mut message = Writer::default();
    message
        .number(option::IMAGES_DIR_FD, dirs.images.0.as_raw_fd() as u64)
        .number(option::LOG_LEVEL, LOG_LEVEL)
        .bytes(option::LOG_FILE, dirs.log.file_name().unwrap_or_default().as_encoded_bytes())
        .bytes(option::ROOT, root)
        .flag(option::MANAGE_CGROUPS, true)
        .number(option::MANAGE_CGROUPS_MODE, options.cgroups as u64)
        .flag(option::NOTIFY_SCRIPTS, true)
        .flag(option::SHELL_JOB, options.shell_job)
        .flag(option::TCP_ESTABLISHED, options.tcp_established)
        .flag(option::EXT_UNIX_SK, options.ext_unix_sk)
        .flag(option::FILE_LOCKS, options.file_locks)
        .number(option::EMPTY_NS, EMPTY)
        .flag(option::ORPHAN_PTS_MASTER, true)
        .flag(option::AUTO_DEDUP, options.auto_dedup)
        .flag(option::LAZY_PAGES, options.lazy_pages);
    if let Some((work, _)) = &dirs.work {
        message.number(option::WORK_DIR_FD, work.as_raw_fd() as u64);
    }
    match state.annotations.get(CONFIG_ANNOTATION).map(String::as_str) {
        // None at all.
        Some("") => {}
        file => drop(message.bytes(option::CONFIG_FILE, file.unwrap_or(CONFIG_FILE))),
    }
    message
}
