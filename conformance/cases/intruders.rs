//! Somebody else in the place of one whom the runtime talks to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, socket_with,
};
use serde_json::json;

use crate::agent::Agent;
use crate::case::{Case, Outcome, Peer};
use crate::env::Env;
use crate::trace::STRACE;
use crate::{ensure, ensure_eq, shim};

const GHOST: &[(Peer, &str)] =
    &[(Peer::Runc, "speaks the language of ghost-runc"), (Peer::Crun, "as runc")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("hardening/only-a-listener-goes-to-the-agent", not_a_listener).not_on(GHOST),
    Case::new("hardening/mount-point-that-others-move", moved_mount_point).needs(STRACE).not_on(&[
        (Peer::Runc, "looks it up again, and refuses"),
        (Peer::Crun, "looks it up again"),
    ]),
    Case::new("hardening/remount-of-what-is-the-hosts", host_remount)
        .not_on(&[(Peer::Runc, "remounts it"), (Peer::Crun, "remounts it")]),
    Case::new("hardening/state-that-others-may-have-written", others_state)
        .not_on(&[(Peer::Runc, "runs its hooks"), (Peer::Crun, "runs its hooks")]),
    Case::new("hardening/state-of-another-id", renamed_state).not_on(GHOST),
    Case::new("hardening/pid-file-with-a-link-in-its-way", pid_file_link).not_on(&[
        (Peer::Runc, "its temporary file has another name"),
        (Peer::Crun, "has no temporary file"),
    ]),
    Case::new("hardening/own-binary-busy-for-a-moment", busy_binary).needs(STRACE).not_on(GHOST),
    Case::new("hardening/process-that-joins-ends-without-a-word", wordless).not_on(GHOST),
];

/// A container's init that was taken over says that its standard input is the filter's listener.
fn not_a_listener(env: &mut Env) -> Outcome {
    let agent = Agent::start(env, &[])?;
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": agent.path,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.set("/linux/seccomp", profile)?;
    let id = env.create(&bundle, "c", &[])?;
    let path = env.root().join(&id).join("exec.sock");
    fs::remove_file(&path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(&path)?)?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    listen(&socket, 1)?;
    let start = env.verb("start", &id).spawn()?;
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    let waiting = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit))?;
    ensure!(waiting == 1, "no connection to exec.sock: {}", start.stderr_tail()?);
    let runtime = accept(&socket)?;
    let mut word = [0; 64];
    recv(&runtime, &mut word, RecvFlags::empty())?;
    send(&runtime, &[&b"l"[..], &0i32.to_ne_bytes()].concat(), SendFlags::empty())?;
    let output = start.wait()?;
    ensure!(output.code() == 1 && output.stderr.contains("seccomp listener"), "{output}");
    ensure!(agent.states()?.is_empty(), "the agent was sent a descriptor");
    env.wait_status(&id, "stopped")
}

/// The intermediate process can't tell the pid of the init that it has made.
fn wordless(env: &mut Env) -> Outcome {
    let other =
        env.command(&["unshare", "--ipc", "sh", "-c", "echo there; exec sleep 100"]).spawn()?;
    other.wait_for_stdout("there")?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.namespace("ipc", Some(&format!("/proc/{}/ns/ipc", other.pid())))?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("c");
    let call = env.runtime(&["create", "--bundle", &dir, &id]);
    // sendto(2) of a message that is neither a byte nor a failure: five bytes.
    let output = shim::without(env, call, "44/2&4=1").exits(1)?;
    drop(other);
    ensure!(output.stderr.contains("joining namespaces (exit status 1)"), "{output}");
    env.nothing_left()
}

