//! `org.systemd.property.NAME` annotations: properties that the scope is to have beside ours. Pure.

use super::gvariant;
use super::value::Value;
use crate::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// Microseconds a second.
const SECOND: u64 = 1_000_000;

/// Annotations that are properties, as errors name them, in order. systemd's answer may name the one
/// it does not take; else it is any of them.
pub(crate) fn blamed(given: &[(String, String)], answer: &str) -> String {
    let mut named: Vec<_> = given
        .iter()
        .filter(|(key, _)| key.strip_prefix(PREFIX).is_some_and(|name| answer.contains(name)))
        .collect();
    if named.is_empty() {
        named = given.iter().collect();
    }
    let texts = named.iter().map(|(key, value)| format!("annotations[{key}]: {value:?}"));
    texts.collect::<Vec<_>>().join(", ")
}

/// The properties that annotations ask for, by their names.
#[derive(Debug, PartialEq)]
pub(crate) struct Annotations {
    pub properties: Vec<(String, Value)>,
    /// As they were given.
    pub given: Vec<(String, String)>,
}

impl Annotations {
    /// Picks out the annotations that are properties, and parses their values.
    pub fn parse<'a>(
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Annotations> {
        let (mut properties, mut given, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        // The map they come from has no order.
        let mut annotations: Vec<_> = annotations.into_iter().collect();
        annotations.sort_unstable();
        for (key, text) in annotations {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            given.push((key.clone(), text.clone()));
            match property(name, text) {
                Ok(property) => properties.push(property),
                Err(reason) => {
                    let (key, value) = (key.clone(), text.clone());
                    errors.push(Error::Annotation { key, value, reason });
                }
            }
        }
        Error::all(errors)?;
        properties.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Annotations { properties, given })
    }
}

fn property(name: &str, text: &str) -> std::result::Result<(String, Value), String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is not the name of a property"));
    }
    let value = gvariant::parse(text)?;
    // systemd documents seconds, in the names of unit files, and takes microseconds here.
    match name.strip_suffix("Sec") {
        Some(stem) if stem.ends_with(|c: char| c.is_ascii_lowercase()) => {
            let value = microseconds(&value).ok_or("it is not a number of seconds")?;
            Ok((format!("{stem}USec"), Value::Uint64(value)))
        }
        _ => Ok((name.into(), value)),
    }
}

fn microseconds(value: &Value) -> Option<u64> {
    let seconds: u64 = match value {
        Value::Byte(value) => (*value).into(),
        Value::Uint16(value) => (*value).into(),
        Value::Uint32(value) => (*value).into(),
        Value::Uint64(value) => *value,
        Value::Int16(value) => (*value).try_into().ok()?,
        Value::Int32(value) => (*value).try_into().ok()?,
        Value::Int64(value) => (*value).try_into().ok()?,
        Value::Double(value) if (0.0..=u64::MAX as f64).contains(value) => {
            return Some((value * SECOND as f64) as u64);
        }
        _ => return None,
    };
    seconds.checked_mul(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<Annotations> {
        Annotations::parse([(&key.to_owned(), &value.to_owned())])
    }

    #[test]
    fn annotations_become_properties() {
        for (name, text, property, value) in [
            ("CollectMode", "'inactive-or-failed'", "CollectMode", "inactive-or-failed".into()),
            ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec", Value::Uint64(5)),
            ("TimeoutStopSec", "5", "TimeoutStopUSec", Value::Uint64(5_000_000)),
            ("TimeoutStopSec", "1.5", "TimeoutStopUSec", Value::Uint64(1_500_000)),
            // An upper-case letter before it: no unit of time.
            ("NoSuchUSec", "uint64 5", "NoSuchUSec", Value::Uint64(5)),
        ] {
            let properties = parse(&format!("{PREFIX}{name}"), text).unwrap();
            assert_eq!(properties.properties, [(property.into(), value)], "{name}");
        }
        let none = Annotations { properties: vec![], given: vec![] };
        assert_eq!(parse("org.example", "x").unwrap(), none);
    }

    #[test]
    fn the_one_that_systemd_names_is_blamed() {
        let given = ["MemoryHigh", "NoSuchProp"]
            .map(|name| (format!("{PREFIX}{name}"), format!("'{name}'")));
        let (first, second) = (
            format!("annotations[{PREFIX}MemoryHigh]: \"'MemoryHigh'\""),
            format!("annotations[{PREFIX}NoSuchProp]: \"'NoSuchProp'\""),
        );
        let answer = "Cannot set property NoSuchProp, or unknown property.";
        assert_eq!(blamed(&given, answer), second);
        assert_eq!(blamed(&given, "Invalid argument"), format!("{first}, {second}"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, text) in [
            ("X", "5"),
            ("", "5"),
            ("Two Words", "5"),
            ("CPUWeight", "five"),
            ("TimeoutStopSec", "'x'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
        ] {
            let error = parse(&format!("{PREFIX}{name}"), text).unwrap_err().to_string();
            let wanted = format!("annotations[{PREFIX}{name}]: {text:?}");
            assert!(error.starts_with(&wanted), "{error}");
        }
    }
}
