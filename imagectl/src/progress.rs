//! What a pull shows while it runs: a bar for each layer on a terminal, plain lines else.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::image::Descriptor;

const BAR: &str = "{prefix} [{bar:30}] {bytes:>11}/{total_bytes:<11} {bytes_per_sec:>13} {msg}";

/// How progress is shown. Always on standard error: standard output is for results.
pub enum Progress {
    /// Not at all.
    Quiet,
    /// A line when a layer is done.
    Lines,
    /// A bar for each layer.
    Bars(MultiProgress),
}

/// The progress of one layer.
pub struct LayerProgress {
    name: String,
    size: u64,
    bar: Option<ProgressBar>,
    lines: bool,
}

impl Progress {
    /// Bars on a terminal, lines else, nothing if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        match quiet {
            true => Self::Quiet,
            false if std::io::stderr().is_terminal() => {
                Self::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
            }
            false => Self::Lines,
        }
    }

    /// Begins to show a layer.
    #[must_use]
    pub fn layer(&self, descriptor: &Descriptor) -> LayerProgress {
        let bar = match self {
            Self::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(descriptor.size));
                // The template is a constant; indicatif's own style serves if it were wrong.
                if let Ok(style) = ProgressStyle::with_template(BAR) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(descriptor.digest.short());
                Some(bar)
            }
            _ => None,
        };
        LayerProgress {
            name: descriptor.digest.short(),
            size: descriptor.size,
            bar,
            lines: matches!(self, Self::Lines),
        }
    }
}

impl LayerProgress {
    /// Notes what an earlier command brought already, in bytes.
    pub fn begin(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.reset_eta();
        }
    }

    /// Notes bytes that came.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Notes the end: `outcome` is a word or two.
    pub fn end(&self, outcome: &'static str) {
        if let Some(bar) = &self.bar {
            bar.finish_with_message(outcome);
        }
        if self.lines {
            // Nobody is left to hear that standard error is gone.
            let _ = writeln!(
                std::io::stderr().lock(),
                "layer {} {outcome}, {} bytes",
                self.name,
                self.size
            );
        }
    }
}
