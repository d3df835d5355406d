//! Peak memory of the commands, and the smallest limit under which a container runs.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::bundle::Bundles;
use crate::contender::Contender;
use crate::figure::Figures;
use crate::{Failure, timing};

/// Of create and exec, in KiB; the kernel counts what it maps, in pages.
pub fn peaks(
    floor: &Path,
    contenders: &[Contender],
    bundles: &Bundles,
    scratch: &Path,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let sleep = bundles.make("sleep", &["/bin/sleep", "1000"], |_| Ok(()))?;
    for contender in contenders {
        for _ in 0..5 {
            for (figure, words) in [
                ("peak memory of create", vec!["create", "--bundle", &sleep, "m"]),
                ("", vec!["start", "m"]),
                ("peak memory of exec", vec!["exec", "m", "/bin/true"]),
                ("", vec!["delete", "--force", "m"]),
            ] {
                if figure.is_empty() {
                    timing::time(&mut contender.command(&words), scratch)?;
                    continue;
                }
                let peak = peak(floor, &contender.command(&words), scratch)?;
                figures.add(figure, "KiB", &contender.name, peak);
            }
        }
    }
    Ok(())
}

/// The floor's program waits for the command, as a small parent: a child's peak begins at what its
/// parent had.
fn peak(floor: &Path, command: &Command, scratch: &Path) -> Result<f64, Failure> {
    let mut measured = Command::new(floor);
    measured.arg("rss").arg(command.get_program()).args(command.get_args());
    measured.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    timing::time(&mut measured, scratch)?;
    let text = std::fs::read_to_string(scratch.join("stderr"))?;
    let last = text.lines().last().unwrap_or_default();
    Ok(last.parse().map_err(|e| format!("{command:?}: peak memory {last}: {e}"))?)
}

/// The smallest memory limit with which `run` of /bin/true succeeds, in KiB, to 32 KiB.
pub fn smallest_limit(
    contenders: &[Contender],
    bundles: &Bundles,
    scratch: &Path,
    figures: &mut Figures,
) -> Result<(), Failure> {
    const FIGURE: &str = "smallest memory limit";
    for contender in contenders {
        let works = |limit: u64| -> Result<bool, Failure> {
            let bundle = bundles.make("limit", &["/bin/true"], |config| {
                config["linux"]["resources"]["memory"] = json!({"limit": limit * 1024});
                Ok(())
            })?;
            for _ in 0..3 {
                let words = ["run", "--bundle", &bundle, "m"];
                if timing::time(&mut contender.command(&words), scratch).is_err() {
                    let words = ["delete", "--force", "m"];
                    let _ = timing::time(&mut contender.command(&words), scratch);
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let (mut low, mut high) = (0, 64 * 1024);
        if !works(high)? {
            figures.miss(FIGURE, "KiB", &contender.name, "fails with 64 MiB as well");
            continue;
        }
        while high - low > 32 {
            let middle = (low + high) / 2;
            if works(middle)? { high = middle } else { low = middle }
        }
        figures.add(FIGURE, "KiB", &contender.name, high as f64);
    }
    Ok(())
}
