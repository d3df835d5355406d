//! What `checkpoint` and `restore` share: flags for criu.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches};
use container::{CgroupsMode, CriuOptions};

use super::launch::path;
use crate::cli::flag;
use crate::context::absolute;
use crate::error::Error;

/// Where the images are unless told otherwise.
const IMAGES: &str = "checkpoint";

/// The flags of both.
pub fn flags() -> Vec<Arg> {
    vec![
        flag::file("image-path", "directory of criu's images [default: ./checkpoint]"),
        flag::file("work-path", "directory of criu's log and other files [default: the images']"),
        flag::switch("tcp-established", "allow open TCP connections"),
        flag::switch("ext-unix-sk", "allow Unix sockets whose other ends are outside"),
        flag::switch("shell-job", "allow a terminal that is not the container's"),
        flag::switch("file-locks", "save file locks too"),
        flag::switch("auto-dedup", "leave out of memory images what newer ones have"),
        flag::switch("lazy-pages", "fetch memory pages when they are needed (userfaultfd)"),
        flag::choice("manage-cgroups-mode", "soft|full|strict|ignore", "what criu does to cgroups"),
        flag::list("empty-ns", "leave what is in a namespace to others; network always is")
            .value_name("network"),
    ]
}

/// What they say.
pub fn options(arguments: &ArgMatches) -> Result<CriuOptions, Error> {
    if let Some(name) = flag::texts(arguments, "empty-ns").find(|name| *name != "network") {
        return Err(bad("empty-ns", name, "only network is supported"));
    }
    let cgroups = match flag::text(arguments, "manage-cgroups-mode") {
        None => CgroupsMode::Default,
        Some("soft") => CgroupsMode::Soft,
        Some("full") => CgroupsMode::Full,
        Some("strict") => CgroupsMode::Strict,
        Some("ignore") => CgroupsMode::Ignore,
        Some(mode) => return Err(bad("manage-cgroups-mode", mode, "invalid value")),
    };
    let images = path(arguments, "image-path")?;
    Ok(CriuOptions {
        images: images.map_or_else(|| absolute(Path::new(IMAGES)), Ok::<PathBuf, Error>)?,
        work: path(arguments, "work-path")?,
        tcp_established: arguments.get_flag("tcp-established"),
        ext_unix_sk: arguments.get_flag("ext-unix-sk"),
        shell_job: arguments.get_flag("shell-job"),
        file_locks: arguments.get_flag("file-locks"),
        auto_dedup: arguments.get_flag("auto-dedup"),
        lazy_pages: arguments.get_flag("lazy-pages"),
        cgroups,
    })
}

/// A flag with a value that can't be.
pub fn bad(flag: &'static str, value: &str, reason: &'static str) -> Error {
    Error::FlagValue { flag, value: value.to_owned(), reason }
}
