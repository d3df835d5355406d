//! Runs the cases against a runtime: parse, enter fresh namespaces, run, count. The cases see
//! binaries only.

mod agent;
mod bundle;
mod call;
mod case;
#[path = "../cases/mod.rs"]
mod cases;
mod console;
mod delegated;
mod env;
mod host;
mod leaks;
mod options;
mod rootless_view;
mod runner;
mod shim;
mod silent;
#[path = "../suites/mod.rs"]
mod suites;
mod trace;
mod user;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use case::{Case, Failure, Need, Peer};
use env::Shared;
use host::Host;
use options::{Options, USAGE, View};

/// Set in the copy of the runner that is process 1 of the fresh namespaces.
const INSIDE: &str = "CONFORMANCE_INSIDE";

/// The time limit of one command.
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    match try_main() {
        Ok(code) => code,
        Err(failure) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "conformance: {failure}");
            ExitCode::from(2)
        }
    }
}

fn try_main() -> Result<ExitCode, Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut out = io::stdout().lock();
    if options.help {
        out.write_all(USAGE.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&options.filters);
    if options.list {
        for case in chosen {
            writeln!(out, "{}", case.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if options.list_fields {
        for field in cases::bad_values::fields() {
            writeln!(out, "{field}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::var_os(INSIDE).is_none() {
        return Err(enter(chosen.iter().all(|case| case.needs.contains(&Need::Systemd))));
    }
    // As process 1 would: what a runtime leaves behind is found, and ended, as a child of ours.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    if options.view == View::V2 {
        mount_v2()?;
    }
    let parent = std::env::temp_dir().join(format!("cf{}", leaks::nonce()));
    if parent.exists() {
        // Of a run in a namespace of the same number, which was killed: nobody else has that number.
        let mounts = leaks::mounts();
        let below = mounts.iter().find(|line| line.contains(&*parent.to_string_lossy()));
        ensure!(below.is_none(), "{} is left over, with mounts", parent.display());
        std::fs::remove_dir_all(&parent)?;
    }
    std::fs::create_dir_all(&parent)?;
    user::register(&parent)?;
    if options.view == View::Rootless {
        // What the cases make for the runtime is then the user's to use as well.
        rustix::process::umask(rustix::fs::Mode::empty());
    }
    let shared = share(&options, &parent)?;
    let tally = runner::run(&shared, &chosen, &parent, &mut out)?;
    user::forget(&parent)?;
    std::fs::remove_dir_all(&parent)?;
    let runner::Tally { passed, failed, skipped } = tally;
    writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped")?;
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn choose(filters: &[String]) -> Vec<&'static Case> {
    let begins = |name: &str| filters.iter().any(|filter| name.starts_with(filter.as_str()));
    let wanted = |case: &&Case| filters.is_empty() || begins(case.name);
    cases::all().chain(suites::all()).filter(wanted).collect()
}

/// Enter a fresh mount namespace, and a pid namespace as its process 1, unless the cases are about the
/// machine's; returns only on failure.
fn enter(stay: bool) -> Failure {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return error.into(),
    };
    // A caller like nohup leaves signals ignored, which no program can undo for its children here.
    let pids: &[&str] =
        if stay { &[] } else { &["--pid", "--fork", "--kill-child", "--mount-proc"] };
    let error = Command::new("env")
        .args(["--default-signal", "unshare", "--mount"])
        .args(pids)
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Failure(format!("unshare: {error}"))
}

fn mount_v2() -> Result<(), Failure> {
    use rustix::mount::{MountFlags, mount};
    let none: Option<&std::ffi::CStr> = None;
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), none)?;
    Ok(())
}

fn share(options: &Options, parent: &Path) -> Result<Shared, Failure> {
    let real =
        |path: &Path| path.canonicalize().map_err(|e| Failure(format!("{}: {e}", path.display())));
    let runtime = if options.runtime.components().count() == 1 {
        options.runtime.to_str().and_then(host::find_command).ok_or_else(|| {
            Failure(format!("no {} command on the PATH", options.runtime.display()))
        })?
    } else {
        real(&options.runtime)?
    };
    Ok(Shared {
        runtime,
        peer: options.peer,
        host: Host::look(options.slow > 1),
        probe: real(&options.probe)?,
        default_config: default_config(parent)?,
        limit: LIMIT * options.slow,
        slow: options.slow > 1,
        rootless: options.view == View::Rootless,
        preload: (options.peer == Peer::Crun).then(|| build_preload(parent)).transpose()?,
    })
}

/// The default bundle is what runc says it is; without a terminal, as the cases have none.
fn default_config(parent: &Path) -> Result<serde_json::Value, Failure> {
    let dir = parent.join("spec");
    std::fs::create_dir_all(&dir)?;
    let output = Command::new("runc").arg("spec").arg("--bundle").arg(&dir).output()?;
    ensure!(output.status.success(), "runc spec: {}", String::from_utf8_lossy(&output.stderr));
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    config["process"]["terminal"] = false.into();
    Ok(config)
}

/// Debian's crun insists on raising RLIMIT_MEMLOCK for its device program, which needs
/// CAP_SYS_RESOURCE; the kernel has not charged that limit since 5.11.
fn build_preload(parent: &Path) -> Result<PathBuf, Failure> {
    let source = parent.join("memlock.c");
    let library = parent.join("memlock.so");
    std::fs::write(&source, include_str!("memlock.c"))?;
    let status = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()?;
    ensure!(status.success(), "gcc memlock.c: {status}");
    Ok(library)
}
