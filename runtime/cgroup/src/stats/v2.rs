//! The counters of the v2 hierarchy, under v1's names.

use super::files::{huge_page_sizes, line, number, parse, table, text};
use super::{Blkio, BlkioEntry, Cpu, Hugetlb, Memory, MemoryEntry, Pids, Psi, PsiLine, Stats};
use crate::dir::Dir;
use crate::{Cgroup, Result};

pub(super) fn read(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    let Some(path) = cgroup.path_of("") else { return Ok(stats) };
    let Some(dir) = Dir::open_if_there(&path)? else { return Ok(stats) };
    stats.cpu = cpu(&dir)?;
    stats.memory = memory(&dir)?;
    stats.pids = pids(cgroup, &dir)?;
    io(&dir, &mut stats.blkio)?;
    for size in huge_page_sizes() {
        let Some(usage) = number(&dir, &format!("hugetlb.{size}.current"))? else { continue };
        let events = table(&dir, &format!("hugetlb.{size}.events"))?;
        let failcnt = events.get("max").copied().unwrap_or(0);
        stats.hugetlb.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
    Ok(stats)
}

fn cpu(dir: &Dir) -> Result<Cpu> {
    let stat = table(dir, "cpu.stat")?;
    let value = |name: &str| stat.get(name).copied().unwrap_or(0);
    let nanoseconds = |name| value(name).saturating_mul(1000);
    let mut cpu = Cpu { psi: pressure(dir, "cpu.pressure")?, ..Cpu::default() };
    cpu.usage.total = nanoseconds("usage_usec");
    cpu.usage.user = nanoseconds("user_usec");
    cpu.usage.kernel = nanoseconds("system_usec");
    cpu.throttling.periods = value("nr_periods");
    cpu.throttling.throttled_periods = value("nr_throttled");
    cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    Ok(cpu)
}

fn memory(dir: &Dir) -> Result<Memory> {
    let raw = table(dir, "memory.stat")?;
    let usage = entry(dir, "memory")?;
    let mut swap = entry(dir, "memory.swap")?;
    // v1 counts memory and swap together; the two highest values need not have met.
    swap.usage = swap.usage.saturating_add(usage.usage);
    swap.limit = swap.limit.saturating_add(usage.limit);
    swap.max = 0;
    Ok(Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        usage,
        swap,
        raw,
        psi: pressure(dir, "memory.pressure")?,
        event_count: table(dir, "memory.events")?,
        ..Memory::default()
    })
}

fn entry(dir: &Dir, name: &str) -> Result<MemoryEntry> {
    let file = |what| number(dir, &format!("{name}.{what}"));
    let Some(usage) = file("current")? else { return Ok(MemoryEntry::default()) };
    // memory.peak is there since 5.19, memory.swap.peak since 6.5.
    let max = file("peak")?.unwrap_or(0);
    Ok(MemoryEntry { limit: file("max")?.unwrap_or(0), usage, max, failcnt: 0 })
}

fn pids(cgroup: &Cgroup, dir: &Dir) -> Result<Pids> {
    let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or(0);
    let current = match number(dir, "pids.current")? {
        Some(current) => current,
        None => cgroup.pids()?.len() as u64,
    };
    Ok(Pids { current, limit })
}

/// Lines such as "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0".
fn io(dir: &Dir, blkio: &mut Blkio) -> Result<()> {
    let file = "io.stat";
    for one in text(dir, file)?.unwrap_or_default().lines() {
        let mut fields = one.split(' ');
        // A device that is gone has no numbers.
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else {
            return Err(line(dir, file, one));
        };
        for field in fields {
            let Some((name, value)) = field.split_once('=') else { continue };
            let (list, op) = match name {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            list.push(BlkioEntry {
                major: parse(dir, file, major)?,
                minor: parse(dir, file, minor)?,
                op: op.to_owned(),
                value: parse(dir, file, value)?,
            });
        }
    }
    blkio.psi = pressure(dir, "io.pressure")?;
    Ok(())
}

/// None on a kernel without PSI, and where it is turned off.
fn pressure(dir: &Dir, file: &str) -> Result<Option<Psi>> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    let mut psi = Psi::default();
    for one in text.lines() {
        let (kind, fields) = one.split_once(' ').ok_or_else(|| line(dir, file, one))?;
        let target = match kind {
            "some" => &mut psi.some,
            "full" => &mut psi.full,
            _ => continue,
        };
        *target = pressure_line(fields).ok_or_else(|| line(dir, file, one))?;
    }
    Ok(Some(psi))
}

fn pressure_line(fields: &str) -> Option<PsiLine> {
    let mut psi = PsiLine::default();
    for field in fields.split(' ') {
        let (name, value) = field.split_once('=')?;
        match name {
            "avg10" => psi.avg10 = value.parse().ok()?,
            "avg60" => psi.avg60 = value.parse().ok()?,
            "avg300" => psi.avg300 = value.parse().ok()?,
            "total" => psi.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(psi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_lines() {
        let line = pressure_line("avg10=0.12 avg60=3.40 avg300=0.00 total=987").unwrap();
        assert_eq!(line, PsiLine { avg10: 0.12, avg60: 3.4, avg300: 0.0, total: 987 });
        assert_eq!(pressure_line("avg10"), None);
    }
}
