//! The counters of the v1 hierarchies.

use super::files::{huge_page_sizes, line, number, parse, table, text};
use super::{Blkio, BlkioEntry, Cpu, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Stats};
use crate::dir::Dir;
use crate::{Cgroup, Result};

/// Nanoseconds a tick of cpuacct.stat: USER_HZ is 100 on every architecture.
const TICK: u64 = 10_000_000;

pub(super) fn read(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(dir) = open(cgroup, "cpu")? {
        throttling(&dir, &mut stats.cpu)?;
    }
    if let Some(dir) = open(cgroup, "cpuacct")? {
        usage(&dir, &mut stats.cpu)?;
    }
    if let Some(dir) = open(cgroup, "cpuset")? {
        stats.cpuset = cpuset(&dir)?;
    }
    if let Some(dir) = open(cgroup, "memory")? {
        stats.memory = memory(&dir)?;
    }
    if let Some(dir) = open(cgroup, "pids")? {
        stats.pids = pids(&dir)?;
    }
    if let Some(dir) = open(cgroup, "blkio")? {
        blkio(&dir, &mut stats.blkio)?;
    }
    if let Some(dir) = open(cgroup, "hugetlb")? {
        for size in huge_page_sizes() {
            let file = |name| number(&dir, &format!("hugetlb.{size}.{name}"));
            let Some(usage) = file("usage_in_bytes")? else { continue };
            let max = file("max_usage_in_bytes")?.unwrap_or(0);
            let failcnt = file("failcnt")?.unwrap_or(0);
            stats.hugetlb.insert(size.clone(), Hugetlb { usage, max, failcnt });
        }
    }
    Ok(stats)
}

fn open(cgroup: &Cgroup, controller: &str) -> Result<Option<Dir>> {
    match cgroup.path_of(controller) {
        Some(path) => Dir::open_if_there(&path),
        None => Ok(None),
    }
}

fn throttling(dir: &Dir, cpu: &mut Cpu) -> Result<()> {
    let stat = table(dir, "cpu.stat")?;
    let value = |name: &str| stat.get(name).copied().unwrap_or(0);
    cpu.throttling.periods = value("nr_periods");
    cpu.throttling.throttled_periods = value("nr_throttled");
    cpu.throttling.throttled_time = value("throttled_time");
    Ok(())
}

fn usage(dir: &Dir, cpu: &mut Cpu) -> Result<()> {
    let stat = table(dir, "cpuacct.stat")?;
    let ticks = |name: &str| stat.get(name).map_or(0, |ticks| ticks.saturating_mul(TICK));
    cpu.usage.user = ticks("user");
    cpu.usage.kernel = ticks("system");
    cpu.usage.total = number(dir, "cpuacct.usage")?.unwrap_or(0);
    for value in text(dir, "cpuacct.usage_percpu")?.unwrap_or_default().split_whitespace() {
        cpu.usage.percpu.push(parse(dir, "cpuacct.usage_percpu", value)?);
    }
    // A title, then CPU, user and system on each line.
    let all = "cpuacct.usage_all";
    for one in text(dir, all)?.unwrap_or_default().lines().skip(1) {
        let [_, user, kernel] = one.split(' ').collect::<Vec<_>>()[..] else {
            return Err(line(dir, all, one));
        };
        cpu.usage.percpu_user.push(parse(dir, all, user)?);
        cpu.usage.percpu_kernel.push(parse(dir, all, kernel)?);
    }
    Ok(())
}

fn cpuset(dir: &Dir) -> Result<Cpuset> {
    let value = |file: &str| Ok(number(dir, &format!("cpuset.{file}"))?.unwrap_or(0));
    let level = "cpuset.sched_relax_domain_level";
    let level_text = text(dir, level)?.unwrap_or_default();
    let level_text = level_text.trim();
    Ok(Cpuset {
        cpus: ranges(dir, "cpuset.cpus")?,
        cpu_exclusive: value("cpu_exclusive")?,
        mems: ranges(dir, "cpuset.mems")?,
        mem_hardwall: value("mem_hardwall")?,
        mem_exclusive: value("mem_exclusive")?,
        memory_migrate: value("memory_migrate")?,
        memory_spread_page: value("memory_spread_page")?,
        memory_spread_slab: value("memory_spread_slab")?,
        memory_pressure: value("memory_pressure")?,
        sched_load_balance: value("sched_load_balance")?,
        sched_relax_domain_level: match level_text {
            "" => 0,
            text => text.parse().map_err(|_| line(dir, level, text))?,
        },
    })
}

