//! The writes for the cgroups of the v1 hierarchies.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::{Otherwise, Write, hugetlb, numbers, pids, rdma, set, text};
use crate::{Error, Result};

/// The range of `cpu.shares`. The kernel clamps what is outside without a word.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// All limits, in the order in which they are to be written.
///
/// `memory_now` is the memory limit in force, in bytes, where the cgroup is not fresh: it decides
/// which of memory and memory+swap the kernel lets us change first.
///
/// Kernel memory limits are left out, as runc does: kernels since 6.1 don't have them.
pub(crate) fn plan(resources: &LinuxResources, memory_now: Option<u64>) -> Result<Vec<Write>> {
    let mut errors = Vec::new();
    let writes = collect(resources, memory_now, &mut errors);
    Error::all(errors).map(|()| writes)
}

/// The limits that are valid; what is wrong with the others is added to `errors`.
pub(crate) fn collect(
    resources: &LinuxResources,
    memory_now: Option<u64>,
    errors: &mut Vec<Error>,
) -> Vec<Write> {
    if resources.unified().as_ref().is_some_and(|files| !files.is_empty()) {
        errors.push(Error::UnifiedOnV1);
    }
    let mut writes = Vec::new();
    if let Some(values) = resources.memory() {
        errors.extend(memory(values, memory_now, &mut writes).err());
    }
    if let Some(values) = resources.cpu() {
        cpuset(values, &mut writes);
        cpu(values, &mut writes, errors);
    }
    if let Some(limit) = resources.pids() {
        writes.push(pids(limit.limit()));
    }
    if let Some(values) = resources.block_io() {
        blkio(values, &mut writes);
    }
    if let Some(limits) = resources.hugepage_limits() {
        hugetlb(limits, "limit_in_bytes", &mut writes, errors);
    }
    if let Some(network) = resources.network() {
        if let Some(class) = set(network.class_id()) {
            writes.push(Write::new("net_cls", "net_cls.classid", class));
        }
        for (index, priority) in network.priorities().iter().flatten().enumerate() {
            let field = format!("network.priorities[{index}].name");
            if let Err(error) = super::check_word(field, priority.name()) {
                errors.push(error);
                continue;
            }
            let value = format!("{} {}", priority.name(), priority.priority());
            writes.push(Write::new("net_prio", "net_prio.ifpriomap", value).of_entry(index));
        }
    }
    if let Some(devices) = resources.rdma() {
        rdma(devices, &mut writes, errors);
    }
    writes
}

/// Whether the order of memory and memory+swap depends on the limit in force.
pub(crate) fn depends_on_memory_now(resources: &LinuxResources) -> bool {
    resources
        .memory()
        .as_ref()
        .is_some_and(|memory| set(memory.limit()).is_some() && set(memory.swap()).is_some())
}

fn memory(values: &LinuxMemory, now: Option<u64>, writes: &mut Vec<Write>) -> Result<()> {
    let file = |file, value: i64| Write::new("memory", file, value);
    let limit = set(values.limit());
    let memory = limit.map(|limit| file("memory.limit_in_bytes", limit));
    let swap = match (limit, set(values.swap())) {
        // Lifting the limit lifts the swap limit too, where swap is accounted.
        (Some(-1), None) => {
            Some(file("memory.memsw.limit_in_bytes", -1).otherwise(Otherwise::Skip))
        }
        (_, swap) => swap.map(|swap| file("memory.memsw.limit_in_bytes", swap)),
    };
    // The kernel keeps memory <= memory+swap at every step: what grows past the other goes first.
    let swap_first = match (limit, set(values.swap())) {
        (Some(-1), None) | (Some(_), Some(-1)) => true,
        (Some(_), Some(swap)) => now.is_some_and(|now| u64::try_from(swap).is_ok_and(|s| now < s)),
        _ => false,
    };
    if swap_first {
        writes.extend(swap.into_iter().chain(memory));
    } else {
        writes.extend(memory.into_iter().chain(swap));
    }
    if let Some(reservation) = set(values.reservation()) {
        writes.push(file("memory.soft_limit_in_bytes", reservation));
    }
    if values.disable_oom_killer() == Some(true) {
        writes.push(file("memory.oom_control", 1));
    }
    match values.swappiness() {
        None => {}
        Some(swappiness @ 0..=100) => {
            writes.push(Write::new("memory", "memory.swappiness", swappiness));
        }
        // A -1 that some engines write means unset.
        Some(u64::MAX) => {}
        Some(swappiness) => {
            return Err(Error::Invalid {
                field: "memory.swappiness".into(),
                value: swappiness.to_string(),
                reason: "is not from 0 to 100",
            });
        }
    }
    Ok(())
}

