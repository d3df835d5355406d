//! Runs the chosen cases one after the other and prints a line for each.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::{Env, Shared};
use crate::leaks;
use crate::rootless_view;

/// The counts of one run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases that held.
    pub passed: usize,
    /// Cases that did not.
    pub failed: usize,
    /// Cases that this machine can't run.
    pub skipped: usize,
}

/// Run `cases`, each below `parent`.
pub fn run(
    shared: &Shared,
    cases: &[&Case],
    parent: &Path,
    out: &mut impl Write,
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let view = case.needs.iter().filter(|need| need.is_view());
        let other_view = || {
            let rootless = shared.rootless.then(|| rootless_view::left_out(case.name)).flatten();
            let host = || view.clone().find_map(|need| shared.host.lacks(*need));
            rootless.map(str::to_owned).or_else(host)
        };
        if let Some(reason) = case.left_out(shared.peer).map(str::to_owned).or_else(other_view) {
            writeln!(out, "left out {}: {reason}", case.name)?;
            continue;
        }
        if let Some(reason) = case.needs.iter().find_map(|need| shared.host.lacks(*need)) {
            tally.skipped += 1;
            writeln!(out, "skip {}: {reason}", case.name)?;
            continue;
        }
        let start = Instant::now();
        let mut outcome = run_one(shared, case, parent, number);
        if let (Err(failure), true) = (&outcome, shared.peer != Peer::Ghost) {
            // The peers have races of their own, which are not what their run is to find.
            writeln!(out, "again {}: {failure}", case.name)?;
            outcome = run_one(shared, case, parent, cases.len() + number);
        }
        let took = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                tally.passed += 1;
                writeln!(out, "ok {} ({took:.2} s)", case.name)?;
            }
            Err(failure) => {
                tally.failed += 1;
                writeln!(out, "FAIL {} ({took:.2} s): {failure}", case.name)?;
                failures.push(case.name);
            }
        }
        out.flush()?;
    }
    if !failures.is_empty() {
        writeln!(out, "failed: {}", failures.join(" "))?;
    }
    Ok(tally)
}

fn run_one(shared: &Shared, case: &Case, parent: &Path, number: usize) -> Outcome {
    let mut env = Env::new(shared, parent, number)?;
    if shared.rootless {
        env.become_user()?;
    }
    let before = leaks::mounts();
    let outcome = (case.run)(&mut env);
    leaks::reap();
    let outcome = outcome.and(env.delete_all()).and_then(|()| env.nothing_left()).and_then(|()| {
        let more: Vec<String> =
            leaks::mounts().into_iter().filter(|line| !before.contains(line)).collect();
        crate::ensure!(more.is_empty(), "mounts left behind: {}", more.join("; "));
        Ok(())
    });
    leaks::clean(&env);
    let removed = fs::remove_dir_all(&env.dir)
        .map_err(|error| Failure(format!("remove {}: {error}", env.dir.display())));
    outcome.and(removed)
}
