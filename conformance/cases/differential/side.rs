//! One of the two runtimes, with its container and what it wrote.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Status;
use crate::bundle::Bundle;
use crate::call::{Call, wait_until};
use crate::case::{Failure, Outcome};
use crate::env::Env;

/// The bundles that both runtimes use.
pub struct Bundles<'a> {
    env: &'a Env<'a>,
    sleeper: Bundle,
    scripts: RefCell<BTreeMap<String, Bundle>>,
}

impl<'a> Bundles<'a> {
    pub fn new(env: &'a Env<'a>) -> Result<Self, Failure> {
        let sleeper = env.bundle_with(&["sleep", "1000"])?;
        Ok(Self { env, sleeper, scripts: RefCell::default() })
    }

    /// Makes a bundle for each `%(script)` of a row.
    pub fn prepare(&self, words: &str) -> Outcome {
        for word in words.split(' ').filter(|word| word.starts_with("%(")) {
            if !self.scripts.borrow().contains_key(word) {
                let script = plain(&word[2..word.len() - 1]);
                let bundle = self.env.bundle_with(&["sh", "-c", &script])?;
                self.scripts.borrow_mut().insert(word.to_owned(), bundle);
            }
        }
        Ok(())
    }

    fn fill(&self, word: &str) -> Option<String> {
        let text = |bundle: &Bundle| bundle.dir.to_string_lossy().into_owned();
        self.scripts.borrow().get(word).map(text)
    }
}

/// The characters that have a meaning of their own in a row.
fn plain(text: &str) -> String {
    text.replace('~', " ").replace('^', "$")
}

/// One of the two runtimes, with its container.
pub struct Side<'a> {
    pub env: &'a Env<'a>,
    pub id: String,
    is_golden: bool,
    bundles: &'a Bundles<'a>,
}

impl<'a> Side<'a> {
    pub fn new(bundles: &'a Bundles<'a>, is_golden: bool) -> Result<Self, Failure> {
        // Of one length, for the tables.
        let env = bundles.env;
        let id = env.id(if is_golden { "r" } else { "g" });
        let side = Self { env, id, is_golden, bundles };
        let dir = PathBuf::from(side.dir());
        fs::create_dir_all(dir.join("sub"))?;
        fs::write(dir.join("process.json"), PROCESS)?;
        fs::write(dir.join("resources.json"), RESOURCES)?;
        Ok(side)
    }

    /// Where this runtime keeps its containers.
    fn root(&self) -> PathBuf {
        if self.is_golden { self.env.dir.join("golden-state") } else { self.env.root() }
    }

    /// Whether the runtime has a container of that id, or the rest of one.
    fn has(&self, id: &str) -> bool {
        self.root().join(&self.fill(id)[0]).exists()
    }

    pub fn dir(&self) -> String {
        let name = if self.is_golden { "golden" } else { "own" };
        self.env.dir.join(name).to_string_lossy().into_owned()
    }

    /// Everything after the state root.
    fn call(&self, words: &[String]) -> Call {
        let call = if self.is_golden {
            let root = self.root().to_string_lossy().into_owned();
            self.env.command(&[&["runc".to_owned(), "--root".to_owned(), root], words].concat())
        } else {
            self.env.runtime(words)
        };
        call.cwd(self.dir())
    }

    pub fn verb(&self, words: &str) -> Call {
        self.call(&self.fill(words))
    }

    fn fill(&self, words: &str) -> Vec<String> {
        let bundle = self.bundles.sleeper.dir.to_string_lossy();
        let word = |word: &str| match word {
            "''" => String::new(),
            word => self.bundles.fill(word).unwrap_or_else(|| {
                let word = word
                    .replace("@new", &format!("{}-new", self.id))
                    .replace("@nope", "nope")
                    .replace('@', &self.id)
                    .replace('%', &bundle)
                    .replace('$', &self.dir());
                plain(&word)
            }),
        };
        words.split(' ').filter(|word| !word.is_empty()).map(word).collect()
    }

