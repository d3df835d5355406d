//! `checkpoint` and `restore`: a container's processes go on where they were saved.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::{Call, Output, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::console::{ConsoleSocket, Terminal};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRIU: &[Need] = &[Need::Criu];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun 1.8.1 has other flags and messages")];
const WORDS: &[(Peer, &str)] =
    &[(Peer::Runc, "ghost only: runc says less"), (Peer::Crun, "ghost only: crun says less")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("checkpoint/goes-on-where-it-was-saved", goes_on).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/leave-running", leave_running).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/default-image-path-and-again", default_path).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/paused-container", paused).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/restore-in-the-foreground", foreground).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/streams-are-pipes", pipes).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/streams-are-files", files).needs(CRIU).not_on(&[
        (Peer::Runc, "criu finds no mount of the host's file"),
        (Peer::Crun, "criu finds no mount of the host's file"),
    ]),
    Case::new("checkpoint/terminal", terminal).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/terminal-in-the-foreground", terminal_foreground)
        .needs(CRIU)
        .not_on(CRUN),
    Case::new("checkpoint/mounts", mounts).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/limits-and-device-rules", limits).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/pre-dump-and-parent-path", pre_dump).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/joined-network-namespace", joined).needs(CRIU).not_on(CRUN),
    Case::new("checkpoint/hooks", hooks).needs(CRIU).not_on(&[
        (Peer::Runc, "runc 1.1 saves another status in the state"),
        (Peer::Crun, "crun 1.8.1 has other flags and messages"),
    ]),
    Case::new("checkpoint/failed-dump-leaves-it-running", failed_dump).needs(CRIU).not_on(WORDS),
    Case::new("checkpoint/failed-restore-leaves-nothing", failed_restore).needs(CRIU).not_on(WORDS),
    Case::new("checkpoint/not-of-a-created-container", created).not_on(CRUN),
    Case::new("checkpoint/without-criu", without_criu).not_on(CRUN),
    Case::new("checkpoint/wrong-values", wrong_values).not_on(WORDS),
    Case::new("checkpoint/help-for-podman", help).not_on(CRUN),
];

/// The caller's streams are /dev/null, so that they are saved with any runtime.
pub fn quiet(call: Call) -> Call {
    call.under(&["sh", "-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh"])
}

/// A container that counts in its memory, and shows its number in a file.
pub struct Counter {
    /// Its bundle, saved.
    pub bundle: Bundle,
    /// Its id.
    pub id: String,
    /// Where its number is.
    pub file: PathBuf,
    /// Where its images are to be.
    pub images: String,
}

impl Counter {
    /// It runs, and has begun to count.
    pub fn start(env: &Env, bundle: Bundle, name: &str) -> Result<Counter, Failure> {
        let counter = Counter::make(env, bundle, name)?;
        counter.begin(env, quiet)?;
        Ok(counter)
    }

    /// It begins to run, and to count, in a call with streams of some kind.
    pub fn begin(&self, env: &Env, streams: impl FnOnce(Call) -> Call) -> Outcome {
        streams(env.runtime(&["run", "-d", "-b", &self.dir(), &self.id])).ok()?;
        env.wait_file(&self.file).map(drop)
    }

    /// Its bundle is saved, and it does not run yet.
    pub fn make(env: &Env, bundle: Bundle, name: &str) -> Result<Counter, Failure> {
        Counter::with(env, bundle, name, [":", ":"])
    }

    /// One that does something before it counts, and with each number, `$i`.
    pub fn with(
        env: &Env,
        mut bundle: Bundle,
        name: &str,
        [first, each]: [&str; 2],
    ) -> Result<Counter, Failure> {
        let count = "i=0; while :; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count";
        bundle.shell(&format!("{first}; {count}; {each}; sleep 0.05; done")).writable();
        bundle.save()?;
        let id = env.id(name);
        env.adopt(&id);
        let file = bundle.rootfs().join("tmp/count");
        let images = env.dir.join(format!("images-{name}")).to_string_lossy().into_owned();
        Ok(Counter { bundle, id, file, images })
    }

    /// The bundle's directory.
    pub fn dir(&self) -> String {
        self.bundle.dir.to_string_lossy().into_owned()
    }

