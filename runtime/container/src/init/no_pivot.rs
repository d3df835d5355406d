//! What pivot_root(2) would have taken away, and moving the root does not: the host's other mounts stay
//! in the mount namespace.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::{Result, Step};

/// Unmounts every procfs and sysfs outside the rootfs, or covers what can't be unmounted: as long as
/// a whole one is there, a user namespace made in the container may mount its own without masks.
pub(crate) fn hide_kernel_filesystems(rootfs: &Path) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").step(|| "read mountinfo")?;
    let mut points: Vec<PathBuf> = table.lines().filter_map(kernel_mount).collect();
    points.retain(|point| !point.starts_with(rootfs));
    // The last mounted is uncovered first.
    for point in points.iter().rev() {
        match umount2(point, MntFlags::MNT_DETACH) {
            // Gone with one above it, or locked by the owner of the namespace.
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(_) => {}
        }
        let source = Some("tmpfs");
        match nix::mount::mount(source, point, source, MsFlags::empty(), None::<&str>) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).step(|| format!("cover {}", point.display())),
        }
    }
    Ok(())
}

/// The mount point of a line of mountinfo, if it is a procfs or a sysfs.
fn kernel_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let kind = filesystem.split(' ').next()?;
    (kind == "proc" || kind == "sysfs").then(|| unescape(mount.split(' ').nth(4).unwrap_or("/")))
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
