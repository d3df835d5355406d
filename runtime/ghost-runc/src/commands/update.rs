//! `update`: other limits for a container that is there.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::{Arg, ArgMatches};
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::{Map, json};

use crate::cli::{self, Entry, flag};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "update",
    about: "change the limits of a container",
    operands: "<container-id>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags,
    run,
};

/// How a flag's value is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Unsigned,
    Signed,
    /// Bytes, with a unit or without; -1 is no limit.
    Size,
}

/// Flag, section and key of `linux.resources`, kind of the value, help.
const LIMITS: [(&str, &str, &str, Kind, &str); 14] = [
    ("blkio-weight", "blockIO", "weight", Kind::Unsigned, "block I/O weight, 10 to 1000"),
    ("cpu-period", "cpu", "period", Kind::Unsigned, "CPU period in microseconds"),
    ("cpu-quota", "cpu", "quota", Kind::Signed, "CPU time in each period in microseconds"),
    ("cpu-burst", "cpu", "burst", Kind::Unsigned, "CPU time saved up for a burst in microseconds"),
    ("cpu-share", "cpu", "shares", Kind::Unsigned, "CPU weight, 2 to 262144"),
    ("cpu-rt-period", "cpu", "realtimePeriod", Kind::Unsigned, "real-time period in microseconds"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", Kind::Signed, "real-time CPU in microseconds"),
    ("cpuset-cpus", "cpu", "cpus", Kind::Text, "CPUs to run on, such as 0-2,7"),
    ("cpuset-mems", "cpu", "mems", Kind::Text, "memory nodes to take memory from"),
    ("cpu-idle", "cpu", "idle", Kind::Signed, "1 for SCHED_IDLE, 0 for the default"),
    ("memory", "memory", "limit", Kind::Size, "memory in bytes or with a unit; -1 for no limit"),
    ("memory-reservation", "memory", "reservation", Kind::Size, "memory that is kept free"),
    ("memory-swap", "memory", "swap", Kind::Size, "memory and swap together; -1 for no limit"),
    ("pids-limit", "pids", "limit", Kind::Signed, "processes and threads; -1 for no limit"),
];

/// The schemas of linux.intelRdt: flag and help.
const SCHEMAS: [(&str, &str); 2] = [
    ("l3-cache-schema", "cache of the container's resctrl group, such as L3:0=ff;1=c0"),
    ("mem-bw-schema", "memory bandwidth of that group, such as MB:0=20;1=70"),
];

/// Flags of runc's without an effect, there too.
const OBSOLETE: [&str; 2] = ["kernel-memory", "kernel-memory-tcp"];

fn flags() -> Vec<Arg> {
    let resources = flag::value("resources", "file with linux.resources as JSON, or - for stdin")
        .value_name("file");
    let obsolete = OBSOLETE.map(|name| flag::value(name, "obsolete, without effect").hide(true));
    let limits = LIMITS.map(|(name, .., help)| flag::value(name, help));
    let schemas = SCHEMAS.map(|(name, help)| flag::value(name, help));
    [resources.short('r')].into_iter().chain(limits).chain(schemas).chain(obsolete).collect()
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let container = context.store()?.load(cli::id(arguments)?)?;
    let changes = match flag::text(arguments, "resources") {
        Some("-") => decode("standard input", io::stdin())?,
        Some(path) => {
            let file = File::open(path).map_err(|e| Error::file("open", Path::new(path), e))?;
            decode(path, file)?
        }
        None => from_flags(arguments)?,
    };
    container.update(&changes, schemas(arguments).as_ref())?;
    Ok(0)
}

/// These count beside a file too, as in runc.
fn schemas(arguments: &ArgMatches) -> Option<LinuxIntelRdt> {
    let [cache, bandwidth] = SCHEMAS.map(|(name, _)| {
        flag::text(arguments, name).filter(|text| !text.is_empty()).map(str::to_owned)
    });
    if cache.is_none() && bandwidth.is_none() {
        return None;
    }
    let mut schemas = LinuxIntelRdt::default();
    schemas.set_l3_cache_schema(cache).set_mem_bw_schema(bandwidth);
    Some(schemas)
}

fn decode(name: &str, mut from: impl Read) -> Result<LinuxResources, Error> {
    let mut text = Vec::new();
    from.read_to_end(&mut text).map_err(|e| Error::file("read", Path::new(name), e))?;
    Ok(container::read_resources(Path::new(name), &text)?)
}

fn from_flags(arguments: &ArgMatches) -> Result<LinuxResources, Error> {
    for name in OBSOLETE.iter().filter(|name| flag::text(arguments, name).is_some()) {
        log::warn!("--{name} has no effect: the kernel has no such limit any more");
    }
    let mut changes = Map::new();
    for (name, section, key, kind, _) in LIMITS {
        let Some(text) = flag::text(arguments, name) else { continue };
        let invalid = || Error::InvalidValue { flag: format!("--{name}"), value: text.to_owned() };
        let value = match kind {
            Kind::Text => json!(text),
            Kind::Unsigned => json!(text.parse::<u64>().map_err(|_| invalid())?),
            Kind::Signed => json!(text.parse::<i64>().map_err(|_| invalid())?),
            Kind::Size => json!(size(text).ok_or_else(invalid)?),
        };
        let section = changes.entry(section).or_insert_with(|| json!({}));
        section[key] = value;
    }
    serde_json::to_vec(&changes)
        .and_then(|text| serde_json::from_slice(&text))
        .map_err(|source| Error::Resources { name: "the flags".to_owned(), source })
}

/// A number of bytes as runc reads it: a unit is a power of 1024, such as 512m, 1.5GiB, 64 kB.
fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if !unit.starts_with('i') => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let factor = 1024_i64.pow(power);
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    // Beyond this a float of bytes does not fit the kernel's number.
    (bytes < i64::MAX as f64).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("512m", Some(512 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("64 kB", Some(64 << 10)),
            ("7b", Some(7)),
            ("2P", Some(2 << 50)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1ib", None),
            ("-2", None),
            ("1e3", None),
            ("9999999p", None),
            ("99999999999999999999", None),
            ("1 2", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }
}