    /// The number that it shows.
    pub fn number(&self, env: &Env) -> Result<u64, Failure> {
        Ok(env.wait_file(&self.file)?.trim().parse()?)
    }

    /// `checkpoint` with these flags beside the images' path.
    pub fn checkpoint(&self, env: &Env, flags: &[&str]) -> Call {
        let words: &[&str] = &["checkpoint", "--image-path", &self.images];
        env.runtime(&[words, flags, &[&self.id]].concat())
    }

    /// `restore --detach` with these flags beside the paths.
    pub fn restore(&self, env: &Env, flags: &[&str]) -> Call {
        quiet(self.restore_with_streams(env, flags))
    }

    /// The same, with whatever streams the call gets.
    pub fn restore_with_streams(&self, env: &Env, flags: &[&str]) -> Call {
        let dir = self.dir();
        let words: &[&str] = &["restore", "-d", "--image-path", &self.images, "-b", &dir];
        env.runtime(&[words, flags, &[&self.id]].concat())
    }

    /// It counts on from what it had been saved with.
    pub fn counts_on(&self, env: &Env, saved: u64) -> Outcome {
        fs::remove_file(&self.file)?;
        let number = self.number(env)?;
        ensure!(number > saved, "it shows {number} after it was saved with {saved}");
        Ok(())
    }
}

fn goes_on(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    let work = env.dir.join("work");
    let work_path = work.to_string_lossy().into_owned();
    counter.checkpoint(env, &["--work-path", &work_path]).ok()?;
    ensure!(work.join("dump.log").is_file(), "no dump.log in --work-path");
    env.nothing_left()?;
    let streams = fs::read(PathBuf::from(&counter.images).join("descriptors.json"))?;
    let streams: Value = serde_json::from_slice(&streams)?;
    ensure_eq!(streams.as_array().map(Vec::len), Some(3), "descriptors.json {streams}");
    let saved = counter.number(env)?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    ensure_eq!(counter.number(env)?, saved, "it counts, and was saved");
    let pid_file = env.dir.join("pid");
    let flags = ["--pid-file", &*pid_file.to_string_lossy(), "-no-subreaper", "--no-pivot"];
    counter.restore(env, &[&flags[..], &["--work-path", &work_path]].concat()).ok()?;
    ensure!(work.join("restore.log").is_file(), "no restore.log in --work-path");
    counter.counts_on(env, saved)?;
    let state = env.state(&counter.id)?;
    ensure_eq!(state["status"], "running", "status");
    ensure_eq!(fs::read_to_string(pid_file)?, state["pid"].to_string(), "pid file");
    let inside = env.exec(&counter.id, &[], &["sh", "-c", "echo $$; cat /tmp/count"]).ok()?;
    ensure!(inside.stdout.lines().count() == 2, "exec prints {inside}");
    let pid = env.pid(&counter.id)?;
    let own = env.exec(&counter.id, &[], &["readlink", "/proc/self/ns/time"]).ok()?;
    let init = fs::read_link(format!("/proc/{pid}/ns/time"))?;
    // runc 1.1 knows no time namespaces.
    let same = own.stdout.trim() == init.to_string_lossy();
    ensure!(
        same || env.is(Peer::Runc),
        "time namespace of exec: {own}, of init {}",
        init.display()
    );
    env.verb("pause", &counter.id).ok()?;
    ensure_eq!(env.status(&counter.id)?, "paused", "status");
    env.verb("resume", &counter.id).ok()?;
    let listed = env.runtime(&["list", "-q"]).ok()?;
    ensure_eq!(listed.stdout.trim(), counter.id, "list");
    env.runtime(&["delete", "--force", &counter.id]).ok()?;
    env.nothing_left()
}

fn leave_running(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    let pid = env.pid(&counter.id)?;
    // podman gives it twice.
    counter.checkpoint(env, &["--leave-running", "--leave-running"]).ok()?;
    ensure_eq!(env.pid(&counter.id)?, pid, "pid");
    let number = counter.number(env)?;
    counter.counts_on(env, number)
}

