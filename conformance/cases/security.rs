//! Attacks from a hostile image or container, each of which once worked against a runtime.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::{Output, wait_until};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::console::ConsoleSocket;
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN_OLD: &[(Peer, &str)] = &[(Peer::Crun, "crun 1.8.1 predates the fix")];
const OLD: &[(Peer, &str)] =
    &[(Peer::Runc, "runc 1.1.5 predates the fix"), (Peer::Crun, "crun 1.8.1 predates the fix")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("security/cve-2019-5736-entrypoint-is-the-runtime", self_exe_entrypoint),
    Case::new("security/cve-2019-5736-overwrite-during-exec", self_exe_exec),
    Case::new("security/cve-2024-21626-cwd-through-a-descriptor", leaked_cwd).not_on(CRUN_OLD),
    Case::new("security/cve-2024-21626-exec-cwd", leaked_cwd_exec).not_on(CRUN_OLD),
    Case::new("security/cve-2023-27561-proc-is-a-symlink", proc_symlink),
    Case::new("security/dev-is-a-symlink", dev_symlink)
        .not_on(&[(Peer::Runc, "runc 1.1 resolves it inside the root")]),
    Case::new("security/cve-2025-31133-masked-path-over-a-symlink", masked_symlink).not_on(OLD),
    Case::new("security/masked-path-is-a-symlink-to-the-outside", masked_outside),
    Case::new("security/mount-target-through-a-symlink", mount_symlink),
    Case::new("security/mount-target-with-dot-dot", mount_dotdot),
    Case::new("security/mount-target-is-the-root", mount_root).not_on(OLD),
    Case::new("security/mount-over-proc", mount_over_proc)
        .not_on(&[(Peer::Crun, "crun takes any mount on /proc")]),
    Case::new("security/rootfs-devices-are-symlinks", device_symlinks),
    Case::new("security/devices-that-lead-into-proc", devices_into_proc).not_on(&[
        (Peer::Runc, "runc 1.1 covers a file of /proc"),
        (Peer::Crun, "its words are others"),
    ]),
    Case::new("security/console-that-leads-into-proc", console_into_proc).not_on(&[
        (Peer::Runc, "runc 1.1 covers a file of /proc"),
        (Peer::Crun, "its words are others"),
    ]),
    Case::new("security/cwd-is-made-inside", cwd_symlink),
    Case::new("security/etc-passwd-is-a-symlink", passwd_symlink),
    Case::new("security/apparmor-profile-that-is-not-loaded", apparmor_missing)
        .needs(&[Need::AppArmor]),
    Case::new("security/init-is-not-dumpable-to-exec", ptrace_exec),
    Case::new("security/no-zombie-or-thread-of-the-runtime-inside", inside_only),
];

/// A directory outside the rootfs that nothing may get into.
fn outside(env: &Env) -> Result<std::path::PathBuf, Failure> {
    let dir = env.dir.join("outside");
    fs::create_dir(&dir)?;
    fs::write(dir.join("secret"), "secret\n")?;
    Ok(dir)
}

fn untouched(dir: &Path) -> Outcome {
    let names: Vec<_> = fs::read_dir(dir)?.flatten().map(|e| e.file_name()).collect();
    ensure_eq!(names, ["secret"], "what is in the outer directory");
    ensure_eq!(fs::read_to_string(dir.join("secret"))?, "secret\n", "the outer file");
    Ok(())
}

pub(super) fn hash(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path)?)
}

/// A copy of the runtime that an attack may hit, and a call of it.
pub(super) fn copied_runtime(env: &Env) -> Result<std::path::PathBuf, Failure> {
    let copy = env.dir.join(env.shared.runtime.file_name().unwrap_or_default());
    fs::copy(&env.shared.runtime, &copy)?;
    if env.user.is_some() {
        crate::user::own_tree(&copy)?;
    }
    Ok(copy)
}