/// A list such as "0-2,7", each number of it.
fn ranges(dir: &Dir, file: &str) -> Result<Vec<u16>> {
    let text = text(dir, file)?.unwrap_or_default();
    let mut list = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u16>().map_err(|_| line(dir, file, part));
        list.extend(number(first)?..=number(last)?);
    }
    Ok(list)
}

fn memory(dir: &Dir) -> Result<Memory> {
    let raw = table(dir, "memory.stat")?;
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry(dir, "memory")?,
        swap: entry(dir, "memory.memsw")?,
        kernel: entry(dir, "memory.kmem")?,
        kernel_tcp: entry(dir, "memory.kmem.tcp")?,
        raw,
        ..Memory::default()
    })
}

fn entry(dir: &Dir, name: &str) -> Result<MemoryEntry> {
    let file = |what| number(dir, &format!("{name}.{what}"));
    let Some(usage) = file("usage_in_bytes")? else { return Ok(MemoryEntry::default()) };
    Ok(MemoryEntry {
        limit: file("limit_in_bytes")?.unwrap_or(0),
        usage,
        max: file("max_usage_in_bytes")?.unwrap_or(0),
        failcnt: file("failcnt")?.unwrap_or(0),
    })
}

fn pids(dir: &Dir) -> Result<Pids> {
    let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
    Ok(Pids { current: number(dir, "pids.current")?.unwrap_or(0), limit: limit.unwrap_or(0) })
}

/// Which list a file of the blkio controller fills.
type Target = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

/// Each scheduler has files of its own, and the throttling layer below them has its own again: the
/// first set that counts anything is what there is.
fn blkio(dir: &Dir, blkio: &mut Blkio) -> Result<()> {
    let serviced: Target = |blkio| &mut blkio.io_serviced_recursive;
    let bytes: Target = |blkio| &mut blkio.io_service_bytes_recursive;
    let bfq: &[(&str, Target)] = &[
        ("blkio.bfq.sectors_recursive", |blkio| &mut blkio.sectors_recursive),
        ("blkio.bfq.io_service_time_recursive", |blkio| &mut blkio.io_service_time_recursive),
        ("blkio.bfq.io_wait_time_recursive", |blkio| &mut blkio.io_wait_time_recursive),
        ("blkio.bfq.io_merged_recursive", |blkio| &mut blkio.io_merged_recursive),
        ("blkio.bfq.io_queued_recursive", |blkio| &mut blkio.io_queue_recursive),
        ("blkio.bfq.time_recursive", |blkio| &mut blkio.io_time_recursive),
        ("blkio.bfq.io_serviced_recursive", serviced),
        ("blkio.bfq.io_service_bytes_recursive", bytes),
    ];
    let sets = [
        bfq,
        &bfq[6..],
        &[
            ("blkio.throttle.io_serviced_recursive", serviced),
            ("blkio.throttle.io_service_bytes_recursive", bytes),
        ],
        &[("blkio.throttle.io_serviced", serviced), ("blkio.throttle.io_service_bytes", bytes)],
    ];
    for set in sets {
        for (file, target) in set {
            *target(blkio) = entries(dir, file)?;
        }
        if set.first().is_some_and(|(_, target)| !target(blkio).is_empty()) {
            return Ok(());
        }
    }
    Ok(())
}

/// Lines such as "8:0 Read 12" or "8:0 12"; one with the total is left out.
fn entries(dir: &Dir, file: &str) -> Result<Vec<BlkioEntry>> {
    let mut list = Vec::new();
    for one in text(dir, file)?.unwrap_or_default().lines() {
        let fields: Vec<&str> = one.split([' ', ':']).filter(|field| !field.is_empty()).collect();
        let (major, minor, op, value) = match fields[..] {
            ["Total", _] => continue,
            [major, minor, op, value] => (major, minor, op, value),
            [major, minor, value] => (major, minor, "", value),
            _ => return Err(line(dir, file, one)),
        };
        list.push(BlkioEntry {
            major: parse(dir, file, major)?,
            minor: parse(dir, file, minor)?,
            op: op.to_owned(),
            value: parse(dir, file, value)?,
        });
    }
    Ok(list)
}