fn default_path(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    for _ in 0..2 {
        quiet(env.verb("checkpoint", &counter.id).cwd(&counter.bundle.dir)).ok()?;
        ensure!(counter.bundle.dir.join("checkpoint/inventory.img").is_file(), "no ./checkpoint");
        let saved = counter.number(env)?;
        let call = env.runtime(&["restore", "--detach", &counter.id]);
        quiet(call.cwd(&counter.bundle.dir)).ok()?;
        counter.counts_on(env, saved)?;
    }
    Ok(())
}

fn paused(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    env.verb("pause", &counter.id).ok()?;
    let saved = counter.number(env)?;
    counter.checkpoint(env, &["--leave-running"]).ok()?;
    ensure_eq!(env.status(&counter.id)?, "paused", "status after --leave-running");
    counter.checkpoint(env, &[]).ok()?;
    env.nothing_left()?;
    counter.restore(env, &[]).ok()?;
    counter.counts_on(env, saved)
}

fn foreground(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("touch /tmp/begun; while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 7");
    bundle.writable().save()?;
    let (dir, id) = (bundle.dir.to_string_lossy().into_owned(), env.id("c"));
    env.adopt(&id);
    quiet(env.runtime(&["run", "-d", "-b", &dir, &id])).ok()?;
    let tmp = bundle.rootfs().join("tmp");
    wait_until(env.shared.limit, "its begin", || Ok(tmp.join("begun").exists().then_some(())))?;
    let images = env.dir.join("images").to_string_lossy().into_owned();
    env.runtime(&["checkpoint", "--image-path", &images, &id]).ok()?;
    let call = env.runtime(&["restore", "--image-path", &images, "-b", &dir, &id]);
    let running = quiet(call).spawn()?;
    wait_until(env.shared.limit, "the container", || {
        Ok((env.verb("state", &id).output()?.code() == 0).then_some(()))
    })?;
    env.wait_status(&id, "running")?;
    fs::write(tmp.join("end"), "")?;
    let output = running.wait()?;
    output.expect_code(7)?;
    env.nothing_left()
}

/// A container that prints what it counts.
fn printing(env: &Env) -> Result<(Bundle, String), Failure> {
    let mut bundle = env.bundle()?;
    bundle.shell("i=0; while :; do i=$((i+1)); echo count $i; sleep 0.05; done").save()?;
    let id = env.id("c");
    env.adopt(&id);
    Ok((bundle, id))
}

fn last_count(text: &str) -> u64 {
    let mut numbers = text.lines().filter_map(|line| line.strip_prefix("count ")?.parse().ok());
    numbers.next_back().unwrap_or(0)
}

fn pipes(env: &mut Env) -> Outcome {
    let (bundle, id) = printing(env)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let images = env.dir.join("images").to_string_lossy().into_owned();
    let piped = |call: Call, file: &str| -> Result<_, Failure> {
        let path = env.dir.join(file);
        let script = format!("(\"$@\") </dev/null 2>&1 | cat > {}", path.display());
        let running = call.under(&["sh", "-c", &script, "sh"]).spawn()?;
        wait_until(env.shared.limit, "a number in the pipe", || {
            Ok((last_count(&fs::read_to_string(&path).unwrap_or_default()) > 0).then_some(()))
        })?;
        Ok((running, path))
    };
    let (before, _) = piped(env.runtime(&["run", "-d", "-b", &dir, &id]), "before")?;
    env.runtime(&["checkpoint", "--image-path", &images, &id]).ok()?;
    // The pipe has nobody any more who writes.
    before.wait()?;
    let streams = fs::read_to_string(env.dir.join("images/descriptors.json"))?;
    ensure!(streams.contains("\"pipe:["), "descriptors.json {streams}");
    let saved = last_count(&fs::read_to_string(env.dir.join("before"))?);
    let call = env.runtime(&["restore", "-d", "--image-path", &images, "-b", &dir, &id]);
    let (after, path) = piped(call, "after")?;
    let text = fs::read_to_string(path)?;
    ensure!(last_count(&text) > saved, "after {saved}: {text}");
    env.runtime(&["delete", "-f", &id]).ok()?;
    after.wait()?;
    Ok(())
}

