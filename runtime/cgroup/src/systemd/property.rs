//! `linux.resources` as properties of a scope. Pure.

use oci_spec::runtime::{LinuxCpu, LinuxResources};

use super::value::Value;
use crate::plan::{Otherwise, Write, v2};
use crate::{Error, Result};

/// What systemd calls unlimited.
const INFINITY: u64 = u64::MAX;
/// The kernel's default period, in microseconds.
const PERIOD: u64 = 100_000;
/// A hundredth of a second: systemd keeps a quota in whole per cents, in microseconds a second.
const PER_CENT: u64 = 10_000;
/// More CPUs or nodes than a kernel can have.
const MOST_BITS: u32 = 1 << 14;

/// The properties that limits come to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// In order: a later one wins.
    pub list: Vec<(String, Value)>,
    /// `cpu.idle` is 1, for which older versions of systemd have no property.
    pub idle: bool,
}

impl Limits {
    fn add(&mut self, name: &str, value: Value) {
        self.list.push((name.into(), value));
    }

    fn number(&mut self, name: &str, value: u64) {
        self.add(name, Value::Uint64(value));
    }

    fn take(&mut self, write: &Write) -> Result<()> {
        let (file, value) = (&*write.file, write.value.trim());
        let invalid =
            || Error::NoProperty { field: write.field(), file: file.into(), value: value.into() };
        // -1 and the like: the kernel is to refuse them.
        let number = || match value {
            "max" => Ok(INFINITY),
            value => value.parse().map_err(|_| invalid()),
        };
        match file {
            "memory.max" => self.number("MemoryMax", number()?),
            "memory.high" => self.number("MemoryHigh", number()?),
            "memory.low" => self.number("MemoryLow", number()?),
            "memory.min" => self.number("MemoryMin", number()?),
            "memory.swap.max" => self.number("MemorySwapMax", number()?),
            "pids.max" => self.number("TasksMax", number()?),
            "cpu.weight" => self.number("CPUWeight", number()?),
            "cpu.idle" => self.idle = value == "1",
            "cpu.max" => {
                let (quota, period) = quota(value).ok_or_else(invalid)?;
                self.number("CPUQuotaPeriodUSec", period);
                self.number("CPUQuotaPerSecUSec", quota);
            }
            "cpuset.cpus" => self.add("AllowedCPUs", bits(value).ok_or_else(invalid)?),
            "cpuset.mems" => self.add("AllowedMemoryNodes", bits(value).ok_or_else(invalid)?),
            "io.weight" if !value.contains(' ') => self.number("IOWeight", number()?),
            "io.bfq.weight" => {
                // The same weight in the range that systemd's has; one of a device has no number alone.
                if let Otherwise::Instead(_, weight) = &write.otherwise
                    && let Ok(weight) = weight.parse()
                {
                    self.number("IOWeight", weight);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Every limit that systemd has a property for: by the writes that the cgroup gets, too, so that both
/// say the same. What is written directly alone stays as it is when systemd writes its own.
pub(crate) fn plan(resources: Option<&LinuxResources>) -> Result<Limits> {
    let mut limits = Limits::default();
    let Some(resources) = resources else { return Ok(limits) };
    let writes = v2::plan(resources)?;
    let refused = writes.iter().filter_map(|write| limits.take(write).err());
    Error::all(refused.collect())?;
    Ok(limits)
}

/// What the scope does when the kernel kills one of its processes for want of memory: all or that one,
/// as `memory.oom.group` asks for. It can't be changed later.
pub(crate) fn oom_policy(resources: &LinuxResources) -> Option<(String, Value)> {
    let policy = match resources.unified().as_ref()?.get("memory.oom.group")?.trim() {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    Some(("OOMPolicy".into(), policy.into()))
}

/// The resources with the quota rounded up to what systemd can keep, as runc does: the cgroup would
/// lose what is beyond it as soon as systemd writes its own.
pub(crate) fn rounded(resources: &LinuxResources) -> LinuxResources {
    let mut resources = resources.clone();
    if let Some(cpu) = resources.cpu()
        && let Some(quota @ 1..) = cpu.quota()
    {
        let period = cpu.period().filter(|period| *period > 0).unwrap_or(PERIOD);
        let mut rounded: LinuxCpu = cpu.clone();
        let quota = per_second(quota.cast_unsigned(), period) * u128::from(period) / 1_000_000;
        rounded.set_quota(i64::try_from(quota).ok().or(cpu.quota()));
        resources.set_cpu(Some(rounded));
    }
    resources
}

/// A quota as microseconds of each second, rounded up.
fn per_second(quota: u64, period: u64) -> u128 {
    (u128::from(quota) * 1_000_000 / u128::from(period)).next_multiple_of(PER_CENT.into())
}

/// The quota and the period of a value of `cpu.max`.
fn quota(value: &str) -> Option<(u64, u64)> {
    let mut words = value.split_whitespace();
    let quota = words.next()?;
    let period = match words.next() {
        Some(period) => period.parse().ok().filter(|period| *period > 0)?,
        None => PERIOD,
    };
    if words.next().is_some() {
        return None;
    }
    let quota = match quota {
        "max" => INFINITY,
        quota => u64::try_from(per_second(quota.parse().ok()?, period)).ok()?,
    };
    Some((quota, period))
}

/// A list such as "0-3,7" as bytes, of which the first has the lowest eight in its bits.
fn bits(list: &str) -> Option<Value> {
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= MOST_BITS {
            return None;
        }
        bytes.resize(bytes.len().max(last as usize / 8 + 1), 0);
        for bit in first..=last {
            bytes[bit as usize / 8] |= 1 << (bit % 8);
        }
    }
    (!bytes.is_empty())
        .then(|| Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect()))
}

/// The number that a version of systemd begins with: "252.39-1~deb12u2" or "v255".
pub(crate) fn version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    /// The properties, in order, as text.
    fn properties(json: &str) -> String {
        let limits = plan(Some(&rounded(&resources(json)))).unwrap();
        let word = |(name, value): &(String, Value)| match value {
            Value::Uint64(INFINITY) => format!("{name}=infinity"),
            Value::Uint64(value) => format!("{name}={value}"),
            Value::Array(_, bytes) => {
                let digits = bytes.iter().map(|byte| match byte {
                    Value::Byte(byte) => format!("{byte:02x}"),
                    other => panic!("{other:?}"),
                });
                format!("{name}={}", digits.collect::<String>())
            }
            other => panic!("{other:?}"),
        };
        limits.list.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn limits_become_properties() {
        for (json, expected) in [
            (
                r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
                "MemorySwapMax=2000 MemoryMax=1000 MemoryLow=500",
            ),
            (r#"{"memory":{"limit":-1}}"#, "MemorySwapMax=infinity MemoryMax=infinity"),
            (r#"{"pids":{"limit":33}}"#, "TasksMax=33"),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax=infinity"),
            (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100"),
            (
                r#"{"cpu":{"quota":50000,"period":100000}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000",
            ),
            // 33.3 % is 34 %.
            (
                r#"{"cpu":{"quota":333,"period":1000}}"#,
                "CPUQuotaPeriodUSec=1000 CPUQuotaPerSecUSec=340000",
            ),
            (r#"{"cpu":{"quota":-1}}"#, "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=infinity"),
            (r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#, "AllowedCPUs=0702 AllowedMemoryNodes=01"),
            (r#"{"blockIO":{"weight":10}}"#, "IOWeight=1"),
            (
                r#"{"unified":{"memory.high":"5","memory.min":" 4 ","pids.max":"max"}}"#,
                "MemoryHigh=5 MemoryMin=4 TasksMax=infinity",
            ),
            (
                r#"{"unified":{"cpu.max":"20000"}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=200000",
            ),
            (r#"{"unified":{"hugetlb.2MB.max":"0"}}"#, ""),
            ("{}", ""),
        ] {
            assert_eq!(properties(json), expected, "{json}");
        }
    }

    #[test]
    fn a_quota_is_rounded_as_systemd_keeps_it() {
        for (quota, period, expected) in
            [(50_000, 100_000, 50_000), (333, 1000, 340), (1, 1_000_000, 10_000), (-1, 1000, -1)]
        {
            let json = format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#);
            let rounded = rounded(&resources(&json));
            assert_eq!(rounded.cpu().as_ref().unwrap().quota(), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_has_no_property_is_named() {
        for (json, file) in [
            (r#"{"cpu":{"cpus":"0-x"}}"#, "cpuset.cpus"),
            (r#"{"cpu":{"mems":"3-1"}}"#, "cpuset.mems"),
            (r#"{"cpu":{"cpus":"99999999"}}"#, "cpuset.cpus"),
            (r#"{"unified":{"memory.max":"much"}}"#, "memory.max"),
            (r#"{"unified":{"cpu.max":"1 2 3"}}"#, "cpu.max"),
        ] {
            let error = plan(Some(&resources(json))).unwrap_err().to_string();
            assert!(error.contains(file), "{json}: {error}");
        }
    }

    #[test]
    fn idle_and_the_policy_for_want_of_memory() {
        assert!(plan(Some(&resources(r#"{"cpu":{"idle":1}}"#))).unwrap().idle);
        let policy = |value: &str| {
            let json = format!(r#"{{"unified":{{"memory.oom.group":"{value}"}}}}"#);
            oom_policy(&resources(&json)).map(|(_, value)| value)
        };
        assert_eq!(policy("1"), Some("kill".into()));
        assert_eq!(policy("0"), Some("continue".into()));
        assert_eq!(policy("2"), None);
    }

    #[test]
    fn versions() {
        for (text, number) in
            [("252.39-1~deb12u2", Some(252)), ("v255", Some(255)), ("245", Some(245)), ("x", None)]
        {
            assert_eq!(version(text), number, "{text}");
        }
    }
}
