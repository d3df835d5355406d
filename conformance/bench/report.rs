//! The results as a table on standard output and in RESULTS.md, with the targets.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::contender::{FLOOR, OURS, READ_ONLY};
use crate::figure::{Figure, Figures};
use crate::options::Options;
use crate::runtime::Outcome;
use crate::view::View;
use crate::{Failure, plot};

/// Write what the views gave.
pub fn write(options: &Options, outcomes: Result<Vec<Outcome>, Failure>) -> Result<(), Failure> {
    let outcomes = outcomes?;
    let mut text = String::from(
        "# What the runtimes cost\n\nWritten by `cargo run --release -p conformance --bin bench -- runtime`; see `floor.c` for \
         what the floor does. Medians, with the quartiles in brackets; behind them the ratio to the floor, \
         or to ghost-runc where there is none.\n\n",
    );
    writeln!(text, "{}", machine()?)?;
    for outcome in &outcomes {
        table(&mut text, outcome)?;
    }
    targets(&mut text, &outcomes)?;
    std::io::stdout().write_all(text.as_bytes())?;
    // A part of the figures must not take the place of all.
    if options.only.is_empty() {
        std::fs::write(options.out.join("RESULTS.md"), text)?;
        std::fs::write(options.out.join("results.svg"), plot::draw(&outcomes)?)?;
    }
    Ok(())
}

fn machine() -> Result<String, Failure> {
    let uname = rustix::system::uname();
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, name)| name);
    let count = std::thread::available_parallelism()?;
    let release = uname.release().to_string_lossy();
    Ok(format!("Machine: {count} × {model}, Linux {release}.\n"))
}

fn table(text: &mut String, outcome: &Outcome) -> Result<(), Failure> {
    let what = match outcome.view {
        View::V2 => "control groups v2",
        View::Host => "this machine's control groups (v1)",
    };
    writeln!(text, "## In the view of {what}\n")?;
    for (name, version) in &outcome.versions {
        writeln!(text, "- {name}: {version}")?;
    }
    for (name, why) in &outcome.absent {
        writeln!(text, "- {name}: not measured, {why}")?;
    }
    let names: Vec<&str> = outcome.versions.iter().map(|(name, _)| name.as_str()).collect();
    writeln!(text, "\n| figure | {} |", names.join(" | "))?;
    writeln!(text, "|---|{}", "---:|".repeat(names.len()))?;
    let mut notes = Vec::new();
    for figure in &outcome.figures.0 {
        let unit = if figure.unit.is_empty() { "" } else { ", " };
        write!(text, "| {}{unit}{} |", figure.name, figure.unit)?;
        for name in &names {
            write!(text, " {} |", cell(figure, name))?;
        }
        writeln!(text)?;
        for (name, why) in &figure.missing {
            // youki writes a stack trace behind its reason.
            let reason = why.lines().next().unwrap_or_default();
            notes.push(format!("{name} has no \"{}\": {reason}", figure.name));
        }
    }
    writeln!(text)?;
    for note in notes {
        writeln!(text, "{note}\n")?;
    }
    Ok(())
}

fn cell(figure: &Figure, name: &str) -> String {
    let Some([low, middle, high]) = figure.quartiles(name) else { return "–".to_owned() };
    let base = [FLOOR, OURS].into_iter().find_map(|base| figure.quartiles(base));
    let ratio = match base {
        Some([_, base, _]) if base > 0.0 => format!(" ×{:.2}", middle / base),
        _ => String::new(),
    };
    if matches!(figure.unit.as_str(), "ms" | "s") {
        format!("{middle:.2} [{low:.2}–{high:.2}]{ratio}")
    } else {
        format!("{middle:.0}{ratio}")
    }
}

/// What was set as a goal: its words, the limit, and the number that must not be above it.
struct Target {
    words: &'static str,
    limit: f64,
    value: fn(&Figures) -> Option<f64>,
}

fn ratio(figures: &Figures, figure: &str, ours: &str, other: &str) -> Option<f64> {
    Some(figures.median(figure, ours)? / figures.median(figure, other)?)
}

const TARGETS: &[Target] = &[
    Target {
        words: "run, of the floor, with the guard",
        limit: 1.5,
        value: |f| ratio(f, "run", OURS, FLOOR),
    },
    Target {
        words: "run, of the floor, where no guard is needed",
        limit: 1.25,
        value: |f| ratio(f, "run", READ_ONLY, FLOOR),
    },
    Target { words: "run, of crun", limit: 0.6, value: |f| ratio(f, "run", OURS, "crun") },
    Target { words: "run, of runc", limit: 0.15, value: |f| ratio(f, "run", OURS, "runc") },
    Target {
        words: "what the seccomp profile adds to run, of the floor",
        limit: 0.1,
        value: |f| {
            let more = f.median("run, seccomp profile", OURS)? - f.median("run", OURS)?;
            Some(more / f.median("run", FLOOR)?)
        },
    },
    Target {
        words: "create + start + delete, of crun",
        limit: 0.5,
        value: |f| ratio(f, "create + start + delete", OURS, "crun"),
    },
    Target { words: "exec, of crun", limit: 0.45, value: |f| ratio(f, "exec", OURS, "crun") },
    Target { words: "state, of crun", limit: 0.5, value: |f| ratio(f, "state", OURS, "crun") },
    Target {
        words: "list of 1000 over state, ms",
        limit: 20.0,
        value: |f| Some(f.median("list of 1000", OURS)? - f.median("state", OURS)?),
    },
    Target {
        words: "smallest memory limit, KiB",
        limit: 512.0,
        value: |f| f.median("smallest memory limit", OURS),
    },
    Target {
        words: "peak memory of create, KiB",
        limit: 3072.0,
        value: |f| f.median("peak memory of create", OURS),
    },
    Target {
        words: "run beside 500, of run alone",
        limit: 1.15,
        value: |f| Some(f.median("run beside 500", OURS)? / f.median("run, alone", OURS)?),
    },
    Target {
        words: "processes left by 500",
        limit: 0.0,
        value: |f| f.median("processes left by 500", OURS),
    },
];

fn targets(text: &mut String, outcomes: &[Outcome]) -> Result<(), Failure> {
    writeln!(
        text,
        "## The targets\n\n| target | at most | view | is | |\n|---|---:|---|---:|---|"
    )?;
    for Target { words, limit, value } in TARGETS {
        for outcome in outcomes {
            let Some(value) = value(&outcome.figures) else { continue };
            let verdict = if value <= *limit { "met" } else { "missed" };
            let view = outcome.view.name();
            writeln!(text, "| {words} | {limit} | {view} | {value:.2} | {verdict} |")?;
        }
    }
    Ok(())
}
