//! Limits of single block devices as properties of a scope.

use std::path::Path;

use super::value::Value;

/// A limit of one block device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeviceLimit {
    /// The property that holds such limits of all devices.
    pub property: &'static str,
    /// "major:minor".
    pub numbers: String,
    pub value: u64,
}

/// Reads a line of `io.max`, such as "8:0 rbps=1048576 wiops=max". None when it is not one.
pub(crate) fn throttles(line: &str, infinity: u64) -> Option<Vec<DeviceLimit>> {
    let (numbers, pairs) = line.split_once(char::is_whitespace)?;
    let limit = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let property = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        let value = if value == "max" { infinity } else { value.parse().ok()? };
        Some(DeviceLimit { property, numbers: numbers.to_owned(), value })
    };
    pairs.split_whitespace().map(limit).collect()
}

/// One property for each kind of limit. systemd adds what is in a list to what it has of other
/// devices.
pub(crate) fn properties(limits: &[DeviceLimit]) -> Vec<(String, Value)> {
    let mut properties: Vec<(String, Vec<Value>)> = Vec::new();
    for limit in limits.iter().filter(|limit| !is_stacked(&limit.numbers)) {
        let node = Value::Text(format!("/dev/block/{}", limit.numbers));
        let entry = Value::Struct(vec![node, Value::Uint64(limit.value)]);
        match properties.iter_mut().find(|(name, _)| name == limit.property) {
            Some((_, entries)) => entries.push(entry),
            None => properties.push((limit.property.to_owned(), vec![entry])),
        }
    }
    let list = |(name, entries)| (name, Value::Array("(st)".into(), entries));
    properties.into_iter().map(list).collect()
}

/// Whether a device lies on others, as those of the device mapper: systemd would limit what lies
/// below instead, and with it what the container does there by other ways.
fn is_stacked(numbers: &str) -> bool {
    let below = Path::new("/sys/dev/block").join(numbers).join("slaves");
    below.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_properties() {
        let limits = throttles("8:0 rbps=1048576 wiops=max", 7).unwrap();
        let found: Vec<_> = limits.iter().map(|one| (one.property, one.value)).collect();
        assert_eq!(found, [("IOReadBandwidthMax", 1_048_576), ("IOWriteIOPSMax", 7)]);
        for line in ["8:0", "", "8:0 rbps", "8:0 rbps=much", "8:0 speed=1"] {
            assert_eq!(throttles(line, 7), None, "{line:?}");
        }
        let other = throttles("4095:1 rbps=5", 7).unwrap();
        let all = properties(&[limits, other].concat());
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["IOReadBandwidthMax", "IOWriteIOPSMax"]);
        let entry = |node: &str, value| Value::Struct(vec![node.into(), Value::Uint64(value)]);
        let entries = vec![entry("/dev/block/8:0", 1_048_576), entry("/dev/block/4095:1", 5)];
        assert_eq!(all[0].1, Value::Array("(st)".into(), entries));
    }
}
