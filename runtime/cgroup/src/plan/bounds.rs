//! Values that every kernel refuses, or takes for another: the spec's bounds and the kernel's.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::set;
use crate::{Error, Mode};

/// The spec's, which are BFQ's.
const WEIGHTS: std::ops::RangeInclusive<i64> = 10..=1000;

/// In microseconds: the kernel's shortest and longest period.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// v2's, which are written through `unified` alone or by other fields too.
const MEMORY_FILES: &[&str] = &[
    "memory.min",
    "memory.low",
    "memory.high",
    "memory.max",
    "memory.swap.high",
    "memory.swap.max",
    "memory.zswap.max",
];

/// The kernel's PID_MAX_LIMIT on 64-bit machines, above which the pids controller takes only "max".
const MOST_PIDS: i64 = 4 << 20;

/// The unit of v1's memory limits, in bytes: what is no multiple of a page is rounded down. A machine
/// with larger pages leaves some bad values to its kernel.
const PAGE: i64 = 4096;

/// Adds all that is out of bounds in the limits of a new cgroup.
pub(crate) fn check(resources: &LinuxResources, mode: Mode, errors: &mut Vec<Error>) {
    if let Some(values) = resources.memory() {
        memory(values, errors);
        if mode != Mode::V2 {
            memory_and_swap(values, errors);
        }
    }
    if let Some(values) = resources.cpu() {
        cpu(values, errors);
    }
    if let Some(limit) = resources.pids().as_ref().map(|pids| pids.limit())
        && limit > MOST_PIDS
    {
        let reason = "is more than the kernel's 4194304 (-1 is no limit)";
        errors.push(invalid("pids.limit", limit, reason));
    }
    if let Some(values) = resources.block_io() {
        block_io(values, errors);
    }
    for (file, value) in resources.unified().iter().flatten() {
        let number = value == "max" || value.starts_with(|first: char| first.is_ascii_digit());
        if MEMORY_FILES.contains(&file.as_str()) && !number {
            let reason = "is neither a number of bytes nor max";
            errors.push(invalid(format!("unified[{file}]"), value, reason));
        }
    }
}

fn invalid(field: impl Into<String>, value: impl ToString, reason: &'static str) -> Error {
    Error::Invalid { field: field.into(), value: value.to_string(), reason }
}

fn memory(values: &LinuxMemory, errors: &mut Vec<Error>) {
    for (field, value) in [
        ("memory.limit", values.limit()),
        ("memory.reservation", values.reservation()),
        ("memory.swap", values.swap()),
    ] {
        if let Some(value) = value.filter(|value| *value < -1) {
            errors.push(invalid(field, value, "is neither a number of bytes nor -1"));
        }
    }
}

/// v1's swap limit is of memory and swap together, and the kernel keeps it at or above the memory
/// limit, which is the highest number where none is set.
fn memory_and_swap(values: &LinuxMemory, errors: &mut Vec<Error>) {
    let limit = set(values.limit()).filter(|limit| *limit >= 0);
    let Some(swap) = set(values.swap()).filter(|swap| *swap > 0) else { return };
    if swap / PAGE < limit.unwrap_or(i64::MAX) / PAGE {
        let reason = match limit {
            Some(_) => "is less than the memory limit, which it includes",
            None => "needs a memory limit beside it",
        };
        errors.push(invalid("memory.swap", swap, reason));
    }
}

fn cpu(values: &LinuxCpu, errors: &mut Vec<Error>) {
    if let Some(quota) = set(values.quota()).filter(|quota| (1..1_000).contains(quota)) {
        errors.push(invalid("cpu.quota", quota, "is less than the kernel's 1000 microseconds"));
    }
    if let (Some(burst), Some(quota @ 1..)) = (values.burst(), values.quota())
        && burst > quota.unsigned_abs()
    {
        errors.push(invalid("cpu.burst", burst, "is more than the quota"));
    }
    if let Some(period) = set(values.period()).filter(|period| !PERIODS.contains(period)) {
        let reason = "is not from 1000 to 1000000 microseconds";
        errors.push(invalid("cpu.period", period, reason));
    }
    if let Some(idle) = values.idle().filter(|idle| !(0..=1).contains(idle)) {
        errors.push(invalid("cpu.idle", idle, "is neither 0 nor 1"));
    }
    for (field, list) in [("cpu.cpus", values.cpus()), ("cpu.mems", values.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !is_list(list)) {
            errors.push(invalid(field, list, "is not a list such as 0-3,7"));
        }
    }
}

/// The kernel's bitmap lists, with `N`, `all` and strides left to it.
fn is_list(list: &str) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let kernels = |text: &str| text.contains(['N', ':', '/']) || text == "all";
    list.split([',', ' ', '\n']).filter(|part| !part.is_empty()).all(|part| {
        kernels(part)
            || match part.split_once('-') {
                Some((first, last)) => {
                    !first.is_empty() && !last.is_empty() && plain(first) && plain(last)
                }
                None => plain(part),
            }
    })
}

fn block_io(values: &LinuxBlockIo, errors: &mut Vec<Error>) {
    let mut weight = |field: String, value: Option<i64>| {
        if let Some(value) = set(value).filter(|value| !WEIGHTS.contains(value)) {
            errors.push(invalid(field, value, "is not from 10 to 1000"));
        }
    };
    weight("blockIO.weight".into(), values.weight().map(i64::from));
    weight("blockIO.leafWeight".into(), values.leaf_weight().map(i64::from));
    for (index, device) in values.weight_device().iter().flatten().enumerate() {
        let field = |name: &str| format!("blockIO.weightDevice[{index}].{name}");
        weight(field("weight"), device.weight().map(i64::from));
        weight(field("leafWeight"), device.leaf_weight().map(i64::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (json, fields) in [
            (r#"{"memory":{"limit":-1,"swap":0},"cpu":{"quota":-1,"period":1000}}"#, ""),
            (r#"{"memory":{"limit":-2,"reservation":-3}}"#, "memory.limit memory.reservation"),
            (r#"{"cpu":{"quota":999,"period":999,"idle":2}}"#, "cpu.quota cpu.period cpu.idle"),
            (r#"{"cpu":{"cpus":"0-3,7","mems":"0"}}"#, ""),
            (
                r#"{"cpu":{"quota":2000,"burst":2001},"pids":{"limit":4194305}}"#,
                "cpu.burst pids.limit",
            ),
            (r#"{"cpu":{"quota":-1,"burst":7},"pids":{"limit":4194304}}"#, ""),
            (r#"{"memory":{"limit":50000000,"swap":5}}"#, "memory.swap"),
            (r#"{"memory":{"limit":50000000,"swap":49999999}}"#, ""),
            (r#"{"memory":{"limit":-1,"swap":5}}"#, "memory.swap"),
            (r#"{"memory":{"swap":9223372036854771712}}"#, ""),
            (r#"{"cpu":{"cpus":"1-","mems":"x"}}"#, "cpu.cpus cpu.mems"),
            (
                r#"{"blockIO":{"weight":9,"weightDevice":[{"major":8,"minor":0,"weight":1001}]}}"#,
                "blockIO.weight blockIO.weightDevice[0].weight",
            ),
        ] {
            let mut said = Vec::new();
            check(&serde_json::from_str(json).unwrap(), Mode::V1, &mut said);
            let named = said.iter().map(|error| match error {
                Error::Invalid { field, .. } => field.as_str(),
                other => panic!("{other}"),
            });
            assert_eq!(named.collect::<Vec<_>>().join(" "), fields, "{json}");
        }
    }
}
