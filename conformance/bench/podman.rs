//! The whole path under an engine.

use std::path::Path;
use std::process::Command;

use crate::bundle::Bundles;
use crate::contender::Contender;
use crate::figure::Figures;
use crate::{Failure, timing};

const FIGURE: &str = "podman run --rm";

/// podman with each runtime that it can call, in turn.
pub fn measure(
    contenders: &[Contender],
    bundles: &Bundles,
    scratch: &Path,
    rounds: usize,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let rootfs = bundles.rootfs();
    for round in 0..rounds.min(15) + 1 {
        for contender in contenders {
            if figures.get(FIGURE).is_some_and(|figure| figure.is_missed_by(&contender.name)) {
                continue;
            }
            let Some(program) = contender.program() else {
                figures.miss(FIGURE, "ms", &contender.name, "podman can't set its environment");
                continue;
            };
            let store = scratch.join("podman");
            let mut command = Command::new("podman");
            command
                .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"])
                .args(["--storage-driver", "vfs", "--runtime", program])
                .arg("--root")
                .arg(store.join("root"))
                .arg("--runroot")
                .arg(store.join("run"))
                .arg("--tmpdir")
                .arg(store.join("tmp"))
                .args(["run", "--rm", "--network", "none", "--rootfs"])
                .arg(&rootfs)
                .arg("/bin/true");
            match timing::time(&mut command, scratch) {
                // The first round warms the caches.
                Ok(_) if round == 0 => {}
                Ok(time) => figures.add(FIGURE, "ms", &contender.name, time),
                Err(failure) => {
                    figures.miss(FIGURE, "ms", &contender.name, &failure.to_string());
                }
            }
        }
    }
    Ok(())
}