/// Somebody who may write to the volume exchanges the mount point with another directory, all the time.
fn moved_mount_point(env: &mut Env) -> Outcome {
    let volume = env.dir.join("volume");
    for name in ["a", "b", "lower"] {
        fs::create_dir_all(volume.join(name))?;
    }
    let lower = volume.join("lower");
    // Too long for fsconfig(2).
    let layers: Vec<_> = (0..4).map(|n| lower.join(format!("{n}{}", "l".repeat(100)))).collect();
    layers.iter().try_for_each(fs::create_dir)?;
    let layers: Vec<_> = layers.iter().map(|layer| layer.to_string_lossy()).collect();
    let layers = format!("lowerdir={}", layers.join(":"));
    let mut bundle = env.bundle()?;
    bundle.bind(&volume, "/volume", &[])?;
    bundle.mount(json!({"destination": "/volume/a", "type": "overlay", "source": "overlay",
        "options": [layers, "nosuid", "nodev"]}))?;
    bundle.shell("grep -c ' /volume/[ab] r[ow],nosuid,nodev.* overlay' /proc/self/mountinfo");
    let stop = AtomicBool::new(false);
    let (one, other) = (volume.join("a"), volume.join("b"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // There is nothing to do about one that fails.
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        // Time for that, after what would be looked up again.
        let words = ["-e", "trace=mount", "-e", "inject=mount:delay_exit=20000"];
        let strace = [&["strace", "-f", "-o", "/dev/null"][..], &words].concat();
        let mut runs = (0..4).map(|_| env.run(&bundle)?.under(&strace).ok());
        let result = runs.try_for_each(|output| {
            let output = output?;
            ensure!(output.stdout == "1\n", "the mount, with its flags: {output}");
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    env.nothing_left()
}

/// A bind mount, and what is reached by another name than one's own, has the host's file system.
fn host_remount(env: &mut Env) -> Outcome {
    let host = env.dir.join("host");
    fs::create_dir(&host)?;
    let name = host.to_string_lossy().into_owned();
    env.command(&["mount", "-t", "tmpfs", "x", &name]).ok()?;
    let result = ["/mnt", "/link", "/own"].into_iter().try_for_each(|destination| {
        let mut bundle = env.bundle_with(&["true"])?;
        symlink("mnt", bundle.rootfs().join("link"))?;
        bundle.mount(json!({"destination": "/own", "type": "tmpfs", "source": "tmpfs"}))?;
        bundle.bind(&host, "/mnt", &[])?;
        bundle.mount(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs",
            "options": ["remount", "ro"]}))?;
        if destination == "/own" {
            env.run(&bundle)?.ok()?;
            return Ok(());
        }
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("was not made for this container"), "{output}");
        fs::write(host.join("written"), "")?;
        Ok(())
    });
    env.command(&["umount", &name]).ok()?;
    result?;
    env.nothing_left()
}

/// Somebody else's hooks, in a state directory that is not the caller's alone.
fn others_state(env: &mut Env) -> Outcome {
    let hook = env.dir.join("hook");
    let mut bundle = env.bundle_with(&["true"])?;
    let touch = json!([{"path": "/bin/touch", "args": ["touch", hook]}]);
    bundle.set("/hooks", json!({"poststop": touch}))?;
    let id = env.create(&bundle, "c", &[])?;
    let dir = env.root().join(&id);
    let owner = fs::metadata(&dir)?.uid();
    for (uid, mode) in [(12_345, 0o755), (owner, 0o777), (owner, 0o770)] {
        chown(&dir, Some(uid), None)?;
        fs::set_permissions(&dir, Permissions::from_mode(mode))?;
        for words in [&["delete", "--force"][..], &["state"], &["kill"], &["start"]] {
            let output = env.runtime(&[words, &[&id]].concat()).exits(1)?;
            ensure!(output.stderr.contains("others may have written"), "{words:?}: {output}");
        }
        ensure!(!hook.exists(), "the hook has run");
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
    env.runtime(&["delete", "--force", &id]).ok()?;
    ensure!(hook.exists(), "the hook has not run");
    env.nothing_left()
}

fn renamed_state(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let id = env.create(&bundle, "c", &[])?;
    let other = env.id("other");
    fs::rename(env.root().join(&id), env.root().join(&other))?;
    let output = env.runtime(&["kill", &other]).exits(1)?;
    for word in ["it is of container", &id] {
        ensure!(output.stderr.contains(word), "{word}: {output}");
    }
    fs::rename(env.root().join(&other), env.root().join(&id))?;
    ensure_eq!(env.status(&id)?, "created", "status");
    Ok(())
}

fn pid_file_link(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let victim = env.dir.join("victim");
    fs::write(&victim, "untouched")?;
    let pid_file = env.dir.join("pid");
    let (dir, pid) = (bundle.dir.to_string_lossy(), pid_file.to_string_lossy());
    let id = env.id("c");
    env.adopt(&id);
    let script =
        format!("ln -s '{}' '{}/.pid.'$$; exec \"$@\"", victim.display(), env.dir.display());
    env.runtime(&["create", "--bundle", &dir, "--pid-file", &pid, &id])
        .under(&["sh", "-c", &script, "sh"])
        .ok()?;
    ensure_eq!(fs::read_to_string(&victim)?, "untouched", "the file that the link leads to");
    ensure_eq!(fs::read_to_string(&pid_file)?, env.pid(&id)?.to_string(), "the pid file");
    Ok(())
}

/// Who is refused to open it for writing is counted as a writer for a moment.
fn busy_binary(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let words = ["-e", "trace=execveat", "-e", "inject=execveat:error=ETXTBSY:when=1..3"];
    env.run(&bundle)?.under(&[&["strace", "-o", "/dev/null"][..], &words].concat()).ok()?;
    Ok(())
}
