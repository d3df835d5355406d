//! The figures of single commands: in each round every contender does everything once, so that all
//! see the same machine. Each begins its turn with a `run` that does not count: the first to move a
//! process between v1 cgroups after an idle moment waits 10 ms or more for the kernel, and the turns
//! before may be full of idle moments (youki's are).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bundle::{self, Bundles};
use crate::contender::{Contender, FLOOR, OURS, READ_ONLY};
use crate::figure::Figures;
use crate::view::View;
use crate::{Failure, timing};

/// The first rounds warm the caches and don't count.
const WARM_UP: usize = 2;

/// What the compiled profile in a state directory begins with, before its instructions.
const FILTER_HEADER: usize = 16;

/// A `run`: its figure, its bundle, and what the floor is told to do the same.
struct Run {
    figure: &'static str,
    bundle: String,
    floor: Vec<String>,
}

/// What the rounds need.
pub struct Rounds<'a> {
    /// The view they are in.
    pub view: View,
    /// The floor's program.
    pub floor: &'a Path,
    /// Its directory is for files of the rounds.
    pub scratch: &'a Path,
    /// The runtimes.
    pub contenders: &'a [Contender],
    /// Behind a read-only mount.
    pub read_only: Option<&'a Contender>,
}

impl Rounds<'_> {
    /// Measure `count` rounds.
    pub fn measure(
        &self,
        bundles: &Bundles,
        count: usize,
        all: &mut Figures,
    ) -> Result<(), Failure> {
        let unchanged = |_: &mut Value| Ok(());
        let run = |figure, name, change: fn(&mut Value) -> Result<(), Failure>, flags| {
            let bundle = bundles.make(name, &["/bin/true"], change)?;
            Ok::<_, Failure>(Run { figure, bundle, floor: vec![floor_flags(self.view, flags)] })
        };
        let mut runs = [
            run("run", "true", unchanged, "")?,
            run("run, seccomp profile", "seccomp", bundle::seccomp, "")?,
            run("run, user namespace", "user", bundle::user_namespace, "u")?,
            run("run, host network", "network", bundle::host_network, "n")?,
        ];
        let filter = self.filter(&runs[1].bundle)?;
        runs[1].floor.push(filter);
        let sleep = bundles.make("sleep", &["/bin/sleep", "1000"], unchanged)?;
        let rootfs = bundles.rootfs();
        for round in 0..count + WARM_UP {
            let mut thrown_away = Figures::default();
            let figures = if round < WARM_UP { &mut thrown_away } else { &mut *all };
            let floor = |run: &Run| {
                let mut command = Command::new(self.floor);
                timing::time(command.arg("run").arg(&rootfs).args(&run.floor), self.scratch)
            };
            floor(&runs[0])?;
            for run in &runs {
                figures.add(run.figure, "ms", FLOOR, floor(run)?);
            }
            let words = ["run", "--bundle", &runs[0].bundle, "r"];
            if let Some(contender) = self.read_only {
                let time = || timing::time(&mut contender.command(&words), self.scratch);
                time()?;
                figures.add("run", "ms", READ_ONLY, time()?);
            }
            for contender in self.contenders {
                let mut one = One { rounds: self, contender, figures };
                one.warm_up(&words)?;
                for run in &runs {
                    one.time(run.figure, &["run", "--bundle", &run.bundle, "r"])?;
                }
                one.life(&sleep)?;
            }
        }
        Ok(())
    }

    /// A file with the program that ours makes of the profile, for the floor to load.
    fn filter(&self, bundle: &str) -> Result<String, Failure> {
        let ours = self.contenders.iter().find(|contender| contender.name == OURS);
        let ours = ours.ok_or("ghost-runc itself is not there")?;
        timing::time(&mut ours.command(&["create", "--bundle", bundle, "f"]), self.scratch)?;
        let stored = std::fs::read(ours.state("f").join("seccomp.bpf"))?;
        timing::time(&mut ours.command(&["delete", "f"]), self.scratch)?;
        let file = self.scratch.join("filter");
        std::fs::write(&file, stored.get(FILTER_HEADER..).ok_or("no program in seccomp.bpf")?)?;
        Ok(file.to_string_lossy().into_owned())
    }
}

/// The flags of the floor's `run` in this view, see floor.c.
pub fn floor_flags(view: View, flags: &str) -> String {
    let version = if view == View::Host { "1" } else { "" };
    format!("{flags}{version}")
}

/// One contender in one round.
struct One<'a> {
    rounds: &'a Rounds<'a>,
    contender: &'a Contender,
    figures: &'a mut Figures,
}

impl One<'_> {
    fn warm_up(&mut self, words: &[&str]) -> Result<(), Failure> {
        timing::time(&mut self.contender.command(words), self.rounds.scratch).map(drop)
    }

    /// Time a command; the first failure of a peer's takes it out of the figure, one of ours ends all.
    fn time(&mut self, figure: &str, words: &[&str]) -> Result<Option<f64>, Failure> {
        let name = &self.contender.name;
        if self.figures.get(figure).is_some_and(|figure| figure.is_missed_by(name)) {
            return Ok(None);
        }
        match timing::time(&mut self.contender.command(words), self.rounds.scratch) {
            Ok(time) => {
                self.figures.add(figure, "ms", name, time);
                Ok(Some(time))
            }
            Err(failure) if name == OURS => Err(failure),
            Err(failure) => {
                self.figures.miss(figure, "ms", name, &failure.to_string());
                // It may be there, half made.
                let id = words.last().copied().unwrap_or_default();
                let mut delete = self.contender.command(&["delete", "--force", id]);
                let _ = timing::time(&mut delete, self.rounds.scratch);
                Ok(None)
            }
        }
    }

    fn life(&mut self, bundle: &str) -> Result<(), Failure> {
        let Some(create) = self.time("create", &["create", "--bundle", bundle, "l"])? else {
            return Ok(());
        };
        let start = self.time("start", &["start", "l"])?;
        self.time("state", &["state", "l"])?;
        self.time("list of 1", &["list"])?;
        if let Some(pid) = self.pid()? {
            let exec = self.time("exec", &["exec", "l", "/bin/true"])?;
            if exec.is_some() && self.contender.name == OURS && self.rounds.view == View::V2 {
                self.floor_exec(pid)?;
            }
        }
        self.time("kill", &["kill", "l", "KILL"])?;
        self.wait_stopped()?;
        let delete = self.time("delete", &["delete", "l"])?;
        if let (Some(start), Some(delete)) = (start, delete) {
            let sum = create + start + delete;
            self.figures.add("create + start + delete", "ms", &self.contender.name, sum);
        }
        Ok(())
    }

    fn state(&self) -> Result<Value, Failure> {
        let text = timing::output(&mut self.contender.command(&["state", "l"]))?;
        Ok(serde_json::from_slice(text.as_bytes())?)
    }

    fn pid(&self) -> Result<Option<u64>, Failure> {
        Ok(self.state()?["pid"].as_u64())
    }

    fn floor_exec(&mut self, pid: u64) -> Result<(), Failure> {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let group = format!("/sys/fs/cgroup{}", path.ok_or("no v2 group")?);
        let mut command = Command::new(self.rounds.floor);
        command.args(["exec", &pid.to_string(), &group]);
        let time = timing::time(&mut command, self.rounds.scratch)?;
        self.figures.add("exec", "ms", FLOOR, time);
        Ok(())
    }

    /// Not every runtime deletes a container that is dying.
    fn wait_stopped(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.state()?["status"] != "stopped" {
            if Instant::now() > deadline {
                return Err(format!("{}: a killed container lives on", self.contender.name).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