fn files(env: &mut Env) -> Outcome {
    let (bundle, id) = printing(env)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let images = env.dir.join("images").to_string_lossy().into_owned();
    let to_file = |call: Call, file: &str| -> Result<_, Failure> {
        let path = env.dir.join(file);
        // criu wants a file of the old size, unless it is one to append to.
        let script = format!("\"$@\" </dev/null >>{}", path.display());
        call.under(&["sh", "-c", &script, "sh"]).ok()?;
        wait_until(env.shared.limit, "a number in the file", || {
            Ok(Some(last_count(&fs::read_to_string(&path)?)).filter(|number| *number > 0))
        })
    };
    to_file(env.runtime(&["run", "-d", "-b", &dir, &id]), "before")?;
    env.runtime(&["checkpoint", "--image-path", &images, &id]).ok()?;
    let saved = last_count(&fs::read_to_string(env.dir.join("before"))?);
    let call = env.runtime(&["restore", "-d", "--image-path", &images, "-b", &dir, &id]);
    let number = to_file(call, "after")?;
    ensure!(number > saved, "{number} after {saved}");
    ensure_eq!(last_count(&fs::read_to_string(env.dir.join("before"))?), saved, "the old file");
    Ok(())
}

fn master(env: &Env, socket: &ConsoleSocket) -> Result<Terminal, Failure> {
    let mut message = socket.receive(env.shared.limit)?;
    ensure_eq!(message.fds.len(), 1, "descriptors in the message");
    message.fds.pop().map(Terminal::over).ok_or_else(|| Failure("no descriptor".to_owned()))
}

/// A saved container with a terminal that answers lines, its id and its images.
fn talker(env: &Env) -> Result<(Bundle, String, String), Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.shell("n=0; while read line; do n=$((n+1)); echo $n got $line; done");
    let socket = ConsoleSocket::bind(&env.dir.join("first.sock"))?;
    let id = env.detach(&bundle, "d", &["--console-socket", &socket.path.to_string_lossy()])?;
    let mut terminal = master(env, &socket)?;
    terminal.write("one\n")?;
    terminal.expect("1 got one", env.shared.limit)?;
    let images = env.dir.join("images").to_string_lossy().into_owned();
    env.runtime(&["checkpoint", "--image-path", &images, &id]).ok()?;
    Ok((bundle, id, images))
}

fn terminal(env: &mut Env) -> Outcome {
    let (bundle, id, images) = talker(env)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let socket = ConsoleSocket::bind(&env.dir.join("second.sock"))?;
    let path = socket.path.to_string_lossy().into_owned();
    let words: &[&str] = &["restore", "-d", "--image-path", &images, "-b", &dir];
    let missing = env.runtime(&[words, &[&id]].concat()).exits(1)?;
    ensure!(missing.stderr.contains("console socket"), "no word of it: {missing}");
    env.runtime(&[words, &["--console-socket", &path, &id]].concat()).ok()?;
    let mut terminal = master(env, &socket)?;
    terminal.write("two\n")?;
    terminal.expect("2 got two", env.shared.limit)?;
    Ok(())
}

fn terminal_foreground(env: &mut Env) -> Outcome {
    let (bundle, id, images) = talker(env)?;
    let (mut terminal, slave) = Terminal::open(33, 77)?;
    let words: &[&str] = &["restore", "--image-path", &images, "-b"];
    let dir = bundle.dir.to_string_lossy().into_owned();
    let call = env.runtime(&[words, &[&dir, &id]].concat());
    let running = call.on_terminal(&slave)?.spawn()?;
    drop(slave);
    env.adopt(&id);
    wait_until(env.shared.limit, "the container", || {
        Ok(env.verb("state", &id).output()?.stdout.contains("running").then_some(()))
    })?;
    terminal.write("two\n")?;
    terminal.expect("2 got two", env.shared.limit)?;
    // The end of its input is that of its shell.
    terminal.write("\u{4}")?;
    running.wait()?.expect_code(0)?;
    env.nothing_left()
}

