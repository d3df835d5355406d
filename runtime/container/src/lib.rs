//! The lifecycle of an OCI container.
//!
//! ```text
//! create:  Bundle::load -> plan::build -> store::reserve -> cgroup -> spawn -> init::run (the child)
//! start:   connect to the waiting init -> startContainer hooks, exec -> poststart hooks
//! exec:    plan::process -> one clone3 -> setns on a pidfd -> exec
//! ```
//!
//! The parent turns the configuration into plain data (`plan`); the child only acts on it (`init`).

mod agent;
mod attributes;
mod bundle;
mod census;
mod check;
mod checkpoint;
mod container;
mod create;
mod error;
mod exec;
pub mod foreground;
pub mod guard;
mod hooks;
mod host_tree;
mod idmap;
mod init;
mod intel_rdt;
mod json_path;
mod json_tree;
mod network;
mod oom_score;
mod place;
mod plan;
mod process;
pub mod readiness;
mod report;
mod respell;
mod socket;
mod spawn;
mod start;
mod store;
mod sync;
mod time;
mod type_errors;
mod update;
mod user_namespace;
mod watch;

pub use bundle::Bundle;
pub use cgroup::stats::Stats;
pub use check::{Finding, Kind, check};
pub use checkpoint::{CgroupsMode, CheckpointOptions, CriuOptions, RestoreOptions, restore};
pub use container::{Container, Status};
pub use create::{CreateOptions, OCI_VERSION, Prepared, Running, create, prepare, write_pid_file};
pub use error::{Error, InitFailure, Os, Violation};
pub use exec::ExecOptions;
pub use plan::mount_options::KNOWN as MOUNT_OPTIONS;
pub use plan::scheduling::{MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES};
pub use process::Process;
pub use store::{Store, check_id};
pub use time::rfc3339;
pub use update::read_resources;
pub use watch::{Event, Watch};