/// The runtime's words, said by the copy.
pub(super) fn by_copy(env: &Env, copy: &Path, words: &[&str]) -> crate::call::Call {
    let root = env.root().to_string_lossy().into_owned();
    let program = copy.to_string_lossy().into_owned();
    let call = env.command(&[&[program.as_str(), "--root", &root], words].concat());
    let call = match &env.user {
        Some(user) => user.call(call),
        None => call,
    };
    match &env.shared.preload {
        Some(library) => call.env("LD_PRELOAD", library),
        None => call,
    }
}

pub(super) fn self_exe_entrypoint(env: &mut Env) -> Outcome {
    // The command is a link to /proc/self/exe, so the process would be the runtime's own binary,
    // and a second one could open it for writing through the first one's /proc/<pid>/exe.
    let copy = copied_runtime(env)?;
    let before = hash(&copy)?;
    let mut bundle = env.bundle()?;
    symlink("/proc/self/exe", bundle.rootfs().join("bin/self"))?;
    bundle.writable().args(&["/bin/self", "--version"]);
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    by_copy(env, &copy, &["run", "-b", &dir, &env.id("x")]).output()?;
    let script = "for i in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do \
                  (echo owned > $p/exe) 2>/dev/null && echo wrote $p; done; done; echo done";
    bundle.shell(script);
    bundle.save()?;
    let output = by_copy(env, &copy, &["run", "-b", &dir, &env.id("y")]).ok()?;
    ensure_eq!(output.stdout, "done\n", "what the attack says");
    ensure!(hash(&copy)? == before, "the runtime's binary was overwritten");
    Ok(())
}

pub(super) fn self_exe_exec(env: &mut Env) -> Outcome {
    // The container opens the binary of each exec while that is still the runtime, keeps the
    // descriptor, and writes through it once the runtime has left (probe/overwrite.rs).
    let copy = copied_runtime(env)?;
    let before = hash(&copy)?;
    let mut bundle = env.bundle()?;
    symlink("/proc/self/exe", bundle.rootfs().join("bin/self"))?;
    bundle.writable();
    bundle.capabilities(
        &["bounding", "effective", "permitted"],
        &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"],
    );
    bundle.args(&["/bin/probe", "overwrite"]);
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("d");
    env.adopt(&id);
    by_copy(env, &copy, &["run", "-d", "-b", &dir, &id]).ok()?;
    env.wait_file(&bundle.rootfs().join("ready"))?;
    for _ in 0..40 {
        persistent(|| by_copy(env, &copy, &["exec", &id, "/bin/true"]).ok())?;
        // The link as a command is refused or runs whatever the sealed copy is.
        persistent(|| by_copy(env, &copy, &["exec", &id, "/bin/self", "--version"]).output())?;
    }
    let seen = fs::read_to_string(bundle.rootfs().join("seen")).unwrap_or_default();
    ensure!(hash(&copy)? == before, "the runtime's binary was overwritten: {seen}");
    ensure!(!seen.contains("wrote"), "a binary outside could be written: {seen}");
    Ok(())
}

/// Call again while the binary is busy: an attempt to open it for writing, which the kernel counts
/// before it looks at the read-only mount, keeps it from being run for that moment.
pub(super) fn persistent(call: impl Fn() -> Result<Output, Failure>) -> Result<Output, Failure> {
    let mut result = call();
    for _ in 0..200 {
        match &result {
            Err(Failure(why)) if why.contains("Text file busy") => result = call(),
            _ => break,
        }
    }
    result
}

