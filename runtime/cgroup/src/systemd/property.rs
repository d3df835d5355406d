//! Writes to the files of a cgroup as properties of a scope. Pure.

use oci_spec::runtime::{LinuxCpu, LinuxResources};

use super::block::{self, DeviceLimit};
use super::value::Value;
use crate::plan::{Otherwise, Write};
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
    /// Of single block devices.
    pub devices: Vec<DeviceLimit>,
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
            "cpu.idle" => {
                self.idle = value == "1";
                if value == "0" {
                    // Back to the default, unless a weight follows.
                    self.number("CPUWeight", INFINITY);
                }
            }
            "cpu.max" => {
                let (quota, period) = quota(value).ok_or_else(invalid)?;
                self.number("CPUQuotaPeriodUSec", period);
                self.number("CPUQuotaPerSecUSec", quota);
            }
            "cpuset.cpus" => self.add("AllowedCPUs", bits(value).ok_or_else(invalid)?),
            "cpuset.mems" => self.add("AllowedMemoryNodes", bits(value).ok_or_else(invalid)?),
            "io.weight" => self.io_weight(value).ok_or_else(invalid)?,
            // The same weight in the range that systemd's has.
            "io.bfq.weight" => {
                if let Otherwise::Instead(_, weight) = &write.otherwise {
                    self.io_weight(weight).ok_or_else(invalid)?;
                }
            }
            "io.max" => {
                self.devices.extend(block::throttles(value, INFINITY).ok_or_else(invalid)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// The weight of one device ("8:0 100"), or of all others ("default 100" or "100").
    fn io_weight(&mut self, value: &str) -> Option<()> {
        let (key, weight) = value.split_once(' ').unwrap_or(("default", value));
        if key == "default" {
            self.number("IOWeight", weight.parse().ok()?);
        } else if weight != "default" {
            let (property, value) = ("IODeviceWeight", weight.parse().ok()?);
            self.devices.push(DeviceLimit { property, numbers: key.to_owned(), value });
        }
        Some(())
    }
}

/// Every limit that systemd has a property for: by the writes that the cgroup gets, too, so that both
/// say the same. What is written directly alone stays as it is when systemd writes its own.
pub(crate) fn plan(writes: &[Write]) -> Result<Limits> {
    let mut limits = Limits::default();
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
    use crate::plan::v2;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    fn plan(json: &str) -> Result<Limits> {
        super::plan(&v2::plan(&rounded(&resources(json)))?)
    }

    /// The properties, in order, as text.
    fn properties(json: &str) -> String {
        let limits = plan(json).unwrap();
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
        let devices = limits.devices.iter();
        let devices = devices.map(|one| format!("{}={}={}", one.property, one.numbers, one.value));
        limits.list.iter().map(word).chain(devices).collect::<Vec<_>>().join(" ")
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
            (r#"{"cpu":{"idle":0}}"#, "CPUWeight=infinity"),
            (r#"{"cpu":{"idle":0,"shares":1024}}"#, "CPUWeight=infinity CPUWeight=100"),
            (r#"{"blockIO":{"weight":10}}"#, "IOWeight=1"),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}],
                    "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}],
                    "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":300}]}}"#,
                "IODeviceWeight=8:0=4950 IOReadBandwidthMax=8:0=1024 IOWriteIOPSMax=8:16=300",
            ),
            (
                r#"{"unified":{"io.max":"8:0 rbps=7 riops=8\n8:16 wbps=9",
                    "io.weight":"default 50\n8:0 60"}}"#,
                "IOWeight=50 IOReadBandwidthMax=8:0=7 IOReadIOPSMax=8:0=8 \
                 IOWriteBandwidthMax=8:16=9 IODeviceWeight=8:0=60",
            ),
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
            (r#"{"unified":{"io.max":"8:0 5"}}"#, "io.max"),
            (r#"{"unified":{"io.weight":"8:0 much"}}"#, "io.weight"),
        ] {
            let error = plan(json).unwrap_err().to_string();
            assert!(error.contains(file), "{json}: {error}");
        }
    }

    #[test]
    fn idle_and_the_policy_for_want_of_memory() {
        assert!(plan(r#"{"cpu":{"idle":1}}"#).unwrap().idle);
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