fn mounts(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let (dir, file) = (env.dir.join("data"), env.dir.join("file"));
    fs::create_dir_all(dir.join("inner"))?;
    fs::write(dir.join("name"), "from the host")?;
    fs::write(dir.join("inner/file"), "")?;
    fs::write(&file, "a file")?;
    std::os::unix::fs::symlink("/mnt", bundle.rootfs().join("link"))?;
    bundle.bind(&dir, "/data/new", &["ro"])?;
    bundle.bind(&file, "/data/new/inner/file", &[])?;
    bundle.bind(&file, "/link/file", &[])?;
    bundle.bind(&file, "/dev/file", &[])?;
    let tmpfs = json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"});
    bundle.mount(tmpfs)?;
    bundle.set("/linux/maskedPaths", json!(["/proc/keys", "/proc/scsi", "/etc/group"]))?;
    let counter = Counter::start(env, bundle, "c")?;
    env.exec(&counter.id, &[], &["sh", "-c", "echo kept > /scratch/x"]).ok()?;
    counter.checkpoint(env, &[]).ok()?;
    // As on another machine, where the root directory is a new one.
    for made in ["data/new", "data", "mnt/file", "scratch"] {
        let path = counter.bundle.rootfs().join(made);
        if path.is_dir() { fs::remove_dir(path)? } else { fs::remove_file(path)? }
    }
    let saved = counter.number(env)?;
    counter.restore(env, &[]).ok()?;
    counter.counts_on(env, saved)?;
    let script = "cat /data/new/name /data/new/inner/file /mnt/file /dev/file /scratch/x; \
                  wc -c < /etc/group; touch /data/new/y 2>&1; ls /proc/scsi | wc -l";
    let seen = env.exec(&counter.id, &[], &["sh", "-c", script]).ok()?;
    for text in ["from the hosta filea filea filekept\n0\n", "Read-only", "\n0\n"] {
        ensure!(seen.stdout.contains(text), "no {text:?} in {seen}");
    }
    Ok(())
}

fn limits(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/resources/pids", json!({"limit": 99}))?;
    let counter = Counter::start(env, bundle, "c")?;
    counter.checkpoint(env, &["--manage-cgroups-mode", "soft"]).ok()?;
    let saved = counter.number(env)?;
    counter.restore(env, &["--manage-cgroups-mode", "ignore"]).ok()?;
    counter.counts_on(env, saved)?;
    let pid = env.pid(&counter.id)?;
    let place = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    ensure!(place.contains(&counter.id), "it is in {place}");
    let place = place.trim().rsplit(':').next().unwrap_or_default();
    let limit = fs::read_to_string(format!("/sys/fs/cgroup{place}/pids.max"))?;
    ensure_eq!(limit.trim(), "99", "pids.max");
    let script = "mknod /tmp/d b 7 0 && cat /tmp/d; echo end";
    let output = env.exec(&counter.id, &["--cap", "CAP_MKNOD"], &["sh", "-c", script]).output()?;
    ensure!(output.stderr.contains("not permitted"), "a disk can be read: {output}");
    Ok(())
}

fn pre_dump(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    let before = env.dir.join("before");
    let words = ["checkpoint", "--pre-dump", "--image-path", &*before.to_string_lossy()];
    env.runtime(&[&words[..], &[&counter.id]].concat()).ok()?;
    ensure!(before.join("pagemap-1.img").is_file(), "no memory in the images");
    ensure!(!before.join("core-1.img").exists(), "more than memory in the images");
    let number = counter.number(env)?;
    counter.counts_on(env, number)?;
    counter.checkpoint(env, &["--parent-path", "../before"]).exits(1)?;
    fs::create_dir(&counter.images)?;
    counter.checkpoint(env, &["--parent-path", "../before", "--auto-dedup"]).ok()?;
    ensure!(PathBuf::from(&counter.images).join("parent").exists(), "no link to the parent");
    let saved = counter.number(env)?;
    counter.restore(env, &["--auto-dedup"]).ok()?;
    counter.counts_on(env, saved)
}

fn joined(env: &mut Env) -> Outcome {
    let other = env.bundle_with(&["sleep", "1000"])?;
    let other = env.detach(&other, "other", &[])?;
    let path = format!("/proc/{}/ns/net", env.pid(&other)?);
    let mut bundle = env.bundle()?;
    bundle.namespace("network", Some(&path))?;
    let counter = Counter::start(env, bundle, "c")?;
    counter.checkpoint(env, &[]).ok()?;
    let saved = counter.number(env)?;
    counter.restore(env, &["--empty-ns", "network"]).ok()?;
    counter.counts_on(env, saved)?;
    let own = fs::read_link(format!("/proc/{}/ns/net", env.pid(&counter.id)?))?;
    ensure_eq!(own, fs::read_link(&path)?, "network namespace");
    Ok(())
}

