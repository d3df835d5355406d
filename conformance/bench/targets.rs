//! What imagectl is to reach in `bench images`, and whether it does.

use std::fmt::Write as _;

use crate::Failure;
use crate::figure::Figures;
use crate::images::{FLAVOURS, FLOOR, OURS, PEERS};

/// The most of the floor's wall time.
const OF_FLOOR: f64 = 1.3;
/// The least of each peer's wall time, in ours.
const OF_PEER: f64 = 3.5;
/// The most memory, in MiB.
const PEAK: f64 = 100.0;
/// The longest that a bundle by overlay takes, in ms.
const BUNDLE: f64 = 10.0;

/// The targets beside what was measured, by the medians.
pub fn table(figures: &Figures) -> Result<String, Failure> {
    let median = |flavour: &str, figure: &str, who: &str| {
        figures.median(&format!("{flavour}: {figure}"), who)
    };
    let mut text = "| target | gzip | zstd |\n|---|---:|---:|\n".to_owned();
    row(&mut text, &format!("wall time at most {OF_FLOOR} × the floor's"), |flavour| {
        let times = median(flavour, "wall", OURS)? / median(flavour, "wall", FLOOR)?;
        Some((times, times <= OF_FLOOR))
    })?;
    for (peer, ..) in PEERS {
        row(&mut text, &format!("at least {OF_PEER} × as fast as {peer}"), |flavour| {
            let times = median(flavour, "wall", peer)? / median(flavour, "wall", OURS)?;
            Some((times, times >= OF_PEER))
        })?;
    }
    row(&mut text, &format!("peak memory below {PEAK} MiB"), |flavour| {
        let peak = median(flavour, "peak memory of a process", OURS)?;
        Some((peak, peak < PEAK))
    })?;
    row(&mut text, &format!("a bundle by overlay below {BUNDLE} ms"), |flavour| {
        let time = median(flavour, "bundle", OURS)?;
        Some((time, time < BUNDLE))
    })?;
    text += "\nThat a second pull is one request for the manifest is held by the test \
             `the_second_pull_asks_for_the_manifest_alone`.\n\n";
    Ok(text)
}

/// One target's value for each flavour, and whether it is met.
fn row(
    text: &mut String,
    target: &str,
    value: impl Fn(&str) -> Option<(f64, bool)>,
) -> Result<(), Failure> {
    write!(text, "| {target} |")?;
    for flavour in FLAVOURS {
        match value(flavour) {
            Some((value, true)) => write!(text, " {value:.2}, met |")?,
            Some((value, false)) => write!(text, " {value:.2}, **missed** |")?,
            None => write!(text, " not measured |")?,
        }
    }
    writeln!(text)?;
    Ok(())
}
