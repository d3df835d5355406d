//! The standard streams of a container's first process: those that lead out of the container are not
//! saved, and whoever restores it has others.
//!
//! `descriptors.json` among criu's images is runc's: what the three descriptors are, such as
//! "pipe:[4711]". Here a file of the host is named as criu names it, `file[mount:inode]`, and a terminal
//! `tty[rdev:dev]`, neither of which runc can save.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::{fs, io};

use sys::file::Identity;

use super::external::NULL;
use super::mountinfo::Mount;
use super::program::open_null;
use crate::error::{Context, Error};

const FILE: &str = "descriptors.json";

/// Where the host's terminals are.
const TERMINALS: &str = "/dev/pts/";

/// What the three descriptors of a process with these mounts are.
pub(super) fn of(pid: i32, mounts: &[Mount]) -> Vec<String> {
    (0..3).map(|fd| stream(pid, fd, mounts)).collect()
}

/// A closed one counts as /dev/null, as does one that can't be looked at. The file itself may be of a
/// file system that the container serves, who need not answer.
fn stream(pid: i32, fd: i32, own: &[Mount]) -> String {
    let path = format!("/proc/{pid}/fd/{fd}");
    let Ok(link) = fs::read_link(&path) else { return NULL.to_owned() };
    let link = link.to_string_lossy().into_owned();
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let mount = mount.and_then(|number| number.trim().parse::<u64>().ok());
    let foreign = |mount: &u64| link.starts_with('/') && own.iter().all(|own| own.id != *mount);
    let identity = || sys::file::identity(&CString::new(path).ok()?).ok();
    match mount.filter(foreign).and_then(|mount| Some((mount, identity()?))) {
        Some((_, Identity { device, special, .. })) if link.starts_with(TERMINALS) => {
            format!("tty[{special:x}:{device:x}]")
        }
        Some((mount, identity)) => key(mount, identity.inode, &link),
        None => link,
    }
}

fn key(mount: u64, inode: u64, link: &str) -> String {
    let null = if link == NULL { NULL } else { "" };
    format!("file[{mount:x}:{inode:x}]{null}")
}

/// The files of the host among them.
pub(super) fn files(streams: &[String]) -> impl Iterator<Item = &str> {
    streams
        .iter()
        .filter_map(|stream| split(stream).filter(|(_, pipe, _)| !pipe))
        .map(|(key, ..)| key)
}

/// criu's name of what leads out of the container, whether it is a pipe, and whether it is /dev/null.
fn split(stream: &str) -> Option<(&str, bool, bool)> {
    let pipe = stream.starts_with("pipe:");
    if !pipe && !["file[", "tty["].iter().any(|kind| stream.starts_with(kind)) {
        return None;
    }
    let end = stream.find(']')? + 1;
    Some((&stream[..end], pipe, &stream[end..] == NULL))
}

/// Saves them in the directory of the images.
pub(super) fn save(streams: &[String], images: &Path) -> Result<(), Error> {
    let path = images.join(FILE);
    let text = serde_json::json!(streams).to_string();
    fs::write(&path, text).context(|| format!("write {}", path.display()))
}

/// Those that were saved.
pub(super) fn load(images: &Path) -> Result<Vec<String>, Error> {
    let path = images.join(FILE);
    let step = || format!("read {}", path.display());
    let text = fs::read(&path).context(step)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::system(format!("{}: {error}", step()), nix::errno::Errno::EINVAL))
}

/// What takes the places of those that led out of the container: our own streams.
#[derive(Debug, Default)]
pub(super) struct Substitutes {
    /// criu's name, and the descriptor.
    pub list: Vec<(String, i32)>,
    _own: Vec<OwnedFd>,
}

impl Substitutes {
    pub fn new(streams: &[String]) -> Result<Substitutes, Error> {
        let mut substitutes = Substitutes::default();
        // No more than stdio: our other descriptors are none of the images' business.
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        let all = [input.as_fd(), output.as_fd(), error.as_fd()];
        for (own, stream) in all.into_iter().zip(streams) {
            let Some((key, _, is_null)) = split(stream) else { continue };
            if substitutes.list.iter().any(|(known, _)| known == key) {
                continue;
            }
            let fd = if is_null {
                // Several streams may be this one, of which ours may not all be open for writing.
                open_null().context(|| "open /dev/null")?
            } else {
                // criu closes what it is given, and with --shell-job looks for a terminal at 0.
                own.try_clone_to_owned().context(|| "copy the standard streams")?
            };
            substitutes.list.push((key.to_owned(), fd.as_raw_fd()));
            substitutes._own.push(fd);
        }
        Ok(substitutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_stdio_is_handed_on() {
        let streams: Vec<String> = (0..12).map(|number| format!("pipe:[{number}]")).collect();
        let substitutes = Substitutes::new(&streams).unwrap();
        for (number, (name, copy)) in substitutes.list.iter().enumerate() {
            assert_eq!(*name, format!("pipe:[{number}]"));
            assert!(*copy > 2);
            let file = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            assert_eq!(file(*copy), file(number as i32));
        }
        assert_eq!(substitutes.list.len(), 3);
    }

    #[test]
    fn what_leads_out_is_found() {
        let null = key(27, 255, NULL);
        assert_eq!(split(&null), Some(("file[1b:ff]", false, true)));
        assert_eq!(split(&key(27, 255, "/tmp/out")), Some(("file[1b:ff]", false, false)));
        assert_eq!(split("tty[8803:16]"), Some(("tty[8803:16]", false, false)));
        assert_eq!(split("pipe:[12]"), Some(("pipe:[12]", true, false)));
        for inside in ["/dev/null", "/dev/pts/0", "socket:[1]"] {
            assert_eq!(split(inside), None);
        }
    }

    #[test]
    fn a_stream_has_one_substitute() {
        let streams = [key(1, 2, NULL), key(1, 3, "/out"), key(1, 3, "/out")];
        let substitutes = Substitutes::new(&streams).unwrap();
        assert_eq!(substitutes.list.len(), 2);
        assert_eq!(substitutes.list[1].0, "file[1:3]");
        assert_eq!(files(&streams).count(), 3);
    }
}