fn leaked_cwd(env: &mut Env) -> Outcome {
    for number in 3..16 {
        let mut bundle = env.bundle()?;
        bundle.set("/process/cwd", json!(format!("/proc/self/fd/{number}")))?;
        bundle.shell(
            "pwd; ls ../../../../../../../etc/hostname; cat ../../../../../../../etc/shadow",
        );
        let output = env.run(&bundle)?.output()?;
        ensure!(output.code() != 0, "cwd through descriptor {number}: {output}");
        ensure!(!output.stdout.contains("root:"), "the host's files through {number}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn leaked_cwd_exec(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    for number in 3..16 {
        let cwd = format!("/proc/self/fd/{number}");
        let output = env.exec(&id, &["--cwd", &cwd], &["ls", "../../../../../../etc"]).output()?;
        ensure!(output.code() != 0, "cwd through descriptor {number}: {output}");
    }
    // The same by a link that the container made, which is resolved when exec comes.
    for number in 3..16 {
        symlink(format!("/proc/self/fd/{number}"), bundle.rootfs().join(format!("link{number}")))?;
        let cwd = format!("/link{number}");
        let output = env.exec(&id, &["--cwd", &cwd], &["ls", "../../../../../../etc"]).output()?;
        ensure!(output.code() != 0, "cwd through a link to descriptor {number}: {output}");
    }
    Ok(())
}

/// Replace a directory of the rootfs by a symlink.
fn link(bundle: &Bundle, name: &str, target: &Path) -> Outcome {
    let path = bundle.rootfs().join(name);
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    symlink(target, path)?;
    Ok(())
}

fn proc_symlink(env: &mut Env) -> Outcome {
    let outer = outside(env)?;
    for target in [outer.as_path(), Path::new("/tmp"), Path::new("../../../../../tmp")] {
        let mut bundle = env.bundle()?;
        link(&bundle, "proc", target)?;
        bundle.args(&["true"]);
        let output = env.run(&bundle)?.output()?;
        ensure!(output.code() != 0, "/proc as a symlink was taken: {output}");
        untouched(&outer)?;
        env.nothing_left()?;
    }
    Ok(())
}

fn dev_symlink(env: &mut Env) -> Outcome {
    let outer = outside(env)?;
    let mut bundle = env.bundle()?;
    link(&bundle, "dev", &outer)?;
    bundle.args(&["true"]);
    env.run(&bundle)?.output()?;
    untouched(&outer)?;
    env.nothing_left()
}

fn masked_symlink(env: &mut Env) -> Outcome {
    // /dev/null of the image is no device but a link to a file of /proc that the mask, bound from
    // it, would then expose for writing.
    let mut bundle = env.bundle()?;
    fs::write(bundle.rootfs().join("etc/secret"), "secret\n")?;
    // No tmpfs on /dev: the image's own directory is what the container gets.
    bundle.config["mounts"]
        .as_array_mut()
        .into_iter()
        .for_each(|mounts| mounts.retain(|m| !m["destination"].to_string().contains("/dev")));
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("dev/null"))?;
    bundle.set("/linux/maskedPaths", json!(["/etc/secret"]))?;
    bundle.writable();
    bundle.shell("cat /etc/secret; stat -c %t:%T /etc/secret");
    let output = env.run(&bundle)?.output()?;
    ensure!(!output.stdout.contains("secret"), "the masked file shows: {output}");
    let exposed = output.code() == 0 && output.stdout.trim() != "1:3";
    ensure!(!exposed, "something other than the null device masks it: {output}");
    Ok(())
}

fn masked_outside(env: &mut Env) -> Outcome {
    let outer = outside(env)?;
    let mut bundle = env.bundle()?;
    symlink(outer.join("secret"), bundle.rootfs().join("etc/link"))?;
    bundle.set("/linux/maskedPaths", json!(["/etc/link"]))?;
    bundle.set("/linux/readonlyPaths", json!(["/etc/link"]))?;
    bundle.args(&["true"]);
    env.run(&bundle)?.output()?;
    untouched(&outer)?;
    env.nothing_left()
}

fn mount_symlink(env: &mut Env) -> Outcome {
    let outer = outside(env)?;
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "bound\n")?;
    for target in [outer.clone(), Path::new("../../../../../..").join(outer.strip_prefix("/")?)] {
        let mut bundle = env.bundle()?;
        symlink(&target, bundle.rootfs().join("link"))?;
        bundle.bind(&source, "/link/below", &["rw"])?;
        bundle.mount(json!({"destination": "/link/tmpfs", "type": "tmpfs", "source": "tmpfs"}))?;
        bundle.shell("cat /link/below/file");
        let output = env.run(&bundle)?.output()?;
        // Refusing is right, and so is resolving the link inside the root.
        if output.code() == 0 {
            ensure_eq!(output.stdout, "bound\n", "the bind mount");
        }
        untouched(&outer)?;
        env.nothing_left()?;
    }
    Ok(())
}

