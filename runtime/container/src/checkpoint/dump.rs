//! checkpoint: saves a container's processes.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cgroup::Mode;
use nix::sys::stat::fstat;

use super::external::Bind;
use super::message::{Feature, kind, option};
use super::mountinfo::{self, Mount};
use super::program::{Program, Start};
use super::wire::Writer;
use super::worker::{Event, Worker};
use super::{CriuOptions, Directories, common, external, make, streams};
use crate::bundle::Bundle;
use crate::container::{Container, Status};
use crate::error::{Context, Error};
use crate::plan::{self, InitPlan, Input};

const LOG: &str = "dump.log";

/// What `checkpoint` is asked for.
#[derive(Debug, Default)]
pub struct CheckpointOptions {
    /// What holds for `restore` as well.
    pub criu: CriuOptions,
    /// Where the images before these are, from those.
    pub parent: Option<PathBuf>,
    /// The processes run on.
    pub leave_running: bool,
    /// Only what is in memory is saved, and the processes run on.
    pub pre_dump: bool,
    /// Without connections that are being opened.
    pub tcp_skip_in_flight: bool,
    /// Files without a name are given one for the time being.
    pub link_remap: bool,
    /// The server that takes the memory's pages: address and port.
    pub page_server: Option<(String, u16)>,
    /// Gets a NUL byte once pages can be fetched.
    pub status: Option<OwnedFd>,
}

impl Container {
    /// Saves its processes, which have ended after that unless they are left running. When it fails,
    /// they run on.
    pub fn checkpoint(&mut self, mut options: CheckpointOptions) -> Result<(), Error> {
        let _lock = self.entry.lock()?;
        self.state = self.entry.load()?;
        match self.status()? {
            Status::Running | Status::Paused => {}
            status => return Err(Error::NoCheckpoint { status: status.as_str() }),
        }
        let program = Program::find()?;
        let bundle = Bundle::load(&self.state.bundle, false)?;
        let plan = plan::build(&Input::of_running(&bundle, &self.state))?;
        make(&options.criu.images)?;
        let dirs = Directories::open(&options.criu, LOG)?;
        let start = Start { directories: dirs.all(), ..Start::default() };
        let worker = Worker::start(&program, start, |_| Ok(()))?;
        let mut message = self.message(&worker, &options, &dirs)?;
        self.name_namespaces(&worker, &plan, &mut message)?;
        let binds = match options.pre_dump {
            true => Vec::new(),
            false => self.name_files(&plan, &options, &mut message)?,
        };
        let wanted = if options.pre_dump { kind::PRE_DUMP } else { kind::DUMP };
        let mut status = options.status.take();
        worker.carry_out(wanted, &message, &dirs.log, &mut |event: Event<'_>| {
            if event.script == b"post-dump" {
                // The processes are stopped, and change nothing any more.
                external::check(&binds, &self.mounts()?, &mountinfo::of("self")?)?;
            }
            if event.script == b"status-ready"
                && let Some(fd) = status.take()
            {
                nix::unistd::write(&fd, &[0]).context(|| "write to --status-fd")?;
            }
            Ok(())
        })
    }

    fn message(
        &self,
        worker: &Worker,
        options: &CheckpointOptions,
        dirs: &Directories,
    ) -> Result<Writer, Error> {
        let root = self.state.rootfs.to_string_lossy();
        let mut message = common(&options.criu, dirs, &root, &self.state);
        message
            .number(option::PID, self.state.pid as u64)
            .flag(option::LEAVE_RUNNING, options.leave_running)
            .flag(option::TCP_SKIP_IN_FLIGHT, options.tcp_skip_in_flight)
            .flag(option::LINK_REMAP, options.link_remap);
        // Without it, criu stops the processes one by one.
        let can_freeze = self.state.cgroup.mode() != Mode::V2 || worker.is_at_least([3, 14, 0]);
        if let Some(dir) = self.state.cgroup.freezer_dir().filter(|_| can_freeze) {
            message.bytes(option::FREEZE_CGROUP, dir.as_os_str().as_encoded_bytes());
        }
        if let Some((address, port)) = &options.page_server {
            let mut server = Writer::default();
            server.bytes(1, address).number(2, (*port).into());
            message.bytes(option::PAGE_SERVER, server);
        }
        if let Some(parent) = &options.parent {
            message.bytes(option::PARENT_IMAGE, parent.as_os_str().as_encoded_bytes());
            message.flag(option::TRACK_MEMORY, true);
        }
        if options.pre_dump {
            worker.needs_feature("--pre-dump", Feature::MemoryTracking)?;
        }
        if options.criu.lazy_pages {
            worker.needs_feature("--lazy-pages", Feature::LazyPages)?;
        }
        if options.status.is_some() {
            // Before, criu does not tell us.
            worker.needs("--status-fd", [3, 15, 0])?;
        }
        Ok(message)
    }

    /// Namespaces that were joined stay, and are not saved.
    fn name_namespaces(
        &self,
        worker: &Worker,
        plan: &InitPlan,
        message: &mut Writer,
    ) -> Result<(), Error> {
        for (flag, path, fd) in &plan.namespaces.join {
            let Some((name, key)) = external::namespace_key(*flag) else { continue };
            worker.needs("a joined network or pid namespace", [3, 15, 0])?;
            let inode = fstat(fd).context(|| format!("stat {path}"))?.st_ino;
            message.bytes(option::EXTERNAL, format!("{name}[{inode}]:{key}"));
        }
        Ok(())
    }

    fn mounts(&self) -> Result<Vec<Mount>, Error> {
        mountinfo::of(&self.state.pid.to_string())
    }

    /// Parts of the host's file tree are not saved. Gives the binds that can be checked.
    fn name_files(
        &self,
        plan: &InitPlan,
        options: &CheckpointOptions,
        message: &mut Writer,
    ) -> Result<Vec<Bind>, Error> {
        let binds = external::binds(plan)?;
        for bind in &binds {
            message.bytes(option::EXTERNAL, format!("mnt[{}]:{0}", bind.target));
        }
        let mounts = self.mounts()?;
        for path in external::masked_files(plan, &mounts) {
            message.bytes(option::EXTERNAL, format!("mnt[{path}]:{}", external::NULL));
        }
        let streams = streams::of(self.state.pid, &mounts);
        for file in streams::files(&streams) {
            message.bytes(option::EXTERNAL, file);
        }
        streams::save(&streams, &options.criu.images)?;
        // In a joined mount namespace, the sources' paths are not ours.
        let joined = plan.namespaces.join.iter().any(|(flag, ..)| *flag == plan::flag::MOUNT);
        Ok(if joined { Vec::new() } else { binds })
    }
}
