//! What pivot_root(2) would have taken away, and moving the root does not: the host's other mounts stay
//! in the mount namespace.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::{Result, Step};

/// Unmounts every procfs and sysfs outside the rootfs, or covers what can't be unmounted: as long as
/// a whole one is there, a user namespace made in the container may mount its own without masks.
/// With `shared`, the mounts are the host's as well: they are cut off from it, and covered only, as one
/// that lies on another is unmounted from that, which nothing can cut off.
pub(crate) fn hide_kernel_filesystems(rootfs: &Path, shared: bool) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").step(|| "read mountinfo")?;
    let outside = |point: &PathBuf| !point.starts_with(rootfs);
    if shared {
        for point in table.lines().map(mount_point).filter(outside) {
            change(None, &point, MsFlags::MS_SLAVE)
                .step(|| format!("make the mount of {} a slave", point.display()))?;
        }
    }
    let points: Vec<PathBuf> = table.lines().filter_map(kernel_mount).filter(outside).collect();
    // The last mounted is uncovered first.
    for point in points.iter().rev() {
        if !shared {
            match umount2(point, MntFlags::MNT_DETACH) {
                // Gone with one above it, or locked by the owner of the namespace.
                Ok(()) | Err(Errno::ENOENT) => continue,
                Err(_) => {}
            }
        }
        change(Some("tmpfs"), point, MsFlags::empty())
            .step(|| format!("cover {}", point.display()))?;
    }
    Ok(())
}

/// mount(2) of what is still in reach: others may lie on it.
fn change(kind: Option<&str>, point: &Path, flags: MsFlags) -> nix::Result<()> {
    match nix::mount::mount(kind, point, kind, flags, None::<&str>) {
        Err(Errno::ENOENT) => Ok(()),
        // No mount is to be seen there.
        Err(Errno::EINVAL) if kind.is_none() => Ok(()),
        result => result,
    }
}

/// The mount point of a line of mountinfo, if it is a procfs or a sysfs.
fn kernel_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let kind = filesystem.split(' ').next()?;
    (kind == "proc" || kind == "sysfs").then(|| mount_point(mount))
}

fn mount_point(line: &str) -> PathBuf {
    unescape(line.split(' ').nth(4).unwrap_or("/"))
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                path.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kernel_filesystems_are_found() {
        for (line, point) in [
            ("22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw", Some("/proc")),
            ("23 1 0:22 / /a\\040b\\134 rw - sysfs sysfs rw", Some("/a b\\")),
            ("24 1 0:23 / /tmp rw shared:1 - tmpfs tmpfs rw", None),
        ] {
            assert_eq!(kernel_mount(line), point.map(PathBuf::from), "{line}");
        }
    }
}
