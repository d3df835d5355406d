//! Lines of a schemata file: `L3:0=ff;1=c0`, `MB:0=20;1=70`.

use oci_spec::runtime::LinuxIntelRdt;

use crate::error::Error;
use crate::report::Report;

/// All that is to be written, each line with its end; nothing where no schema is given.
pub(crate) fn lines(given: &LinuxIntelRdt) -> Result<String, Error> {
    let mut report = Report::default();
    let cache = given.l3_cache_schema().as_deref().unwrap_or_default();
    let bandwidth = given.mem_bw_schema().as_deref().unwrap_or_default();
    let mut all: Vec<&str> = Vec::new();
    for (field, text) in [("l3CacheSchema", cache), ("memBwSchema", bandwidth)] {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if parse(line).is_none() {
                let reason = format!("{line:?} is not of the form NAME:ID=VALUE;ID=VALUE");
                report.add(format!("linux.intelRdt.{field}"), reason);
            }
            // runtime-spec: memBwSchema is what counts for it.
            if field == "l3CacheSchema" && line.trim_start().starts_with("MB:") {
                continue;
            }
            all.push(line);
        }
    }
    // These are written as they are, and the kernel takes the last of several lines for one resource.
    all.extend(given.schemata().iter().flatten().map(String::as_str));
    report.finish(Some(all.iter().map(|line| format!("{line}\n")).collect()))
}

/// The fields that need a resource, and the directories below `info` of which it takes one.
pub(crate) fn needed(
    given: &LinuxIntelRdt,
) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let cache = has(given.l3_cache_schema());
    let bandwidth = has(given.mem_bw_schema());
    let cache = cache.then_some(("linux.intelRdt.l3CacheSchema", &["L3", "L3CODE", "L3DATA"][..]));
    let bandwidth = bandwidth.then_some(("linux.intelRdt.memBwSchema", &["MB"][..]));
    cache.into_iter().chain(bandwidth)
}

/// Whether a group that is there has what these lines say; the error is the first that differs.
pub(crate) fn compare<'a>(lines: &'a str, current: &str) -> Result<(), &'a str> {
    let current: Vec<_> = current.lines().filter_map(parse).collect();
    let held = |resource: &str, id: &str, value: &str| {
        current.iter().filter(|(name, _)| *name == resource).any(|(_, values)| {
            values.iter().any(|(other, now)| *other == id && same(resource, now, value))
        })
    };
    match lines.lines().find(|line| match parse(line) {
        Some((name, values)) => !values.iter().all(|(id, value)| held(name, id, value)),
        None => true,
    }) {
        Some(line) => Err(line),
        None => Ok(()),
    }
}

/// Bit masks are hexadecimal, with or without leading zeros; bandwidths are decimal.
fn same(resource: &str, one: &str, other: &str) -> bool {
    let radix = if resource == "MB" { 10 } else { 16 };
    let number = |text: &str| {
        let text = if radix == 16 { text.trim_start_matches("0x") } else { text };
        u64::from_str_radix(text, radix).ok()
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// A resource and the value of each of its domains.
type Line<'a> = (&'a str, Vec<(&'a str, &'a str)>);

fn parse(line: &str) -> Option<Line<'_>> {
    let (name, values) = line.split_once(':')?;
    let values = values.split(';').filter(|part| !part.trim().is_empty()).map(|part| {
        let (id, value) = part.split_once('=')?;
        let (id, value) = (id.trim(), value.trim());
        (!id.is_empty() && !value.is_empty()).then_some((id, value))
    });
    let values: Option<Vec<_>> = values.collect();
    let name = name.trim();
    values.filter(|values| !values.is_empty() && !name.is_empty()).map(|values| (name, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_by_the_rules_of_the_spec() {
        for (json, wanted) in [
            (r#"{"closID": "x"}"#, ""),
            (r#"{"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}"#, "L3:0=f\nMB:0=20\n"),
            (
                r#"{"l3CacheSchema": "L3DATA:0=f\nMB:0=10\nL3CODE:0=3", "memBwSchema": "MB:0=20"}"#,
                "L3DATA:0=f\nL3CODE:0=3\nMB:0=20\n",
            ),
            (
                r#"{"schemata": ["L2:0=1", "MB:0=70"], "memBwSchema": "MB:0=20"}"#,
                "MB:0=20\nL2:0=1\nMB:0=70\n",
            ),
        ] {
            let given: LinuxIntelRdt = serde_json::from_str(json).unwrap();
            assert_eq!(lines(&given).unwrap(), wanted, "{json}");
        }
    }

    #[test]
    fn bad_lines_are_quoted() {
        for (json, error) in [
            (r#"{"l3CacheSchema": "L3"}"#, "linux.intelRdt.l3CacheSchema: \"L3\" is not"),
            (r#"{"memBwSchema": "MB:0"}"#, "linux.intelRdt.memBwSchema: \"MB:0\" is not"),
            (r#"{"memBwSchema": "MB:=5"}"#, "linux.intelRdt.memBwSchema: \"MB:=5\" is not"),
        ] {
            let given: LinuxIntelRdt = serde_json::from_str(json).unwrap();
            let found = lines(&given).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }

    #[test]
    fn values_are_compared_as_numbers() {
        let current = "    L3:0=7ff;1=00f\n    MB:0=100;1=70\n";
        for good in ["L3:0=7ff;1=f\n", "L3:1=0xf\n", "MB:0= 100\nL3:0=07ff\n", ""] {
            assert_eq!(compare(good, current), Ok(()), "{good}");
        }
        for bad in ["L3:0=7f", "L3:2=7ff", "L2:0=7ff", "MB:1=7", "nonsense"] {
            assert_eq!(compare(bad, current), Err(bad));
        }
    }
}
