//! `bench runtime`: measures each view in namespaces of its own, and writes what came out.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use serde_json::{Value, json};

use crate::bundle::{self, Bundles};
use crate::contender::{self, Contender, FLOOR, OURS, READ_ONLY};
use crate::figure::Figures;
use crate::options::Options;
use crate::rounds::{self, Rounds};
use crate::view::View;
use crate::{Failure, crowd, memory, podman, report, timing};

/// Set in the copy that is process 1 of the fresh namespaces; its value is the directory it works in.
const INSIDE: &str = "BENCH_INSIDE";

/// What one view gave.
pub struct Outcome {
    /// The view.
    pub view: View,
    /// Names and versions, in the order of the columns.
    pub versions: Vec<(String, String)>,
    /// Runtimes that were not measured, and why.
    pub absent: Vec<(String, String)>,
    /// All samples.
    pub figures: Figures,
}

/// Measure, print, write.
pub fn bench(words: &[String]) -> Result<(), Failure> {
    let mut views = View::ALL.to_vec();
    let options = &Options::parse(words, 30, |name, value| {
        if name == "--view" {
            views = vec![View::parse(value)?];
        }
        Ok(name == "--view")
    })?;
    if let Some(dir) = std::env::var_os(INSIDE) {
        return inside(options, &views, &PathBuf::from(dir));
    }
    let scratch = PathBuf::from(format!("/var/tmp/ghost-runc-bench.{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let outcomes = views.iter().map(|view| outside(*view, &scratch)).collect();
    // Mounts were in the namespaces that are gone.
    fs::remove_dir_all(&scratch)?;
    report::write(options, outcomes)
}

/// Run a copy of this program in fresh namespaces, and take what it wrote.
fn outside(view: View, scratch: &Path) -> Result<Outcome, Failure> {
    let dir = scratch.join(view.name());
    fs::create_dir(&dir)?;
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .args(["--view", view.name()])
        .env(INSIDE, &dir)
        .status()?;
    if !status.success() {
        return Err(format!("the {} view: {status}", view.name()).into());
    }
    let result: Value = serde_json::from_slice(&fs::read(dir.join("result.json"))?)?;
    let pairs = |name: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = result[name].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    };
    Ok(Outcome {
        view,
        versions: pairs("versions"),
        absent: pairs("absent"),
        figures: Figures::from_json(&result["figures"])?,
    })
}

fn inside(options: &Options, views: &[View], dir: &Path) -> Result<(), Failure> {
    let [view] = *views else { return Err("one view at a time".into()) };
    // A machine with systemd has it there, with controllers.
    if view == View::V2 && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let none: Option<&CStr> = None;
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), none)?;
    }
    // As /run is, where runtimes keep their state.
    let root = dir.join(contender::STATE);
    fs::create_dir(&root)?;
    let none: Option<&CStr> = None;
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), none)?;
    let floor = build_floor(dir)?;
    let bundles = Bundles::new(dir.join("bundles"))?;
    let (contenders, absent) = contender::find(options, view, dir)?;
    let read_only = read_only(&contenders, dir)?;
    let mut figures = Figures::default();

    if options.wants("rounds") {
        let read_only = read_only.as_ref();
        let contenders = contenders.as_slice();
        let rounds = Rounds { view, floor: &floor, scratch: dir, contenders, read_only };
        rounds.measure(&bundles, options.rounds, &mut figures)?;
    }
    if options.wants("throughput") {
        crowd::throughput(&contenders, &bundles, dir, &mut figures)?;
    }
    if options.wants("crowd") {
        let run = || {
            let mut command = Command::new(&floor);
            command.arg("run").arg(bundles.rootfs()).arg(rounds::floor_flags(view, ""));
            command
        };
        crowd::crowd(&contenders, &run, &bundles, dir, &mut figures)?;
    }
    if options.wants("memory") {
        memory::peaks(&floor, &contenders, &bundles, dir, &mut figures)?;
        if has_memory_controller(view) {
            memory::smallest_limit(&contenders, &bundles, dir, &mut figures)?;
        }
    }
    if options.wants("podman") && has_memory_controller(view) {
        podman::measure(&contenders, &bundles, dir, options.rounds, &mut figures)?;
    }

    let mut versions = vec![(FLOOR.to_owned(), "the kernel's work alone".to_owned())];
    for contender in contenders.iter().chain(&read_only) {
        versions.push((contender.name.clone(), contender.version()?));
    }
    let result = json!({"versions": versions, "absent": absent, "figures": figures.to_json()});
    Ok(fs::write(dir.join("result.json"), serde_json::to_vec(&result)?)?)
}

fn build_floor(dir: &Path) -> Result<PathBuf, Failure> {
    let floor = dir.join(FLOOR);
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O2", "-Wall", "-Wno-format-truncation", "-Werror", "-o"]).arg(&floor);
    timing::output(gcc.arg(bundle::source("bench/floor.c")))?;
    Ok(floor)
}

/// Our program once more, behind a read-only mount of its own.
fn read_only(contenders: &[Contender], dir: &Path) -> Result<Option<Contender>, Failure> {
    let ours = contenders.iter().find(|contender| contender.name == OURS);
    let Some(program) = ours.and_then(Contender::program) else { return Ok(None) };
    let target = dir.join(OURS);
    fs::write(&target, "")?;
    mount_bind(program, &target)?;
    mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, "")?;
    contender::new(READ_ONLY, &target.to_string_lossy(), dir).map(Some)
}

fn has_memory_controller(view: View) -> bool {
    match view {
        View::Host => true,
        View::V2 => fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|text| text.split_whitespace().any(|name| name == "memory")),
    }
}
