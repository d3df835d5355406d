//! The writes for a cgroup of the v2 hierarchy.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::{Otherwise, Write, hugetlb, numbers, pids, rdma, set, text, weight};
use crate::{Error, Result};

/// All limits, in the order in which they are to be written.
///
/// What v2 has no knob for is left out, as runc does: kernel memory, swappiness, the OOM killer,
/// real-time scheduling, leaf weights, network class and priorities.
pub(crate) fn plan(resources: &LinuxResources) -> Result<Vec<Write>> {
    let mut errors = Vec::new();
    let writes = collect(resources, &mut errors);
    Error::all(errors).map(|()| writes)
}

/// The limits that are valid; what is wrong with the others is added to `errors`.
pub(crate) fn collect(resources: &LinuxResources, errors: &mut Vec<Error>) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(limit) = resources.pids() {
        writes.push(pids(limit.limit()));
    }
    if let Some(values) = resources.memory() {
        memory(values, &mut writes, errors);
    }
    if let Some(values) = resources.block_io() {
        io(values, &mut writes);
    }
    if let Some(values) = resources.cpu() {
        cpu(values, &mut writes);
    }
    if let Some(limits) = resources.hugepage_limits() {
        hugetlb(limits, "max", &mut writes, errors);
    }
    if let Some(devices) = resources.rdma() {
        rdma(devices, &mut writes, errors);
    }
    if let Some(files) = resources.unified() {
        unified(files, &mut writes, errors);
    }
    writes
}

/// Whether a threaded cgroup can't have these limits.
pub(crate) fn needs_domain(resources: &LinuxResources) -> bool {
    resources.memory().is_some()
        || resources.block_io().is_some()
        || resources.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty())
}

/// -1 is no limit; other negative values go to the kernel, which refuses them.
fn bytes(value: i64) -> String {
    if value == -1 { "max".into() } else { value.to_string() }
}

fn memory(values: &LinuxMemory, writes: &mut Vec<Write>, errors: &mut Vec<Error>) {
    let limit = set(values.limit());
    match swap(limit.unwrap_or(0), values.swap().unwrap_or(0)) {
        Ok(None) => {}
        Ok(Some(swap)) => {
            // A kernel without swap accounting does as these two values say.
            let otherwise = if matches!(swap, -1 | 0) { Otherwise::Skip } else { Otherwise::Fail };
            writes.push(Write::new("memory", "memory.swap.max", bytes(swap)).otherwise(otherwise));
        }
        Err(error) => errors.push(error),
    }
    if let Some(limit) = limit {
        writes.push(Write::new("memory", "memory.max", bytes(limit)));
    }
    if let Some(reservation) = set(values.reservation()) {
        writes.push(Write::new("memory", "memory.low", bytes(reservation)));
    }
}

/// The swap limit. `swap` is v1's, which counts memory and swap together; v2's counts swap alone.
/// 0 is unset.
fn swap(memory: i64, swap: i64) -> Result<Option<i64>> {
    let invalid = |reason| {
        Err(Error::Invalid { field: "memory.swap".into(), value: swap.to_string(), reason })
    };
    match (memory, swap) {
        (-1, 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some(-1)),
        (-1, _) => Ok(Some(swap)),
        (0, _) => invalid("needs a memory limit beside it"),
        (..0, _) => invalid("needs a valid memory limit beside it"),
        _ if swap < memory => invalid("is less than the memory limit, which it includes"),
        _ => Ok(Some(swap - memory)),
    }
}

fn io(values: &LinuxBlockIo, writes: &mut Vec<Write>) {
    if let Some(value) = set(values.weight()) {
        let instead = Otherwise::Instead("io.weight", weight::io(value).to_string());
        writes.push(Write::new("io", "io.bfq.weight", value).otherwise(instead));
    }
    for (index, device) in values.weight_device().iter().flatten().enumerate() {
        if let Some(value) = set(device.weight()) {
            let numbers = format!("{}:{}", device.major(), device.minor());
            let instead =
                Otherwise::Instead("io.weight", format!("{numbers} {}", weight::io(value)));
            let write = Write::new("io", "io.bfq.weight", format!("{numbers} {value}"));
            writes.push(write.otherwise(instead).of_entry(index));
        }
    }
    for (key, devices) in [
        ("rbps", values.throttle_read_bps_device()),
        ("wbps", values.throttle_write_bps_device()),
        ("riops", values.throttle_read_iops_device()),
        ("wiops", values.throttle_write_iops_device()),
    ] {
        for (index, device) in devices.iter().flatten().enumerate() {
            // v1 lifts a limit by 0, which v2 refuses.
            let rate = set(Some(device.rate())).map_or("max".into(), |rate| rate.to_string());
            let write = Write::new("io", "io.max", format!("{} {key}={rate}", numbers(device)));
            writes.push(write.of_entry(index));
        }
    }
}

fn cpu(values: &LinuxCpu, writes: &mut Vec<Write>) {
    if let Some(idle) = values.idle() {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    // An idle group has no weight, and the kernel refuses one.
    if let Some(shares) = set(values.shares())
        && values.idle() != Some(1)
    {
        writes.push(Write::new("cpu", "cpu.weight", weight::cpu(shares)));
    }
    let (quota, period) = (set(values.quota()), set(values.period()));
    if let Some(burst) = values.burst() {
        let otherwise = if quota.is_some() { Otherwise::Again } else { Otherwise::Fail };
        writes.push(Write::new("cpu", "cpu.max.burst", burst).otherwise(otherwise));
    }
    if quota.is_some() || period.is_some() {
        let quota = match quota {
            Some(quota @ 1..) => quota.to_string(),
            _ => "max".into(),
        };
        // The kernel's default period, in microseconds.
        let period = period.unwrap_or(100_000);
        writes.push(Write::new("cpu", "cpu.max", format!("{quota} {period}")));
    }
    if let Some(cpus) = text(values.cpus().as_ref()) {
        writes.push(Write::new("cpuset", "cpuset.cpus", cpus));
    }
    if let Some(mems) = text(values.mems().as_ref()) {
        writes.push(Write::new("cpuset", "cpuset.mems", mems));
    }
}

/// Files by their names, each line of a value a write of its own. In the order of the names.
fn unified(files: &HashMap<String, String>, writes: &mut Vec<Write>, errors: &mut Vec<Error>) {
    let mut files: Vec<_> = files.iter().collect();
    files.sort();
    for (file, value) in files {
        let invalid = |reason| Error::Invalid {
            field: format!("unified[{file}]"),
            value: file.clone(),
            reason,
        };
        if file.contains('/') {
            errors.push(invalid("must be a file name (no slashes)"));
            continue;
        }
        let Some((controller, _)) = file.split_once('.').filter(|(name, _)| !name.is_empty())
        else {
            errors.push(invalid("must be in the form CONTROLLER.PARAMETER"));
            continue;
        };
        let mut lines: Vec<_> = value.lines().collect();
        if lines.is_empty() {
            lines.push("");
        }
        for line in lines {
            let write = Write::new(controller.to_owned(), file.clone(), line);
            writes.push(Write { unified: true, ..write });
        }
    }
}
