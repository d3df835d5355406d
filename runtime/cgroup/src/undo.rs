//! What the files of a cgroup held before a plan's writes, as writes that put it back.

use crate::dir::Dir;
use crate::plan::{Otherwise, Write};
use crate::{Cgroup, Result};

impl Cgroup {
    /// The writes that put back what these are about to change, in the order to make them in. What
    /// can't be read is left out: its write will fail and say so.
    pub(crate) fn undo_of(&self, writes: &[Write]) -> Vec<Write> {
        let mut undo = Vec::new();
        for write in writes {
            let dir = self.path_of(&write.controller).and_then(|path| Dir::open(&path).ok());
            let Some(dir) = dir else { continue };
            if write.file == "cpu.idle" {
                // A group that is no longer idle has the default weight: its own comes after that.
                let weight = |file| Write::new("cpu", file, "");
                let weights = [weight("cpu.weight"), weight("cpu.shares")];
                undo.extend(weights.iter().filter_map(|weight| old(&dir, weight)));
            }
            undo.extend(old(&dir, write));
        }
        undo.reverse();
        undo
    }

    /// Puts back what [`Cgroup::undo_of`] has found, as far as the kernel and systemd let it.
    ///
    /// # Errors
    ///
    /// The first failure, after everything was tried.
    pub(crate) fn undo(&self, undo: &[Write]) -> Result<()> {
        let mut result = match &self.scope {
            Some(scope) => scope.set_limits(undo),
            None => Ok(()),
        };
        // The kernel checks some values against others: what it refuses is tried again after them.
        let failed: Vec<_> = undo.iter().filter(|write| self.write_alone(write).is_err()).collect();
        for write in failed {
            let again = self.write_alone(write);
            // An idle group takes no weight, and needs none.
            if write.file != "cpu.weight" && write.file != "cpu.shares" {
                result = result.and(again);
            }
        }
        result
    }

    fn write_alone(&self, write: &Write) -> Result<()> {
        self.write(std::slice::from_ref(write))
    }
}

/// The write that sets again what the write's file holds now.
fn old(dir: &Dir, write: &Write) -> Option<Write> {
    let (file, text) = match (dir.try_read(&write.file), &write.otherwise) {
        (Ok(text), _) => (write.file.clone(), text),
        (Err(_), Otherwise::Instead(file, _)) => ((*file).into(), dir.try_read(file).ok()?),
        (Err(_), _) => return None,
    };
    // The kernel does not empty a v2 cpuset with processes: what that has come to is as good.
    let inherits = file.starts_with("cpuset.") && text.trim().is_empty();
    let text = if inherits { dir.try_read(&format!("{file}.effective")).ok()? } else { text };
    let value = put_back(&file, &write.value, &text)?;
    Some(Write { file, value, otherwise: Otherwise::Fail, ..write.clone() })
}

/// The value that takes a file back to `text`, after `value` was written to it.
fn put_back(file: &str, value: &str, text: &str) -> Option<String> {
    let key = value.split_whitespace().next().unwrap_or_default();
    let of = |key: &str| {
        let mut lines = text.lines();
        lines.find(|line| line.split_whitespace().next() == Some(key)).map(str::to_owned)
    };
    // What a file with a line for each device says of one without a line.
    let unset = |rest: &str| Some(of(key).unwrap_or_else(|| format!("{key} {rest}")));
    match file {
        "io.max" => unset("rbps=max wbps=max riops=max wiops=max"),
        "rdma.max" => unset("hca_handle=max hca_object=max"),
        "io.weight" | "io.bfq.weight" if value.contains(' ') => unset("default"),
        "io.weight" | "io.bfq.weight" => of("default").or_else(|| single(text)),
        "blkio.bfq.weight_device" => unset("default"),
        "memory.oom_control" => {
            of("oom_kill_disable")?.split_whitespace().nth(1).map(str::to_owned)
        }
        _ if file.starts_with("blkio.") && file.ends_with("_device") => unset("0"),
        _ => of(key).or_else(|| single(text)),
    }
}

/// The value of a file that has one only.
fn single(text: &str) -> Option<String> {
    let value = text.trim();
    (!value.is_empty() && !value.contains('\n')).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_back() {
        let disks = "8:0 rbps=5 wbps=max riops=max wiops=max\n";
        let oom = "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n";
        for (file, value, text, wanted) in [
            ("pids.max", "7", "max\n", Some("max")),
            ("cpu.max", "5000 10000", "max 100000\n", Some("max 100000")),
            ("cpuset.cpus", "0", "0-1,3\n", Some("0-1,3")),
            ("io.max", "8:0 rbps=7", disks, Some(disks.trim())),
            ("io.max", "8:16 rbps=7", disks, Some("8:16 rbps=max wbps=max riops=max wiops=max")),
            ("io.weight", "300", "default 100\n8:0 20\n", Some("default 100")),
            ("io.weight", "8:0 300", "default 100\n8:0 20\n", Some("8:0 20")),
            ("io.weight", "8:16 300", "default 100\n8:0 20\n", Some("8:16 default")),
            ("blkio.bfq.weight", "300", "100\n", Some("100")),
            ("blkio.throttle.read_bps_device", "8:0 9", "8:0 5\n", Some("8:0 5")),
            ("blkio.throttle.read_bps_device", "8:16 9", "8:0 5\n", Some("8:16 0")),
            ("blkio.bfq.weight_device", "8:16 9", "", Some("8:16 default")),
            ("memory.oom_control", "1", oom, Some("1")),
            ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 3\n", Some("lo 0")),
            ("rdma.max", "mlx hca_handle=3", "", Some("mlx hca_handle=max hca_object=max")),
            // Of an unknown form.
            ("misc.events", "x", "a 1\nb 2\n", None),
        ] {
            assert_eq!(put_back(file, value, text).as_deref(), wanted, "{file} {value}");
        }
    }
}
