//! The forms that the kernel's counters come in.

use std::collections::BTreeMap;
use std::fs;

use nix::errno::Errno;

use crate::dir::Dir;
use crate::{Error, Result};

/// The file's text; none when there is no such file, or its controller has nothing to say.
pub(super) fn text(dir: &Dir, file: &str) -> Result<Option<String>> {
    match dir.try_read(file) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV) => Ok(None),
        Err(source) => Err(Error::Read { path: dir.path.join(file), source }),
    }
}

/// A number, or "max", which is the largest there is.
pub(super) fn number(dir: &Dir, file: &str) -> Result<Option<u64>> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    parse(dir, file, text.trim()).map(Some)
}

pub(super) fn parse(dir: &Dir, file: &str, text: &str) -> Result<u64> {
    match text {
        "max" => Ok(u64::MAX),
        text => text.parse().map_err(|_| line(dir, file, text)),
    }
}

/// Numbers by their names, a pair a line.
pub(super) fn table(dir: &Dir, file: &str) -> Result<BTreeMap<String, u64>> {
    let mut table = BTreeMap::new();
    for one in text(dir, file)?.unwrap_or_default().lines() {
        let (name, value) = one.split_once(' ').ok_or_else(|| line(dir, file, one))?;
        table.insert(name.to_owned(), parse(dir, file, value)?);
    }
    Ok(table)
}

pub(super) fn line(dir: &Dir, file: &str, text: &str) -> Error {
    Error::Line { path: dir.path.join(file), line: text.to_owned() }
}

/// The sizes of huge pages, as the files' names have them: "64KB", "2MB", "1GB".
pub(super) fn huge_page_sizes() -> Vec<String> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut sizes: Vec<u64> = names
        .filter_map(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok())
        .collect();
    sizes.sort_unstable();
    sizes.into_iter().map(size_name).collect()
}

fn size_name(kilobytes: u64) -> String {
    match kilobytes {
        size if size % (1 << 20) == 0 => format!("{}GB", size >> 20),
        size if size % (1 << 10) == 0 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_named_as_the_kernel_names_them() {
        assert_eq!([64, 2048, 1 << 20].map(size_name), ["64KB", "2MB", "1GB"]);
    }
}
