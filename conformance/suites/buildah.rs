//! buildah with OCI isolation, which drives the runtime without conmon.

use std::fs;
use std::path::Path;

use super::{engine, image, manual};
use crate::call::Call;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::console::Terminal;
use crate::env::Env;
use crate::{ensure, ensure_eq};

const BUILDAH: &[Need] = &[Need::Native, Need::Controllers, Need::Command("buildah")];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this suite.
pub const CASES: &[Case] = &[
    Case::new("buildah/run", run).needs(BUILDAH).not_on(CRUN),
    Case::new("buildah/run-terminal", terminal).needs(BUILDAH).not_on(CRUN),
    Case::new("buildah/bud", bud).needs(BUILDAH).not_on(CRUN),
];

/// buildah with its own storage and a working container.
struct Buildah<'a> {
    env: &'a Env<'a>,
    container: String,
}

impl<'a> Buildah<'a> {
    fn new(env: &'a Env<'a>) -> Result<Self, Failure> {
        let mut buildah = Self { env, container: String::new() };
        let image = format!("oci:{}:latest", image::layout(env)?.display());
        let parent = format!("/{}", env.mark);
        let output = buildah.call(&["from", "--cgroup-parent", &parent, &image]).ok()?;
        buildah.container = output.stdout.trim().to_owned();
        Ok(buildah)
    }

    /// A command, with the manual's environment.
    fn call(&self, words: &[&str]) -> Call {
        let path = |name: &str| self.env.dir.join(name).to_string_lossy().into_owned();
        let (root, run) = (path("root"), path("run"));
        let global = ["buildah", "--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
        let call = self.env.command(&[&global[..], words].concat());
        call.limit(self.env.shared.limit * 3)
    }

    /// The command of this block of the manual, after these changes of its text.
    fn manual(&self, block: &str, changes: &[(&str, &str)]) -> Result<Call, Failure> {
        let words = manual::command(self.env, block, changes)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ensure_eq!(words.first(), Some(&"buildah"), "engines.md, {block}: the command");
        Ok(self.call(&words[1..]))
    }

    fn run(&self, flags: &[&str], command: &[&str]) -> Result<Call, Failure> {
        let own = ["run", "--network", "none"];
        let mut call = self.call(&[&own[..], flags, &[&self.container, "--"], command].concat());
        for setting in manual::snippet(self.env, "buildah-environment")?.split_whitespace() {
            let (name, value) = setting.split_once('=').unwrap_or_default();
            call = call.env(name, value);
        }
        Ok(call)
    }

    fn end(self) -> Outcome {
        self.call(&["rm", "--all"]).ok()?;
        engine::unmount_storage(&self.env.dir.join("root/vfs"))?;
        engine::remove_groups(self.env, &self.env.mark, |_| false)
    }
}

fn run(env: &mut Env) -> Outcome {
    let buildah = Buildah::new(env)?;
    let output = buildah.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 4"])?.exits(4)?;
    ensure_eq!(output.stdout, "out\n", "stdout");
    ensure!(output.stderr.starts_with("err\n"), "{output}");
    let output = buildah.run(&[], &["nosuch"])?.exits(1)?;
    ensure!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    let data = env.dir.join("data");
    fs::create_dir(&data)?;
    let volume = format!("{}:/mnt", data.display());
    let flags = ["--user", "5:6", "--workingdir", "/tmp", "--env", "A=b", "--cap-drop", "all"];
    let output = buildah.run(&flags, &["/bin/probe"])?.ok()?;
    let found = output.json()?;
    ensure_eq!(found["status"]["Uid"], "5 5 5 5", "uid");
    ensure_eq!(found["cwd"], "/tmp", "cwd");
    ensure!(found["env"].to_string().contains("A=b"), "environment {}", found["env"]);
    buildah.run(&["--volume", &volume], &["touch", "/mnt/new", "/kept"])?.ok()?;
    ensure!(data.join("new").exists(), "the volume is not the directory");
    buildah.run(&[], &["test", "-e", "/kept"])?.ok()?;
    // The flags, in place of the manual's variables.
    let container = format!("--network none {} --", buildah.container);
    let changes = [("CONTAINER", &*container), ("COMMAND", "test -e /absent")];
    buildah.manual("buildah-run", &changes)?.exits(1)?;
    let changes = [changes[0], ("COMMAND", "test -e /kept")];
    buildah.manual("buildah-run", &changes)?.ok()?;
    let runtime = env.shared.runtime.to_string_lossy();
    let changes = [changes[0], changes[1], (&*runtime, "/no/such/runtime")];
    let output = buildah.manual("buildah-run", &changes)?.output()?;
    ensure!(output.stderr.contains("/no/such/runtime"), "{output}");
    buildah.end()
}

fn terminal(env: &mut Env) -> Outcome {
    let buildah = Buildah::new(env)?;
    let (mut terminal, slave) = Terminal::open(37, 91)?;
    let script = "tty; read line; echo got $line; exit 4";
    let call = buildah.run(&["--terminal"], &["sh", "-c", script])?;
    let running = call.on_terminal(&slave)?.spawn()?;
    drop(slave);
    terminal.expect("/dev/pts/", env.shared.limit)?;
    terminal.write("typed\r")?;
    terminal.expect("got typed", env.shared.limit)?;
    running.wait()?.expect_code(4)?;
    buildah.end()
}

fn bud(env: &mut Env) -> Outcome {
    let buildah = Buildah::new(env)?;
    let context = env.dir.join("context");
    fs::create_dir(&context)?;
    let lines = format!(
        "FROM oci:{}:latest\nRUN echo built >/file && id -u >>/file && chmod 777 /mnt\n\
         USER 5\nRUN id -u >/mnt/user\n",
        env.dir.join("layout").display()
    );
    fs::write(context.join("Containerfile"), lines)?;
    let folder = context.to_string_lossy().into_owned();
    let more = format!("--network none --cgroup-parent /{} -t built {folder}", env.mark);
    buildah.manual("buildah-bud", &[(" .\n", &format!(" {more}\n"))])?.ok()?;
    let output = buildah.call(&["from", "--pull-never", "--name", "two", "built"]).ok()?;
    ensure_eq!(output.stdout.trim(), "two", "the container of what was built");
    let place = buildah.call(&["mount", "two"]).ok()?.stdout;
    let read = |name: &str| fs::read_to_string(Path::new(place.trim()).join(name));
    ensure_eq!((read("file")?, read("mnt/user")?), ("built\n0\n".into(), "5\n".into()), "files");
    buildah.call(&["umount", "two"]).ok()?;
    buildah.end()
}