fn hooks(env: &mut Env) -> Outcome {
    let notes = env.dir.join("notes");
    let mut bundle = env.bundle()?;
    let mut list = serde_json::Map::new();
    for kind in ["prestart", "createRuntime", "poststop"] {
        let body = format!("(echo {kind}; cat; echo) >> {}", notes.display());
        let hook = super::hooks::script(env, kind, &body)?;
        list.insert(kind.to_owned(), json!([{"path": hook}]));
    }
    bundle.set("/hooks", Value::Object(list))?;
    let counter = Counter::start(env, bundle, "c")?;
    fs::remove_file(&notes)?;
    counter.checkpoint(env, &[]).ok()?;
    let text = fs::read_to_string(&notes)?;
    ensure!(text.starts_with("poststop\n"), "after checkpoint: {text}");
    fs::remove_file(&notes)?;
    counter.restore(env, &[]).ok()?;
    let text = fs::read_to_string(&notes)?;
    let pid = format!("\"pid\":{}", env.pid(&counter.id)?);
    let lines: Vec<&str> = text.lines().collect();
    ensure_eq!(lines.len(), 4, "lines of {text}");
    ensure_eq!((lines[0], lines[2]), ("prestart", "createRuntime"), "hooks of restore");
    ensure!(lines[1].contains(&pid) && lines[3].contains(&pid), "no {pid} in {text}");
    // A hook that fails is the end of it.
    counter.checkpoint(env, &[]).ok()?;
    super::hooks::script(env, "createRuntime", "echo no network >&2; exit 3")?;
    let words = ["restore", "-d", "--image-path", &counter.images, "-b", &counter.dir()];
    let output = env.runtime(&[&words[..], &[&counter.id]].concat()).exits(1)?;
    ensure!(output.stderr.contains("createRuntime hook #0"), "no word of it: {output}");
    env.nothing_left()
}

