//! A directory for one test, with a store in it, and the binary run there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Removed when the test ends well; kept for a look when it fails.
pub struct Sandbox {
    pub path: PathBuf,
}

impl Sandbox {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "imagectl's integration tests need root");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("imagectl-{}-{count}", std::process::id()));
        // Left by a failed test of the same number: in a pid namespace they repeat.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The binary with the sandbox's store, in its directory, without the user's own auth files.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagectl"));
        command
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path.join("home"))
            .env("XDG_RUNTIME_DIR", self.path.join("run"))
            .stdin(std::process::Stdio::null())
            .arg("--store")
            .arg(self.store());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs what must succeed; gives its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail; gives its one line of error.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "a failed command has no result");
        let lines: Vec<_> = errors.lines().filter(|line| line.starts_with("imagectl: ")).collect();
        assert_eq!(lines.len(), 1, "one line of error: {errors}");
        lines[0].to_owned()
    }

    pub fn pull(&self, reference: &str) -> String {
        self.ok(&["pull", "--quiet", "--tls-verify=false", reference])
    }

    /// Begins a pull that does not end by itself, and kills it once it has come so far, or 10 s after;
    /// what would be more than that has time enough to come.
    pub fn pull_until(&self, parallel: &str, reference: &str, is_there: impl Fn() -> bool) {
        let mut child = self
            .command()
            .args(["pull", "-q", "--tls-verify=false", "--parallel", parallel, reference])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_there() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(200));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn pull_fails(&self, reference: &str) -> String {
        let error = self.fails(&["pull", "--quiet", "--tls-verify=false", reference]);
        self.assert_store_is_empty();
        error
    }

    /// After a failed pull: no image, no blob, no layer, nothing in the making.
    pub fn assert_store_is_empty(&self) {
        for directory in ["blobs/sha256", "layers", "ingest"] {
            assert_eq!(names(&self.store().join(directory)), [""; 0], "{directory} must be empty");
        }
        assert!(!self.store().join("index.json").exists(), "there must be no image");
    }

    /// After a failed pull of layers that are right one by one: no image, nothing in the making, and what
    /// another pull of them would find is garbage.
    pub fn assert_there_is_no_image(&self) {
        assert_eq!(names(&self.store().join("ingest")), [""; 0]);
        assert!(!self.store().join("index.json").exists(), "there must be no image");
        self.ok(&["gc"]);
        self.assert_store_is_empty();
    }

    /// Runs a shell script with the binary as `$imagectl`, in a mount namespace of its own.
    pub fn script(&self, script: &str) -> String {
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc", script])
            .current_dir(&self.path)
            .env(
                "imagectl",
                format!("{} --store {}", env!("CARGO_BIN_EXE_imagectl"), self.store().display()),
            )
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Leftovers in the target directory harm nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// What a directory holds, sorted.
pub fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
