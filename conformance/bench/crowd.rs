//! Many containers: how many come and go, what a thousand cost the others, and what stays behind.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bundle::{self, Bundles};
use crate::contender::{Contender, FLOOR, OURS};
use crate::figure::Figures;
use crate::{Failure, timing};

const RUNS: usize = 200;
const HALF: usize = 500;
const FULL: usize = 1000;
/// Of one command that a crowd may slow down.
const SAMPLES: usize = 30;
/// How long the kernel is given to free what the starts of a crowd have left to be freed later: a
/// figure beside a crowd is not to be one of how fast that was started.
const SETTLE: Duration = Duration::from_secs(2);

/// `RUNS` runs, two at a time, a few times in turn.
pub fn throughput(
    contenders: &[Contender],
    bundles: &Bundles,
    scratch: &Path,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let bundle = bundles.make("true", &["/bin/true"], |_| Ok(()))?;
    let figure = format!("{RUNS} runs, two at a time");
    for _ in 0..3 {
        for contender in contenders {
            let start = Instant::now();
            let worker = |name: &'static str| {
                let (bundle, scratch) = (&bundle, scratch.join(name));
                move || -> Result<(), Failure> {
                    std::fs::create_dir_all(&scratch)?;
                    for _ in 0..RUNS / 2 {
                        let words = ["run", "--bundle", bundle, name];
                        timing::time(&mut contender.command(&words), &scratch)?;
                    }
                    Ok(())
                }
            };
            let both = std::thread::scope(|scope| {
                let workers = ["left", "right"].map(|name| scope.spawn(worker(name)));
                workers.into_iter().try_for_each(|worker| {
                    worker.join().map_err(|_| Failure::from("a worker panicked"))?
                })
            });
            match both {
                Ok(()) => {
                    let seconds = start.elapsed().as_secs_f64();
                    figures.add(&figure, "s", &contender.name, seconds);
                }
                Err(failure) => {
                    figures.miss(&figure, "s", &contender.name, &failure.to_string());
                }
            }
        }
    }
    Ok(())
}

/// A thousand containers of each runtime at once, which share the host's network. `floor` is a `run`
/// of the floor, which tells what of a crowd's cost is the kernel's.
pub fn crowd(
    contenders: &[Contender],
    floor: &dyn Fn() -> Command,
    bundles: &Bundles,
    scratch: &Path,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let sleeper = bundles.make("crowd", &["/bin/sleep", "10000"], bundle::host_network)?;
    let run = bundles.make("true", &["/bin/true"], |_| Ok(()))?;
    for contender in contenders {
        let crowd = Crowd { contender, floor, scratch, sleep: &sleeper, run: &run };
        let outcome = crowd.measure(figures);
        for number in 0..FULL {
            let words = ["delete", "--force", &format!("c{number}")];
            let _ = timing::time(&mut contender.command(&words), scratch);
        }
        if let Err(failure) = outcome {
            figures.miss(&format!("list of {FULL}"), "ms", &contender.name, &failure.to_string());
        }
    }
    Ok(())
}

struct Crowd<'a> {
    contender: &'a Contender,
    floor: &'a dyn Fn() -> Command,
    scratch: &'a Path,
    sleep: &'a str,
    run: &'a str,
}

impl Crowd<'_> {
    fn measure(&self, figures: &mut Figures) -> Result<(), Failure> {
        let name = &self.contender.name;
        self.runs("run, alone", figures)?;
        let start = Instant::now();
        self.start(0..HALF)?;
        figures.add(&format!("start {HALF}"), "s", name, start.elapsed().as_secs_f64());
        sleep(SETTLE);
        self.runs(&format!("run beside {HALF}"), figures)?;
        figures.add(&format!("processes left by {HALF}"), "", name, self.processes()? as f64);
        self.start(HALF..FULL)?;
        sleep(SETTLE);
        for _ in 0..SAMPLES {
            let time = self.time(&["list"])?;
            figures.add(&format!("list of {FULL}"), "ms", name, time);
        }
        Ok(())
    }

    fn time(&self, words: &[&str]) -> Result<f64, Failure> {
        timing::time(&mut self.contender.command(words), self.scratch)
    }

    fn start(&self, numbers: std::ops::Range<usize>) -> Result<(), Failure> {
        for number in numbers {
            self.time(&["run", "--detach", "--bundle", self.sleep, &format!("c{number}")])?;
        }
        Ok(())
    }

    fn runs(&self, figure: &str, figures: &mut Figures) -> Result<(), Failure> {
        for _ in 0..SAMPLES {
            let time = self.time(&["run", "--bundle", self.run, "r"])?;
            figures.add(figure, "ms", &self.contender.name, time);
            if self.contender.name == OURS {
                figures.add(figure, "ms", FLOOR, timing::time(&mut (self.floor)(), self.scratch)?);
            }
        }
        Ok(())
    }

    /// Processes that are neither this program nor a container's.
    fn processes(&self) -> Result<usize, Failure> {
        let mut count = 0;
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path().join("cmdline");
            // Not a process, or one that ended since.
            let Ok(line) = std::fs::read(path) else { continue };
            let is_ours = line.starts_with(b"/bin/sleep") || line.is_empty();
            count += usize::from(!is_ours && !line.windows(7).any(|word| word == b"runtime"));
        }
        Ok(count)
    }
}