fn cpuset(values: &LinuxCpu, writes: &mut Vec<Write>) {
    if let Some(cpus) = text(values.cpus().as_ref()) {
        writes.push(Write::new("cpuset", "cpuset.cpus", cpus));
    }
    if let Some(mems) = text(values.mems().as_ref()) {
        writes.push(Write::new("cpuset", "cpuset.mems", mems));
    }
}

fn cpu(values: &LinuxCpu, writes: &mut Vec<Write>, errors: &mut Vec<Error>) {
    if let Some(idle) = values.idle() {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = set(values.shares()) {
        if !SHARES.contains(&shares) {
            errors.push(Error::Invalid {
                field: "cpu.shares".into(),
                value: shares.to_string(),
                reason: "is not from 2 to 262144",
            });
        } else if values.idle() != Some(1) {
            // An idle group has none, and the kernel refuses them.
            writes.push(Write::new("cpu", "cpu.shares", shares));
        }
    }
    let quota = set(values.quota());
    let again = if quota.is_some() { Otherwise::Again } else { Otherwise::Fail };
    if let Some(period) = set(values.period()) {
        let write = Write::new("cpu", "cpu.cfs_period_us", period);
        writes.push(write.otherwise(again.clone()));
    }
    if let Some(burst) = values.burst() {
        writes.push(Write::new("cpu", "cpu.cfs_burst_us", burst).otherwise(again));
    }
    if let Some(quota) = quota {
        writes.push(Write::new("cpu", "cpu.cfs_quota_us", quota));
    }
    if let Some(period) = set(values.realtime_period()) {
        writes.push(Write::new("cpu", "cpu.rt_period_us", period));
    }
    if let Some(runtime) = set(values.realtime_runtime()) {
        writes.push(Write::new("cpu", "cpu.rt_runtime_us", runtime));
    }
}

fn blkio(values: &LinuxBlockIo, writes: &mut Vec<Write>) {
    // BFQ's files are the ones left since kernel 5.0; CFQ's had no "bfq" in their names.
    let weight = |file: &'static str, bfq: &'static str, value: String| {
        Write::new("blkio", file, &value).otherwise(Otherwise::Instead(bfq, value))
    };
    if let Some(value) = set(values.weight()) {
        writes.push(weight("blkio.weight", "blkio.bfq.weight", value.to_string()));
    }
    if let Some(value) = set(values.leaf_weight()) {
        writes.push(Write::new("blkio", "blkio.leaf_weight", value));
    }
    for (index, device) in values.weight_device().iter().flatten().enumerate() {
        let numbers = format!("{}:{}", device.major(), device.minor());
        if let Some(value) = set(device.weight()) {
            let value = format!("{numbers} {value}");
            let write = weight("blkio.weight_device", "blkio.bfq.weight_device", value);
            writes.push(write.of_entry(index));
        }
        if let Some(value) = set(device.leaf_weight()) {
            let value = format!("{numbers} {value}");
            writes.push(Write::new("blkio", "blkio.leaf_weight_device", value).of_entry(index));
        }
    }
    for (file, devices) in [
        ("blkio.throttle.read_bps_device", values.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", values.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", values.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", values.throttle_write_iops_device()),
    ] {
        for (index, device) in devices.iter().flatten().enumerate() {
            let value = format!("{} {}", numbers(device), device.rate());
            writes.push(Write::new("blkio", file, value).of_entry(index));
        }
    }
}
