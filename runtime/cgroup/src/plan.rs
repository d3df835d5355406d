//! Turns `linux.resources` into writes. Pure: no kernel is asked.

pub(crate) mod bounds;
mod field;
pub(crate) mod v1;
pub(crate) mod v2;
mod weight;

use std::borrow::Cow;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxRdma, LinuxThrottleDevice};

use crate::{Error, Result};

/// One value for one file of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The v1 name, such as "memory" or "blkio"; on v2 it serves the errors alone.
    pub controller: Cow<'static, str>,
    pub file: Cow<'static, str>,
    pub value: String,
    /// Which entry of a list it comes from, for errors.
    pub index: Option<usize>,
    pub otherwise: Otherwise,
    /// It is named in `unified`.
    pub unified: bool,
}

/// What to do when a write does not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// Fail.
    Fail,
    /// Nothing where there is no such file: the value is what the kernel does without it.
    Skip,
    /// Where there is no such file, write another.
    Instead(&'static str, String),
    /// On EINVAL, once more after the next write: the kernel checks each of two values against the
    /// other, and which order it accepts depends on what they were.
    Again,
}

impl Write {
    pub(crate) fn new(
        controller: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Write {
        Write {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            index: None,
            otherwise: Otherwise::Fail,
            unified: false,
        }
    }

    pub(crate) fn otherwise(self, otherwise: Otherwise) -> Write {
        Write { otherwise, ..self }
    }

    pub(crate) fn of_entry(self, index: usize) -> Write {
        Write { index: Some(index), ..self }
    }
}

/// `pids.max`, the same file on both versions. 0 becomes 1, as systemd can't express 0 and both let
/// the container's first process live; what is negative is no limit.
fn pids(limit: i64) -> Write {
    let value = match limit {
        ..0 => "max".into(),
        0 => "1".into(),
        1.. => limit.to_string(),
    };
    Write::new("pids", "pids.max", value)
}

/// `hugepageLimits`. Page reservations get the same limit where the kernel counts them (5.7).
fn hugetlb(
    limits: &[LinuxHugepageLimit],
    suffix: &str,
    writes: &mut Vec<Write>,
    errors: &mut Vec<Error>,
) {
    for (index, limit) in limits.iter().enumerate() {
        let size = limit.page_size();
        if !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) || size.is_empty() {
            errors.push(Error::Invalid {
                field: format!("hugepageLimits[{index}].pageSize"),
                value: size.clone(),
                reason: "is not a page size, such as 2MB",
            });
            continue;
        }
        let write = |file| Write::new("hugetlb", file, limit.limit()).of_entry(index);
        writes.push(write(format!("hugetlb.{size}.{suffix}")));
        let reserved = write(format!("hugetlb.{size}.rsvd.{suffix}"));
        writes.push(reserved.otherwise(Otherwise::Skip));
    }
}

/// `rdma`, the same file on both versions; a device a line, in the order of the names.
fn rdma<'a>(
    devices: impl IntoIterator<Item = (&'a String, &'a LinuxRdma)>,
    writes: &mut Vec<Write>,
    errors: &mut Vec<Error>,
) {
    let mut devices: Vec<_> = devices.into_iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        if let Err(error) = check_word(format!("rdma[{name}]"), name) {
            errors.push(error);
            continue;
        }
        let mut value = name.clone();
        if let Some(handles) = limit.hca_handles() {
            value += &format!(" hca_handle={handles}");
        }
        if let Some(objects) = limit.hca_objects() {
            value += &format!(" hca_object={objects}");
        }
        writes.push(Write::new("rdma", "rdma.max", value));
    }
}

/// A name that the kernel reads up to the next blank.
fn check_word(field: String, name: &str) -> Result<()> {
    if !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '\0') {
        return Ok(());
    }
    Err(Error::Invalid { field, value: name.to_owned(), reason: "is not the name of a device" })
}

/// The "major:minor" of a block device.
fn numbers(device: &LinuxThrottleDevice) -> String {
    format!("{}:{}", device.major(), device.minor())
}

/// A value that is there and not 0: for many fields 0 is as good as absent.
fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// A string that is there and not empty.
fn text(value: Option<&String>) -> Option<&String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
