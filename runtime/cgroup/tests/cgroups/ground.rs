//! What the tests stand on: real cgroups under a name of their own, processes in them, and a pure
//! v2 view on a host that has none. Needs root.

use std::io::Write as _;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cgroup::{Cgroup, Error, Mode};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;

/// Moves a process into every hierarchy: the runtime has them born in the v2 one.
pub fn join_all(cgroup: &Cgroup, pid: Pid) {
    for hierarchy in cgroup.hierarchies() {
        std::fs::write(hierarchy.dir().join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

/// Set in a process that sees the host otherwise than it is.
const VIEW: &str = "CGROUP_TEST_VIEW";

/// Runs a test on the host as it is, where it sees v1 alone, and where it sees v2 alone.
pub fn everywhere(name: &str, test: fn()) {
    if !root(name) {
        return;
    }
    test();
    if std::env::var_os(VIEW).is_none() {
        if detect() == Mode::Hybrid {
            again(name, "unshare", &["-m"], "umount /sys/fs/cgroup/unified");
        }
        if detect() != Mode::V2 {
            on_v2(name, test);
        }
    }
}

/// As [`everywhere`], but where there is a v2 hierarchy.
pub fn with_unified(name: &str, test: fn()) {
    if root(name) && detect() == Mode::Hybrid {
        test();
    }
    on_v2(name, test);
}

/// Runs a test where it sees v2 alone: in a mount namespace of its own if the host is not so.
pub fn on_v2(name: &str, test: fn()) {
    if !root(name) {
    } else if detect() == Mode::V2 {
        test();
    } else {
        again(name, "unshare", &["-m"], "mount -t cgroup2 none /sys/fs/cgroup");
    }
}

/// Runs a test as a user without privileges.
pub fn as_nobody(name: &str, test: fn()) {
    if std::env::var_os(VIEW).is_some() {
        test();
    } else if root(name) {
        again(name, "setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups"], "true");
    }
}

/// Runs one test once more, by itself, in a process that `command` and `script` have prepared.
fn again(name: &str, command: &str, options: &[&str], script: &str) {
    // Where whoever the command makes of us can read it.
    let copy = std::env::temp_dir().join(format!("cgroup-test-{}-{name}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(command)
        .args(options)
        .args(["sh", "-c", &format!("{script} && exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(&copy)
        .arg(name)
        .env(VIEW, "1")
        .output()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "after {command} {options:?} {script}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn detect() -> Mode {
    Mode::detect().unwrap()
}

/// Runs a test on a pure v2 host that has these controllers, as the VM is.
pub fn on_v2_with(controllers: &[&str], name: &str, test: fn()) {
    let list = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let there = |controller: &&str| list.split_whitespace().any(|one| one == *controller);
    if root(name) && unless(name, "no v2 host with all controllers", controllers.iter().all(there))
    {
        test();
    }
}

/// Runs a test on the host's v1 hierarchies.
pub fn on_v1(name: &str, test: fn()) {
    let there = || Mode::detect().unwrap() != Mode::V2;
    if root(name) && unless(name, "no v1 hierarchies", there()) {
        test();
    }
}

fn root(name: &str) -> bool {
    unless(name, "not root", nix::unistd::geteuid().is_root())
}

/// Says, past the harness, which test is skipped and why.
fn unless(name: &str, reason: &str, met: bool) -> bool {
    if !met {
        writeln!(std::io::stderr(), "skipped: cgroup {name}: {reason}").unwrap();
    }
    met
}

/// Makes a cgroup, with its device rules.
pub fn create(cgroup: &Cgroup, json: &str) {
    let rules = cgroup.create(Some(&resources(json))).unwrap();
    cgroup.restrict(&rules).unwrap();
}

/// A place for one container, cleared away at the end.
pub struct Ground {
    pub cgroup: Cgroup,
    top: PathBuf,
}

impl Ground {
    /// A place below a directory of its own, which is not made.
    pub fn new(name: &str) -> Ground {
        let top = PathBuf::from(format!("/cgroup-test-{}-{name}", std::process::id()));
        let cgroup =
            Cgroup::locate(Mode::detect().unwrap(), Some(&top.join("parent/leaf")), "id").unwrap();
        Ground { cgroup, top }
    }

    /// The place, made with these resources.
    pub fn made(name: &str, json: &str) -> Ground {
        let ground = Ground::new(name);
        create(&ground.cgroup, json);
        ground
    }

    /// The content of a file of a controller.
    pub fn read(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup.path_of(controller).unwrap().join(file);
        let text = std::fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }

    /// Which of the directories, from the top one to the container's, are there.
    pub fn there(&self) -> Vec<PathBuf> {
        let levels = |leaf: PathBuf| leaf.ancestors().take(3).map(Path::to_path_buf).collect();
        let all = self.cgroup.hierarchies().iter().flat_map(|one| -> Vec<_> { levels(one.dir()) });
        all.filter(|path| path.exists()).collect()
    }

    /// A process in the container's cgroups.
    pub fn process(&self) -> Process {
        let process = Process::start(&["sleep", "600"]);
        join_all(&self.cgroup, process.pid());
        process
    }

    /// The status of a shell command that is run in the container's cgroups.
    pub fn shell(&self, script: &str) -> bool {
        // It waits for a line, so that it does nothing before it is where it belongs.
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        join_all(&self.cgroup, Pid::from_raw(child.id().cast_signed()));
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        child.wait().unwrap().success()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.cgroup.kill_all(9).unwrap();
        self.cgroup.remove().unwrap();
        for hierarchy in self.cgroup.hierarchies() {
            let leaf = hierarchy.dir();
            for parent in leaf.ancestors().skip(1).take(2) {
                assert!(parent.starts_with("/sys/fs/cgroup") && leaf.starts_with(parent));
                if parent.exists() {
                    std::fs::remove_dir(parent).unwrap();
                }
            }
        }
        assert!(self.there().is_empty(), "{} is left", self.top.display());
    }
}

/// A child that is killed and waited for at the end.
pub struct Process(Child);

impl Process {
    pub fn start(command: &[&str]) -> Process {
        let mut start = Command::new(command[0]);
        start.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        Process(start.spawn().unwrap())
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// /proc/PID/cgroup.
    pub fn places(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).unwrap()
    }

    /// The signal it dies of, within ten seconds.
    pub fn killed_by(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.signal();
            }
            assert!(Instant::now() < deadline, "{} is still there", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

pub fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// An error with its causes, as `main` prints it.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The error of the write, without the field's name.
pub fn bare(error: Error) -> Error {
    match error {
        Error::Limit { source, .. } => *source,
        error => error,
    }
}
