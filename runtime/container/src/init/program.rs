//! Finding the program in the container and executing it.

use std::ffi::{CStr, CString};
use std::io::Read;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, stat};
use nix::unistd::{AccessFlags, faccessat};

use super::filter::{self, Filter};
use super::{Result, Step, failure};
use crate::error::{InitFailure, Os};
use crate::plan::ProcessPlan;
use crate::sync::Channel;

/// Most of a passwd file that is read.
const PASSWD_LIMIT: u64 = 1 << 20;

/// A program that was found.
pub(crate) struct Program {
    path: CString,
    /// `HOME=…`, where the environment has none.
    home: Option<CString>,
}

/// Looks the program up as runc does: in PATH of the process, or as it stands when it has a slash.
/// The words of the errors are what engines find exit codes 126 and 127 by.
pub(crate) fn find(plan: &ProcessPlan) -> Result<Program> {
    let name = plan.args[0].to_string_lossy();
    let path = if name.contains('/') {
        executable(&plan.args[0]).map_err(|errno| match errno {
            Errno::EACCES | Errno::EISDIR => failure(format!("exec: {name:?}: {}", Os(errno))),
            errno => failure(format!("exec: {name:?}: stat {name}: {}", Os(errno))),
        })?;
        plan.args[0].clone()
    } else {
        search(plan, &name)?
    };
    Ok(Program { path, home: None })
}

fn search(plan: &ProcessPlan, name: &str) -> Result<CString> {
    let path = plan.env.iter().find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="));
    for dir in path.unwrap_or_default().split(|&byte| byte == b':') {
        // Go's rule: what the current directory holds is not run by its bare name.
        if !dir.starts_with(b"/") || name.is_empty() {
            continue;
        }
        let mut full = dir.to_vec();
        full.push(b'/');
        full.extend_from_slice(name.as_bytes());
        if let Ok(full) = CString::new(full)
            && executable(&full).is_ok()
        {
            return Ok(full);
        }
    }
    Err(failure(format!("exec: {name:?}: executable file not found in $PATH")))
}

fn executable(path: &CStr) -> std::result::Result<(), Errno> {
    let mode = stat(path)?.st_mode;
    match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => return Err(Errno::EISDIR),
        SFlag::S_IFREG if mode & 0o111 != 0 => {}
        _ => return Err(Errno::EACCES),
    }
    match faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
        // faccessat2 is Linux 5.8, and a filter may not know it: exec will tell.
        Ok(()) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The home directory in the container's own passwd file, `/` when it has none.
fn home(uid: u32) -> CString {
    let home = read_passwd().and_then(|text| {
        let line = text.split(|&b| b == b'\n').find_map(|line| {
            let mut fields = line.split(|&b| b == b':').skip(2);
            let number = std::str::from_utf8(fields.next()?).ok()?.parse::<u32>().ok()?;
            (number == uid).then(|| fields.nth(2)).flatten()
        })?;
        (!line.is_empty()).then(|| CString::new([b"HOME=", line].concat()).ok()).flatten()
    });
    home.unwrap_or_else(|| c"HOME=/".to_owned())
}

fn read_passwd() -> Option<Vec<u8>> {
    // The image may have put a fifo or a device there.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open("/etc/passwd", flags, Mode::empty()).ok()?;
    let kind = SFlag::from_bits_truncate(fstat(&fd).ok()?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::from(fd).take(PASSWD_LIMIT).read_to_end(&mut text).ok()?;
    Some(text)
}

impl Program {
    /// Looks the home directory up where the environment has none. The image chooses what is opened, so
    /// the device rules must be in force: a watchdog starts when it is opened.
    pub fn find_home(&mut self, plan: &ProcessPlan) {
        self.home = plan.needs_home.then(|| home(plan.uid));
    }

    /// Becomes the program. What comes back is why it could not.
    pub fn exec(
        &self,
        plan: &ProcessPlan,
        filter: Option<&Filter>,
        channel: &Channel,
    ) -> InitFailure {
        match self.try_exec(plan, filter, channel) {
            Ok(errno) => {
                let name = String::from_utf8_lossy(self.path.as_bytes());
                failure(format!("exec {name}: {}", Os(errno)))
            }
            Err(failure) => failure,
        }
    }

    fn try_exec(
        &self,
        plan: &ProcessPlan,
        filter: Option<&Filter>,
        channel: &Channel,
    ) -> Result<Errno> {
        sys::process::reset_signals().step(|| "reset signals")?;
        for fd in 3..3 + plan.preserve_fds as i32 {
            sys::file::keep_on_exec(fd).step(|| format!("pass on descriptor {fd}"))?;
        }
        let args: Vec<&CStr> = plan.args.iter().map(CString::as_c_str).collect();
        let env =
            plan.env.iter().filter(|v| self.home.is_none() || !v.to_bytes().starts_with(b"HOME="));
        let env: Vec<&CStr> = env.chain(&self.home).map(CString::as_c_str).collect();
        if let Some(filter) = filter {
            filter::load(filter, plan, channel)?;
        }
        Ok(sys::process::execve(&self.path, &args, &env))
    }
}
