//! The ids of a user namespace: the lines of uid_map and gid_map, see user_namespaces(7).

use oci_spec::runtime::LinuxIdMapping;

use crate::error::Error;
use crate::report::Report;

/// What the kernel takes.
const MAX_LINES: usize = 340;

/// The lines of a uid_map or gid_map.
pub(crate) fn text(mappings: &[LinuxIdMapping]) -> String {
    mappings.iter().map(|mapping| line(mapping) + "\n").collect()
}

fn line(mapping: &LinuxIdMapping) -> String {
    format!("{} {} {}", mapping.container_id(), mapping.host_id(), mapping.size())
}

/// The kernel says of the whole map only that it is invalid: its rules, line by line.
pub(crate) fn check(field: &str, mappings: &[LinuxIdMapping]) -> Result<(), Error> {
    let mut report = Report::default();
    if mappings.len() > MAX_LINES {
        let reason = format!("{} mappings: the kernel takes {MAX_LINES}", mappings.len());
        report.add(field, reason);
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if mapping.size() == 0 {
            report.add(format!("{at}.size"), "0: must be at least 1");
        }
        for (name, first, of) in [
            ("containerID", mapping.container_id(), LinuxIdMapping::container_id as fn(&_) -> _),
            ("hostID", mapping.host_id(), LinuxIdMapping::host_id),
        ] {
            let end = u64::from(first) + u64::from(mapping.size());
            // The last number is no id.
            if end > u64::from(u32::MAX) {
                let reason = format!("{}: ends beyond the last id", line(mapping));
                report.add(format!("{at}.{name}"), reason);
            }
            let overlaps = |other: &LinuxIdMapping| {
                let start = u64::from(of(other));
                u64::from(first) < start + u64::from(other.size()) && start < end
            };
            if let Some(other) = mappings[..index].iter().position(overlaps) {
                let reason = format!("{}: overlaps with {field}[{other}]", line(mapping));
                report.add(format!("{at}.{name}"), reason);
            }
        }
    }
    report.finish(Some(()))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxIdMappingBuilder;

    use super::*;

    #[test]
    fn lines_that_the_kernel_refuses_are_named() {
        for (json, wanted) in [
            (r#"[[0, 1000, 1], [1, 100000, 65536]]"#, ""),
            (r#"[[0, 1000, 0]]"#, "m[0].size"),
            (r#"[[0, 4294967290, 10]]"#, "m[0].hostID"),
            (r#"[[0, 1000, 10], [9, 5000, 10]]"#, "m[1].containerID"),
            (r#"[[0, 1000, 10], [10, 1009, 1]]"#, "m[1].hostID"),
        ] {
            let rows: Vec<[u32; 3]> = serde_json::from_str(json).unwrap();
            let mapping = |[container, host, size]: [u32; 3]| {
                let mapping = LinuxIdMappingBuilder::default();
                let mapping = mapping.container_id(container).host_id(host).size(size);
                mapping.build().unwrap()
            };
            let error = check("m", &rows.into_iter().map(mapping).collect::<Vec<_>>()).err();
            let said = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.starts_with(wanted) && said.is_empty() == wanted.is_empty(), "{said}");
        }
    }
}