fn mount_dotdot(env: &mut Env) -> Outcome {
    let outer = outside(env)?;
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let mut bundle = env.bundle()?;
    bundle.bind(&source, "/../../outside/new", &[])?.bind(
        &source,
        "/tmp/../../../../outside/x",
        &[],
    )?;
    bundle.args(&["true"]);
    env.run(&bundle)?.output()?;
    untouched(&outer)?;
    env.nothing_left()
}

fn mount_root(env: &mut Env) -> Outcome {
    // A tmpfs on "/" must not end in a container that runs in the host's tree.
    let mut bundle = env.bundle()?;
    bundle.mount(json!({"destination": "/", "type": "tmpfs", "source": "tmpfs"}))?;
    bundle.shell("ls /; cat /etc/shadow");
    let output = env.run(&bundle)?.output()?;
    ensure!(!output.stdout.contains("root:"), "the host's files: {output}");
    env.nothing_left()
}

fn mount_over_proc(env: &mut Env) -> Outcome {
    // Writes through /proc/self must not be redirected by a mount inside it.
    let source = env.dir.join("source");
    fs::create_dir_all(source.join("attr"))?;
    fs::write(source.join("status"), "")?;
    for target in ["/proc", "/proc/self", "/proc/sys", "/proc/self/attr"] {
        let mut bundle = env.bundle()?;
        bundle.bind(&source, target, &["rw"])?.args(&["true"]);
        let output = env.run(&bundle)?.output()?;
        ensure!(output.code() != 0, "a bind mount at {target} was taken: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn device_symlinks(env: &mut Env) -> Outcome {
    // No mount at /dev: the nodes are made in the image's own directory, where links lie in wait.
    let outer = outside(env)?;
    let mut bundle = env.bundle()?;
    bundle.config["mounts"]
        .as_array_mut()
        .into_iter()
        .for_each(|mounts| mounts.retain(|m| !m["destination"].to_string().contains("/dev")));
    symlink(outer.join("new-zero"), bundle.rootfs().join("dev/zero"))?;
    symlink(&outer, bundle.rootfs().join("dev/sub"))?;
    bundle.set(
        "/linux/devices",
        json!([{"path": "/dev/sub/node", "type": "c", "major": 1, "minor": 3}]),
    )?;
    bundle.args(&["true"]);
    env.run(&bundle)?.output()?;
    untouched(&outer)?;
    env.nothing_left()
}

/// Without mounts at /dev and below: what is made there lands in the image's own directory.
fn without_dev(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.config["mounts"]
        .as_array_mut()
        .into_iter()
        .for_each(|mounts| mounts.retain(|m| !m["destination"].to_string().contains("/dev")));
    bundle.args(&["true"]);
    Ok(bundle)
}

/// The host's devices are bound for a container in a user namespace.
fn devices_into_proc(env: &mut Env) -> Outcome {
    for (name, target) in [("dev/zero", "/proc/uptime"), ("dev", "/proc/self")] {
        let mut bundle = without_dev(env)?;
        if env.user.is_none() {
            let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
            bundle.namespace("user", None)?;
            bundle.set("/linux/uidMappings", map.clone())?.set("/linux/gidMappings", map)?;
        }
        link(&bundle, name, Path::new(target))?;
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("leads into /proc"), "{name}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn console_into_proc(env: &mut Env) -> Outcome {
    let mut bundle = without_dev(env)?;
    bundle.mount(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}))?;
    link(&bundle, "dev/console", Path::new("/proc/uptime"))?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.save()?;
    let path = env.dir.join("console.sock");
    let _socket = ConsoleSocket::bind(&path)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let socket = path.to_string_lossy();
    let words = ["create", "--bundle", &dir, "--console-socket", &socket, &env.id("c")];
    let output = env.runtime(&words).exits(1)?;
    ensure!(output.stderr.contains("/dev/console: it leads into /proc"), "{output}");
    env.nothing_left()
}

fn cwd_symlink(env: &mut Env) -> Outcome {
    let outer = outside(env)?;
    let mut bundle = env.bundle()?;
    bundle.writable();
    symlink(&outer, bundle.rootfs().join("work"))?;
    bundle.set("/process/cwd", json!("/work/new"))?.args(&["pwd"]);
    env.run(&bundle)?.output()?;
    untouched(&outer)?;
    env.nothing_left()
}

fn passwd_symlink(env: &mut Env) -> Outcome {
    // HOME is looked up in the image's file, and never in the host's.
    let host = env.dir.join("host-passwd");
    fs::write(&host, "root:x:0:0:root:/from/the/host:/bin/sh\n")?;
    let mut bundle = env.bundle()?;
    fs::remove_file(bundle.rootfs().join("etc/passwd"))?;
    symlink(&host, bundle.rootfs().join("etc/passwd"))?;
    let report = env.probe(&mut bundle)?;
    ensure!(!report["env"].to_string().contains("/from/the/host"), "HOME: {}", report["env"]);
    // And a pipe in its place must not stop the start.
    let mut bundle = env.bundle()?;
    let path = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&path)?;
    env.command(&["mkfifo", &path.to_string_lossy()]).ok()?;
    if env.is(Peer::Ghost) {
        bundle.args(&["true"]);
        env.run(&bundle)?.limit(Duration::from_secs(5)).output()?;
    }
    Ok(())
}