fn failed_dump(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    let pid = env.pid(&counter.id)?;
    // Nobody listens there.
    let output = counter.checkpoint(env, &["--page-server", "127.0.0.1:9"]).exits(1)?;
    for word in ["criu failed: type", &*format!("log file: {}/dump.log", counter.images), "Error ("]
    {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    ensure_eq!(env.status(&counter.id)?, "running", "status");
    ensure_eq!(env.pid(&counter.id)?, pid, "pid");
    let number = counter.number(env)?;
    counter.counts_on(env, number)?;
    env.runtime(&["delete", "-f", &counter.id]).ok()?;
    env.nothing_left()
}

fn failed_restore(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    counter.checkpoint(env, &[]).ok()?;
    let images = PathBuf::from(&counter.images);
    let (dir, words) = (counter.dir(), ["restore", "-d", "--image-path", &counter.images, "-b"]);
    let restore = || env.runtime(&[&words[..], &[&dir, &counter.id]].concat());
    for (missing, wanted) in [
        ("descriptors.json", "descriptors.json: no such file or directory"),
        ("core-1.img", "restore.log: Error ("),
        ("inventory.img", "restore.log: Error ("),
    ] {
        fs::rename(images.join(missing), env.dir.join("away"))?;
        let output = restore().exits(1)?;
        ensure!(output.stderr.contains(wanted), "no {wanted:?} in {output}");
        env.nothing_left()?;
        fs::rename(env.dir.join("away"), images.join(missing))?;
    }
    let words = ["restore", "--image-path", "/nowhere", "-b", &dir, &counter.id];
    let output = env.runtime(&words).exits(1)?;
    ensure!(output.stderr.contains("open /nowhere"), "no word of it: {output}");
    env.nothing_left()?;
    restore().ok()?;
    let again = restore().exits(1)?;
    ensure!(again.stderr.contains("already exists"), "no word of it: {again}");
    ensure_eq!(env.status(&counter.id)?, "running", "status");
    Ok(())
}

fn created(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let id = env.create(&bundle, "c", &[])?;
    let images = env.dir.join("images").to_string_lossy().into_owned();
    let words = ["checkpoint", "--image-path", &images, &id];
    let output = env.runtime(&words).exits(1)?;
    let wanted = "Container cannot be checkpointed in created state";
    ensure!(output.stderr.contains(wanted), "no {wanted:?} in {output}");
    env.verb("start", &id).ok()?;
    env.wait_status(&id, "stopped")?;
    let output = env.runtime(&words).exits(1)?;
    ensure!(output.stderr.contains("in stopped state"), "no word of it: {output}");
    let output = env.runtime(&["checkpoint", "nobody"]).exits(1)?;
    ensure!(output.stderr.contains("container does not exist"), "no word of it: {output}");
    Ok(())
}

fn without_criu(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    let wanted = "executable file not found in $PATH";
    let empty = env.dir.join("empty");
    fs::create_dir(&empty)?;
    let output = counter.checkpoint(env, &[]).env("PATH", &empty).exits(1)?;
    ensure!(output.stderr.contains(wanted), "no {wanted:?} in {output}");
    ensure_eq!(env.status(&counter.id)?, "running", "status");
    env.runtime(&["delete", "-f", &counter.id]).ok()?;
    let (dir, images) = (counter.dir(), &env.dir.to_string_lossy().into_owned());
    let restore = env.runtime(&["restore", "--image-path", images, "-b", &dir, &counter.id]);
    let output = restore.env("PATH", &empty).exits(1)?;
    ensure!(output.stderr.contains(wanted), "no {wanted:?} in {output}");
    if env.is(Peer::Ghost) {
        env.nothing_left()?;
    }
    Ok(())
}

/// The error without the escapes of a log line.
fn plain(output: &Output) -> String {
    output.stderr.replace("\\\"", "\"")
}

fn wrong_values(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, env.bundle()?, "c")?;
    for (flags, wanted) in [
        (&["--manage-cgroups-mode", "x"][..], "--manage-cgroups-mode \"x\""),
        (&["--empty-ns", "mount"], "--empty-ns \"mount\""),
        (&["--page-server", "host"], "--page-server \"host\""),
        (&["--page-server", "host:x"], "--page-server \"host:x\""),
        (&["--parent-path", "/abs"], "--parent-path \"/abs\" must be relative"),
        (&["--parent-path", "nowhere"], "--parent-path \"nowhere\" is not a directory"),
        (&["--status-fd", "x"], "--status-fd \"x\" is not a descriptor"),
        (&["--status-fd", "77"], "--status-fd \"77\" is not open"),
        (&["--status-fd", "0"], "--status-fd \"0\" is not writable"),
    ] {
        let output = counter.checkpoint(env, flags).exits(1)?;
        ensure!(plain(&output).contains(wanted), "no {wanted:?} in {output}");
        ensure_eq!(env.status(&counter.id)?, "running", "status");
    }
    ensure!(!PathBuf::from(&counter.images).exists(), "images were made");
    let id = env.id("new");
    let dir = counter.dir();
    for (flags, wanted) in [
        (["--manage-cgroups-mode", "x"], "--manage-cgroups-mode \"x\""),
        (["--empty-ns", "pid"], "--empty-ns \"pid\""),
        (["--console-socket", "/x"], "console socket"),
    ] {
        let output = env.runtime(&[&["restore", "-d", "-b", &dir], &flags[..], &[&id]].concat());
        let output = output.exits(1)?;
        ensure!(plain(&output).contains(wanted), "no {wanted:?} in {output}");
        ensure!(!env.root().join(&id).exists(), "a state is left");
    }
    Ok(())
}

/// What podman finds out by whether a runtime can do it.
fn help(env: &mut Env) -> Outcome {
    let text = env.runtime(&["checkpoint", "--help"]).ok()?.stdout;
    for flag in ["image-path", "leave-running", "pre-dump", "status-fd", "page-server"] {
        ensure!(text.contains(&format!("--{flag}")), "no --{flag} in {text}");
    }
    let output = env.runtime(&["restore", "--lsm-mount-context"]).exits(1)?;
    let all = output.stdout + &output.stderr;
    ensure!(all.contains("flag needs an argument"), "no word of it: {all}");
    Ok(())
}
