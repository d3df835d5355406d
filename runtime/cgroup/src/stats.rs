//! What a container has used, as `events` tells it.
//!
//! The names and the order of the fields are those of runc's types/events.go, which engines decode;
//! a number there that is 0 and marked so is left out. v2's values appear under v1's names.

mod files;
mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Cgroup, Mode, Result};

/// Everything the controllers have counted since the cgroup was made.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// CPUs and memory nodes; v1 only.
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by their size, such as "2MB".
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Processor time.
#[derive(Debug, Default, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// What the quota withheld.
    pub throttling: Throttling,
    /// Waiting for a processor; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Processor time used, in nanoseconds.
#[derive(Debug, Default, Serialize)]
pub struct CpuUsage {
    /// In all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// On each CPU; v1 only, like the next two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, on each CPU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In programs, on each CPU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What the CPU quota withheld.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// How long processes waited then, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// The v1 cpuset.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)] // the kernel's names, see cgroup-v1/cpusets.rst
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Debug, Default, Serialize)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// All memory.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// The kernel's, for the container; v1 only.
    pub kernel: MemoryEntry,
    /// Network buffers; v1 only.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Waiting for memory; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
    /// memory.events as it is; v2 only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub event_count: BTreeMap<String, u64>,
}

/// One counter of memory, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct MemoryEntry {
    /// The limit; the largest number there is for none.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that ever was in use.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit; v1 only.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Debug, Default, Serialize)]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // v1's names, see cgroup-v1/blkio-controller.rst
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// Waiting for block devices; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One number of one device.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Its minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// What was done: "Read", "Write", and v1's others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// Bytes, operations, nanoseconds or sectors, as the list's name says.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Default, Serialize)]
pub struct Hugetlb {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that ever was in use; v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Some of the processes waited.
    pub some: PsiLine,
    /// All of them did.
    pub full: PsiLine,
}

/// The share of time spent waiting, in percent over so many seconds, and the total in microseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)] // the kernel's names
pub struct PsiLine {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Cgroup {
    /// Reads what the controllers have counted. A controller that is not there has counted nothing.
    ///
    /// # Errors
    ///
    /// When a file can't be read, or is not of the form it has.
    pub fn stats(&self) -> Result<Stats> {
        match self.mode {
            Mode::V2 => v2::read(self),
            Mode::V1 | Mode::Hybrid => v1::read(self),
        }
    }
}