    /// Brings the container to `status`, from nothing.
    pub fn set_up(&self, status: Status) -> Outcome {
        self.tear_down()?;
        if status == Status::None {
            return Ok(());
        }
        self.verb("create -b % @").ok()?;
        if status == Status::Created {
            return Ok(());
        }
        self.verb("start @").ok()?;
        match status {
            Status::Paused => {
                self.verb("pause @").ok()?;
            }
            Status::Stopped => {
                self.verb("kill @ KILL").ok()?;
                wait_until(self.env.shared.limit, "the container to end", || {
                    crate::leaks::reap();
                    Ok((self.status("@")? == Status::Stopped).then_some(()))
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    pub fn tear_down(&self) -> Outcome {
        for id in ["@", "@new"].into_iter().filter(|id| self.has(id)) {
            self.verb(&format!("delete -f {id}")).ok()?;
            crate::leaks::reap();
        }
        Ok(())
    }

    fn state(&self, id: &str) -> Result<serde_json::Value, Failure> {
        let output = self.verb(&format!("state {id}")).output()?;
        Ok(serde_json::from_str(&output.stdout).unwrap_or_default())
    }

    pub fn status(&self, id: &str) -> Result<Status, Failure> {
        if !self.has(id) {
            return Ok(Status::None);
        }
        Ok(match self.state(id)?["status"].as_str() {
            Some("created") => Status::Created,
            Some("running") => Status::Running,
            Some("paused") => Status::Paused,
            Some("stopped") => Status::Stopped,
            _ => Status::None,
        })
    }

    /// What the calls so far have written: the names of files, and what a pid file is made of.
    pub fn files(&self) -> Result<String, Failure> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.dir())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_pid = name.contains("pid");
            let pid = || fs::read_to_string(&path).map(|text| super::printed::shape(&text));
            all.push(if is_pid { format!("{name}={:?}", pid()?) } else { name });
        }
        all.sort_unstable();
        Ok(all.join(" "))
    }

    /// The kernel's limits of the container, where it has cgroups of v1.
    pub fn limits(&self) -> Result<String, Failure> {
        let state = self.state("@")?;
        let Some(pid) = state["pid"].as_i64().filter(|pid| *pid > 0) else {
            return Ok(String::new());
        };
        let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let mut all = String::new();
        for (controller, files) in LIMITS {
            let line = table.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
            let line = line
                .filter(|fields| fields.len() == 3)
                .find(|fields| fields[1].split(',').any(|one| one == *controller));
            let Some(line) = line else { continue };
            let dir = Path::new("/sys/fs/cgroup").join(line[1]).join(line[2].trim_matches('/'));
            for file in *files {
                // Some kernels do not have it.
                if let Ok(text) = fs::read_to_string(dir.join(file)) {
                    all.push_str(&format!("{file}={} ", text.trim()));
                }
            }
        }
        Ok(all)
    }
}

/// What the callers' directories have for `exec --process` and `update --resources`.
const PROCESS: &str = r#"{"args": ["sh", "-c", "env; pwd; id"], "cwd": "/bin",
    "env": ["PATH=/bin", "C=3"], "user": {"uid": 5, "gid": 6}}"#;
const RESOURCES: &str = r#"{"memory": {"limit": 50331648, "reservation": 8388608},
    "cpu": {"shares": 200, "quota": 40000, "period": 80000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 44}, "blockIO": {"weight": 400}}"#;

/// The files that update writes.
const LIMITS: &[(&str, &[&str])] = &[
    (
        "memory",
        &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"],
    ),
    (
        "cpu",
        &[
            "cpu.shares",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpu.rt_period_us",
            "cpu.rt_runtime_us",
        ],
    ),
    ("cpuset", &["cpuset.cpus", "cpuset.mems"]),
    ("pids", &["pids.max"]),
    ("blkio", &["blkio.bfq.weight", "blkio.weight"]),
];
