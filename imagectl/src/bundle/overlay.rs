//! The rootfs as a kernel overlay over the store's unpacked layers.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use crate::error::{Error, Result};
use crate::layer::Ownership;
use crate::store::Stack;
use crate::user_namespace;

/// What the kernel takes as mount options, in bytes: a page with its NUL.
const OPTION_LIMIT: usize = 4095;

/// What becomes of changes when the machine loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// What was synced lasts. Unmounting syncs the whole file system that the upper directory is on.
    Last,
    /// They are worth nothing then, and the kernel never syncs them.
    Volatile,
}

/// An overlay's directories.
#[derive(Debug)]
pub struct Overlay {
    /// The topmost first.
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
}

impl Overlay {
    /// The mount options as a config.json has them, for a runtime to mount it.
    ///
    /// # Errors
    /// [`Error::Document`] if they are too long, or a path is no text.
    pub fn as_text(&self) -> Result<Vec<String>> {
        let options = options(&self.lower, &self.upper, &self.work);
        let refuse = |reason: &str| Error::Document {
            what: format!("overlay of {} layers", self.lower.len()),
            reason: format!("{reason}; use --copy"),
        };
        if options.join(&b","[..]).len() > OPTION_LIMIT {
            return Err(refuse("its mount options are longer than a page"));
        }
        let text = |option| String::from_utf8(option).map_err(|_| refuse("a path is not UTF-8"));
        options.into_iter().map(text).collect()
    }
}

/// Mounts the layers at `rootfs`; changes go to `bundle/overlay/upper`. Needs root, of a user namespace
/// at least: there the kernel (5.11) takes whiteouts' attributes from `user.overlay.*`.
pub fn mount(bundle: &Path, rootfs: &Path, stack: &Stack, changes: Changes) -> Result<Overlay> {
    let upper = bundle.join("overlay/upper");
    let work = bundle.join("overlay/work");
    for (path, mode) in
        [(bundle.join("overlay"), 0o700), (upper.clone(), 0o755), (work.clone(), 0o700)]
    {
        std::fs::DirBuilder::new()
            .mode(mode)
            .create(&path)
            .map_err(Error::io("make the directory", &path))?;
    }
    stack.describe_root(open(&upper)?)?;
    let mut lower: Vec<PathBuf> = stack.lower_directories().into_iter().cloned().collect();
    if lower.is_empty() {
        // An image without layers; overlayfs wants one all the same.
        let empty = bundle.join("overlay/empty");
        std::fs::create_dir(&empty).map_err(Error::io("make the directory", &empty))?;
        lower.push(empty);
    }
    let overlay = Overlay { lower, upper, work };
    match changes {
        Changes::Last => overlay.mount(rootfs, b"")?,
        // Kernels before 5.10 don't know it.
        Changes::Volatile => {
            overlay.mount(rootfs, b",volatile").or_else(|_| overlay.mount(rootfs, b""))?
        }
    }
    let mounted = || -> Result<()> {
        let rootfs: OwnedFd = open(rootfs)?.into();
        stack.resolve_implied(Some(&rootfs))
    };
    mounted().inspect_err(|_| {
        // The error at hand is the one to tell; the bundle's removal tries once more.
        let _ = unmount(rootfs);
    })?;
    Ok(overlay)
}

impl Overlay {
    fn mount(&self, rootfs: &Path, more: &[u8]) -> Result<()> {
        let Self { lower, upper, work } = self;
        let options = |lower: &[PathBuf]| {
            [options(lower, upper, work).join(&b","[..]), more.to_vec()].concat()
        };
        let paths = options(lower);
        let handles: Vec<File>;
        let data = if paths.len() <= OPTION_LIMIT {
            paths
        } else {
            // Many layers: descriptors have shorter names, and the kernel keeps the directories.
            handles = lower.iter().map(|path| open(path)).collect::<Result<_>>()?;
            let short = |file: &File| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let lower: Vec<PathBuf> = handles.iter().map(short).collect();
            options(&lower)
        };
        if data.len() > OPTION_LIMIT {
            return Err(Error::Document {
                what: format!("image of {} layers", lower.len()),
                reason: "has more layers than overlayfs takes at once; use --copy".into(),
            });
        }
        let data = CString::new(data).map_err(|error| {
            Error::io("mount the overlay at", rootfs)(std::io::Error::from(error))
        })?;
        rustix::mount::mount("overlay", rootfs, "overlay", MountFlags::empty(), data.as_c_str())
            .map_err(Error::io("mount the overlay at", rootfs))
    }
}

/// Unmounts all that is mounted at `rootfs`. Nothing being mounted there is fine.
pub fn unmount(rootfs: &Path) -> Result<()> {
    loop {
        match rustix::mount::unmount(rootfs, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return Ok(()),
            // Without root there was no mount to begin with.
            Err(rustix::io::Errno::PERM)
                if !rustix::process::geteuid().is_root() || user_namespace::maps().is_some() =>
            {
                return Ok(());
            }
            Err(errno) => return Err(Error::io("unmount", rootfs)(errno)),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io("open", path))
}

/// One option an element.
fn options(lower: &[PathBuf], upper: &Path, work: &Path) -> Vec<Vec<u8>> {
    let escaped: Vec<Vec<u8>> = lower.iter().map(|path| escape(path)).collect();
    let mut options = vec![
        [b"lowerdir=".as_slice(), &escaped.join(&b':')].concat(),
        [b"upperdir=".as_slice(), &escape(upper)].concat(),
        [b"workdir=".as_slice(), &escape(work)].concat(),
    ];
    if Ownership::of_caller() != Ownership::Stored {
        options.push(b"userxattr".to_vec());
    }
    options
}

/// A colon parts lower directories, a comma parts options.
fn escape(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped() {
        let options = options(
            &[PathBuf::from("/a:b"), PathBuf::from("/c,d")],
            Path::new("/u\\"),
            Path::new("/w"),
        );
        let options = options[..3].join(&b","[..]);
        assert_eq!(options, br"lowerdir=/a\:b:/c\,d,upperdir=/u\\,workdir=/w");
    }
}