fn apparmor_missing(env: &mut Env) -> Outcome {
    // A profile that can't be applied must stop the start, and never be passed over.
    let mut bundle = env.bundle()?;
    bundle.set("/process/apparmorProfile", json!("no-such-profile"))?.args(&["true"]);
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.to_lowercase().contains("apparmor"), "{output}");
    env.nothing_left()
}

fn ptrace_exec(env: &mut Env) -> Outcome {
    // While exec is still the runtime's code, the container may not look into it: its descriptors
    // would lead out. Anything but the command's own binary that can be read is a hole.
    let mut bundle = env.bundle()?;
    bundle.writable().capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_PTRACE"]);
    bundle.shell(
        "echo ready > /ready; while true; do for p in /proc/[0-9]*; do \
         case $p in /proc/1|/proc/$$) continue;; esac; \
         for fd in 3 4 5 6 7 8 9 10 11 12; do \
         ls $p/fd/$fd/etc/hostname >> /leaks && ls -l $p/fd >> /leaks; done; done; done 2>/dev/null",
    );
    let id = env.detach(&bundle, "d", &[])?;
    env.wait_file(&bundle.rootfs().join("ready"))?;
    for _ in 0..20 {
        env.exec(&id, &[], &["true"]).ok()?;
    }
    let leaks = fs::read_to_string(bundle.rootfs().join("leaks")).unwrap_or_default();
    ensure_eq!(leaks, "", "directories of the host within reach");
    Ok(())
}

fn inside_only(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let pid = env.pid(&id)?;
    let start = Instant::now();
    wait_until(env.shared.limit, "one process with one thread", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let output = env.exec(&id, &[], &["sh", "-c", "ls -d /proc/[0-9]*"]).ok()?;
        let alone = output.stdout.lines().filter(|l| *l != "/proc/1").count() <= 2;
        Ok((alone && status.contains("Threads:\t1\n")).then_some(()))
    })?;
    ensure!(start.elapsed() < env.shared.limit, "took too long");
    let mode = fs::metadata(env.root())?.permissions().mode();
    let state: Value = env.state(&id)?;
    ensure!(state["pid"].is_number(), "no pid");
    ensure_eq!(mode & 0o022, 0, "others may write to the state directory: mode");
    Ok(())
}
