//! Control groups v1 (pure and hybrid) and v2 behind one type, [`Cgroup`].
//!
//! `linux.resources` is turned into a plain list of writes first (`plan`), which needs no kernel;
//! an executor then makes them. The device rules are a list of their own (`devices`): written to
//! the v1 controller, or assembled into an eBPF program on v2.

#![forbid(unsafe_code)]

mod apply;
mod below;
mod create;
mod devices;
mod dir;
mod error;
mod freeze;
mod hierarchy;
mod join;
mod kill;
mod lacks;
mod locate;
mod membership;
mod mode;
mod oom;
mod owner;
mod pids;
mod plan;
mod remove;
mod rootless;
mod scope;
pub mod stats;
mod systemd;
mod tree;
mod undo;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use create::DeviceRules;
pub use error::{Error, Result};
pub use hierarchy::Hierarchy;
pub use membership::places_of;
pub use mode::Mode;
pub use oom::OomWatch;
pub use rootless::is_rootless;
pub use scope::ScopePlan;
pub use systemd::{BusError, Manager};

/// The place of one container in every hierarchy. It holds paths, no descriptors, and is saved with
/// the container's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    mode: Mode,
    hierarchies: Vec<Hierarchy>,
    /// Where it has no cgroup of its own. Of interest while it is made only.
    #[serde(skip)]
    inherited: Vec<Hierarchy>,
    /// The systemd unit it is; without one, the directories are the runtime's to make and remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<systemd::Scope>,
}

impl Cgroup {
    /// What is mounted on the host.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// All of the container's places: v1 hierarchies in the order of their mounts, then v2.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The directory that holds a controller's files, such as "memory" or "name=systemd"; "" is the
    /// v2 directory. On a pure v2 host every controller is in the one directory there is.
    #[must_use]
    pub fn path_of(&self, controller: &str) -> Option<PathBuf> {
        self.hierarchy(controller).map(Hierarchy::dir)
    }

    /// The hierarchies where it stays in the runtime's own cgroup, which is their path, because the
    /// caller may not make another. A limit there is an error; there are no device rules, nothing to
    /// freeze, and no list of processes.
    #[must_use]
    pub fn inherited(&self) -> &[Hierarchy] {
        &self.inherited
    }

    /// The hierarchy that a controller is on.
    fn hierarchy(&self, controller: &str) -> Option<&Hierarchy> {
        match self.mode {
            Mode::V2 => self.hierarchies.first(),
            Mode::V1 | Mode::Hybrid => self.hierarchies.iter().find(|one| one.has(controller)),
        }
    }

    /// The v2 hierarchy, pure or the hybrid's.
    fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|one| one.is_unified())
    }

    /// The hierarchy that answers which processes the container has: all hierarchies hold the same.
    fn census(&self) -> Option<&Hierarchy> {
        self.unified().or_else(|| self.hierarchy("devices")).or_else(|| self.hierarchies.first())
    }
}
